//! Colours on a terminal.

use std::io;

use anstream::{AutoStream, ColorChoice};
use anstyle::AnsiColor;

/// Whether stdout takes colours: a terminal that knows them, unless `NO_COLOR` or
/// `CLICOLOR` say otherwise.
pub(super) fn coloured() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// How something is shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Style {
    #[default]
    Plain,
    Heading,
    Good,
    Attention,
    Bad,
}

impl Style {
    /// `text` with this style, if colours are taken.
    pub(super) fn paint(self, text: &str, coloured: bool) -> String {
        let style = match self {
            _ if !coloured => anstyle::Style::new(),
            Self::Plain => anstyle::Style::new(),
            Self::Heading => anstyle::Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Attention => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
        };
        format!("{style}{text}{style:#}")
    }

    /// The style of a word that says how something is.
    pub(super) fn of_word(word: &str) -> Self {
        match word {
            "valid" | "done" | "active" | "synced" | "confirmed" | "back" => Self::Good,
            "repaired" | "pending" | "no-elf" | "truncated" | "held" | "unsynced" | "paused"
            | "waiting" | "presumed" | "refused" => Self::Attention,
            "failed"
            | "checksum-mismatch"
            | "not-a-coredump"
            | "unsupported-version"
            | "unsupported-chip"
            | "blocked"
            | "missing"
            | "stopped"
            | "crashed"
            | "looping"
            | "reverted"
            | "lost"
            | "stranded" => Self::Bad,
            _ => Self::Plain,
        }
    }
}
