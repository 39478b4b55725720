//! The last console lines, bounded in number and size.

use std::collections::VecDeque;

/// The newest lines; the oldest go first.
pub(super) struct Lines {
    lines: VecDeque<String>,
    bytes: usize,
    most_lines: usize,
    most_bytes: usize,
}

impl Lines {
    pub(super) fn new(most_lines: usize, most_bytes: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            most_lines,
            most_bytes,
        }
    }

    /// Other limits from the next line on.
    pub(super) fn limit(&mut self, most_lines: usize, most_bytes: usize) {
        self.most_lines = most_lines;
        self.most_bytes = most_bytes;
    }

    pub(super) fn push(&mut self, line: String) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.lines.len() > self.most_lines || self.bytes > self.most_bytes {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.len() + 1;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= self.most_lines || self.bytes + super::lines::MAX_LINE > self.most_bytes
    }

    pub(super) fn to_vec(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    pub(super) fn take(&mut self) -> Vec<String> {
        self.bytes = 0;
        std::mem::take(&mut self.lines).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_first() {
        let mut lines = Lines::new(3, 12);
        for line in ["a", "b", "c", "d"] {
            lines.push(line.to_owned());
        }
        assert_eq!(lines.to_vec(), ["b", "c", "d"]);
        lines.push("12345678".to_owned());
        assert_eq!(lines.to_vec(), ["d", "12345678"]);
        lines.push("x".repeat(50));
        assert!(lines.take().is_empty());
    }
}
