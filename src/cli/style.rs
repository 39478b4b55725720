//! Colours, where somebody sees them.

use std::io::{self, IsTerminal as _};

/// Whether stdout takes colours: a terminal, and `NO_COLOR` is not set.
pub(super) fn coloured() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && io::stdout().is_terminal()
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
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Heading => "1",
            Self::Good => "32",
            Self::Attention => "33",
            Self::Bad => "31",
        };
        match coloured {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }

    /// The style of a word that says how something is.
    pub(super) fn of_word(word: &str) -> Self {
        match word {
            "valid" | "done" | "active" | "synced" => Self::Good,
            "repaired" | "pending" | "no-elf" | "truncated" | "held" | "unsynced" => {
                Self::Attention
            }
            "failed"
            | "checksum-mismatch"
            | "not-a-coredump"
            | "unsupported-version"
            | "unsupported-chip"
            | "blocked"
            | "missing" => Self::Bad,
            _ => Self::Plain,
        }
    }
}
