//! How far something is, on a terminal only.

use std::io::{self, IsTerminal as _, Write as _};

/// A line on stderr that is rewritten as bytes go by.
#[derive(Debug)]
pub(super) struct TransferProgress {
    what: String,
    done: u64,
    total: Option<u64>,
    shown: u64,
    visible: bool,
}

impl TransferProgress {
    /// Begins at zero of `total` bytes, if that is known.
    pub(super) fn new(what: impl Into<String>, total: Option<u64>) -> Self {
        Self {
            what: what.into(),
            done: 0,
            total,
            shown: u64::MAX,
            visible: io::stderr().is_terminal(),
        }
    }

    /// `bytes` more are done.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        // Rewritten when the figure changes, not with every block.
        let figure = match self.total {
            Some(total) => (self.done * 100).checked_div(total).unwrap_or(100),
            None => self.done >> 20,
        };
        if !self.visible || figure == self.shown {
            return;
        }
        self.shown = figure;
        let unit = if self.total.is_some() { "%" } else { " MiB" };
        let _ = write!(io::stderr(), "\r{} {figure}{unit}", self.what);
    }
}

/// A line on stderr that says how a long request is going.
#[derive(Debug)]
pub(super) struct StatusLine {
    shown: String,
    visible: bool,
}

impl StatusLine {
    pub(super) fn new() -> Self {
        Self {
            shown: String::new(),
            visible: io::stderr().is_terminal(),
        }
    }

    /// Whether anybody sees it.
    pub(super) fn is_visible(&self) -> bool {
        self.visible
    }

    /// Replaces the line.
    pub(super) fn show(&mut self, line: String) {
        if self.visible && line != self.shown {
            let _ = write!(io::stderr(), "\r\u{1b}[K{line}");
            self.shown = line;
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

impl Drop for TransferProgress {
    fn drop(&mut self) {
        if self.visible && self.shown != u64::MAX {
            // the line is somebody else's from here on
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
