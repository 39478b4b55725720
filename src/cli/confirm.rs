//! Questions before something that is not taken back easily. They go to stderr, so that
//! stdout keeps what a program reads.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::failure::Failure;
use crate::printable::escaped;

/// Whether there is a terminal to ask on.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Asks on the terminal, unless `yes` was said already. `what` happens is a sentence without
/// its full stop.
///
/// # Errors
/// If it is not confirmed, or there is no terminal to ask on.
pub(super) fn agreed(yes: bool, what: &str) -> Result<(), Failure> {
    if yes || (can_ask() && asked(&format!("{what}. Continue? [y/N] "), is_yes)?) {
        return Ok(());
    }
    Err(refused(what))
}

/// As [`agreed`], for what is done rarely: the answer is a word that has to be typed.
///
/// # Errors
/// As [`agreed`].
pub(super) fn typed(yes: bool, what: &str, kind: &str, word: &str) -> Result<(), Failure> {
    let question = format!("{what}. Type the {kind} ({word}) to continue: ");
    if yes || (can_ask() && asked(&question, |answer| answer == word)?) {
        return Ok(());
    }
    Err(refused(what))
}

fn asked(question: &str, is_agreement: impl FnOnce(&str) -> bool) -> Result<bool, Failure> {
    write!(io::stderr(), "{}", escaped(question))?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(is_agreement(line.trim()))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer, "y" | "Y" | "yes")
}

/// The sentence begins with a capital, and follows a colon here.
fn refused(what: &str) -> Failure {
    let mut letters = what.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string());
    Failure::of(format_args!(
        "not confirmed: {}{}; confirm with --yes",
        first.unwrap_or_default(),
        letters.as_str()
    ))
}
