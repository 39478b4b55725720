//! Progress on stderr, if it is a terminal.

use std::io::{self, IsTerminal as _, Write as _};

/// A line that shows how many bytes are transferred.
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

/// A line that shows the current step of a long request.
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
            // Leave an empty line for what comes next.
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
