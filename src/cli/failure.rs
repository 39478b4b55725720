//! How a command fails: one line on stderr and an exit status.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::printable::escaped;

/// What a command gives back: the exit status of one that was done.
pub(super) type Outcome = Result<ExitCode, Failure>;

/// A command that was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit status 1.
    Failed(anyhow::Error),
    /// Exit status 2: the words on the command line.
    Usage(String),
    /// Exit status 3: no daemon to ask.
    Unreachable(String),
}

impl Failure {
    /// A failure in words: what failed, why, what to do next.
    pub(super) fn of(message: impl Display) -> Self {
        Self::Failed(anyhow::anyhow!("{message}"))
    }

    /// Prints the line and gives the exit status.
    pub(super) fn report(&self) -> ExitCode {
        let (message, code) = match self {
            // A reader that has seen enough, such as `head`.
            Self::Failed(error) if is_broken_pipe(error) => return ExitCode::FAILURE,
            Self::Failed(error) => (format!("{error:#}"), 1),
            Self::Usage(message) => (message.clone(), 2),
            Self::Unreachable(message) => (message.clone(), 3),
        };
        let _ = writeln!(io::stderr(), "espgate: {}", escaped(&message));
        ExitCode::from(code)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        kind == Some(io::ErrorKind::BrokenPipe)
    })
}
