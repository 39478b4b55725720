//! A problem or note that the doctor prints.

use serde::Serialize;
use time::OffsetDateTime;

use crate::cli::output::duration;
use crate::cli::style::Style;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Something does not work.
    Error,
    /// It works, but will fail.
    Warning,
    /// For information.
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

/// How long ago something was, in words. A clock that was wrong then or is
/// wrong now makes it the future: then the date has to do.
pub(super) fn since(at: OffsetDateTime, now: OffsetDateTime) -> String {
    match u64::try_from((now - at).whole_seconds()) {
        Ok(seconds) => format!("{} ago", duration(seconds)),
        Err(_) => format!("on {}", at.date()),
    }
}
