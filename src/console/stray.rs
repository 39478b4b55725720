//! Base64 lines outside a capture: the rest of a dump that nobody saw begin, or
//! that was given up. As log lines they would push out the useful ones.

use super::payload::decode_line;

/// The base64 lines since the last other line.
#[derive(Default)]
pub(super) struct Stray {
    lines: usize,
}

impl Stray {
    /// Whether `line` is one of them; then it is only counted.
    pub(super) fn take(&mut self, line: &[u8]) -> bool {
        // many a word is base64, a full line is none, nor is a hash in hex
        let may_begin = line.len() == FULL_LINE
            && !line
                .iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let taken = (self.lines > 0 || may_begin) && decode_line(line).is_some();
        self.lines += usize::from(taken);
        taken
    }

    /// What stands in the log for those that came; `what` they were of.
    pub(super) fn end(&mut self, what: &str) -> Option<String> {
        match std::mem::take(&mut self.lines) {
            0 => None,
            1 => Some(format!("[a line of {what} left out]")),
            lines => Some(format!("[{lines} lines of {what} left out]")),
        }
    }
}

/// The base64 characters of a dump's full line.
const FULL_LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_of_base64_that_begin_with_a_full_line_are_taken() {
        let full = "Ab/+".repeat(16);
        let hash = "0123456789abcdef".repeat(4);
        let mut stray = Stray::default();
        for (line, taken) in [
            ("done", false),
            (hash.as_str(), false),
            (&full[..60], false),
            (full.as_str(), true),
            ("AQ==", true),
            ("I (1) wifi: up", false),
        ] {
            assert_eq!(stray.take(line.as_bytes()), taken, "{line}");
        }
        let note = stray.end("base64");
        assert_eq!(note.as_deref(), Some("[2 lines of base64 left out]"));
        assert_eq!(stray.end("base64"), None);
    }
}
