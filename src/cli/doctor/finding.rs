//! One thing that was found.

use serde::Serialize;

use crate::cli::style::Style;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// It does not work.
    Error,
    /// It works, and will not always.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    pub(super) fn style(self) -> Style {
        match self {
            Self::Error => Style::Bad,
            Self::Warning => Style::Attention,
            Self::Note => Style::Plain,
        }
    }
}

/// What is wrong and what to do, a line each.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// The part it is about, such as `clock`.
    pub(super) about: &'static str,
    pub(super) what: String,
    pub(super) advice: String,
}

impl Finding {
    fn new(severity: Severity, about: &'static str, what: String, advice: &str) -> Self {
        Self {
            severity,
            about,
            what,
            advice: advice.to_owned(),
        }
    }

    pub(super) fn error(about: &'static str, what: impl Into<String>, advice: &str) -> Self {
        Self::new(Severity::Error, about, what.into(), advice)
    }

    pub(super) fn warning(about: &'static str, what: impl Into<String>, advice: &str) -> Self {
        Self::new(Severity::Warning, about, what.into(), advice)
    }

    pub(super) fn note(about: &'static str, what: impl Into<String>) -> Self {
        Self::new(Severity::Note, about, what.into(), "")
    }
}
