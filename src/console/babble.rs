//! Bytes that are no text: a wrong baud rate, or a device that is no console.

/// Watches what share of the bytes is no text.
#[derive(Default)]
pub(super) struct Babble {
    window: Vec<u8>,
    bad_windows: u32,
    babbling: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Began,
    Ended,
}

impl Babble {
    /// Looks at received bytes.
    pub(super) fn look(&mut self, mut bytes: &[u8]) -> Option<Change> {
        let mut change = None;
        while !bytes.is_empty() {
            let room = WINDOW.saturating_sub(self.window.len());
            let (taken, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.window.extend_from_slice(taken);
            bytes = rest;
            if self.window.len() >= WINDOW {
                change = self.judge_window().or(change);
            }
        }
        change
    }

    fn judge_window(&mut self) -> Option<Change> {
        let bad = strange(&self.window) * 4 > self.window.len();
        self.window.clear();
        self.bad_windows = if bad {
            self.bad_windows.saturating_add(1)
        } else {
            0
        };
        match (self.babbling, self.bad_windows) {
            (false, 2..) => {
                self.babbling = true;
                Some(Change::Began)
            }
            (true, 0) => {
                self.babbling = false;
                Some(Change::Ended)
            }
            _ => None,
        }
    }
}

/// How many bytes are neither text (UTF-8) nor line ends and colours.
fn strange(bytes: &[u8]) -> usize {
    let control = bytes.iter().filter(|byte| {
        matches!(byte, 0..0x20 | 0x7F) && !matches!(byte, b'\t' | b'\r' | b'\n' | 0x1B)
    });
    let invalid: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    control.count() + invalid
}

/// How many bytes are judged together; two windows in a row must be bad.
const WINDOW: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_once_until_text_comes_again() {
        let mut babble = Babble::default();
        let noise: Vec<u8> = (0..WINDOW)
            .map(|n| [0xFE, 0x80, 0x1C, b'a'][n % 4])
            .collect();
        assert_eq!(babble.look(&noise), None);
        assert_eq!(babble.look(&noise), Some(Change::Began));
        assert_eq!(babble.look(&noise.repeat(3)), None);
        let text = "I (1) größer: 温度 21 °C\r\n".repeat(WINDOW);
        assert_eq!(babble.look(text.as_bytes()), Some(Change::Ended));
        assert_eq!(babble.look(text.as_bytes()), None);
    }
}
