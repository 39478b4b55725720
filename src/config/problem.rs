//! An error in the configuration, with line and key.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Counted from 1; `None` if the fault has no place in the file.
    pub line: Option<usize>,
    /// Dotted, such as `http.listen`; empty if unknown.
    pub key: String,
    pub message: String,
}

impl Problem {
    pub(super) fn new(line: Option<usize>, key: &str, message: impl Into<String>) -> Self {
        Self {
            line,
            key: key.to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The line on which a span of `text` begins, counted from 1.
pub(super) fn line_of(text: &str, span: Option<Range<usize>>) -> Option<usize> {
    let before = text.get(..span?.start)?;
    Some(before.matches('\n').count() + 1)
}
