//! The base64 lines of one dump → its bytes.
//!
//! ESP-IDF encodes at most 48 bytes per line, and every line on its own with
//! its own padding (`esp_core_dump_uart.c`). What a line lost or got wrong is
//! filled up, so that everything behind it stays at its offset.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::marks;

/// The base64 characters of a full line.
const FULL_LINE: usize = 64;

/// A log line's own last word is shorter than payload behind it.
const SHORTEST_TAIL: usize = 16;

/// What a line between the markers was taken for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Taken {
    /// Bytes of the dump, perhaps damaged.
    Payload,
    /// Something else that was printed meanwhile.
    Log,
    /// It would have exceeded the limit.
    Overflow,
}

/// The bytes of a dump so far.
#[derive(Default)]
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    /// How many bytes each line gave; they add up to `bytes`.
    pub(super) lines: Vec<u8>,
    /// Lines that were damaged in a way that shows.
    pub(super) damaged: usize,
    /// Which of `lines` were found at the end of a log line.
    pub(super) doubtful: Vec<usize>,
    fragment: Vec<u8>,
}

impl Payload {
    /// Takes one cleaned line; at most `limit` bytes are kept in all.
    pub(super) fn take(&mut self, line: &[u8], limit: usize) -> Taken {
        if self.bytes.len() >= limit {
            return Taken::Overflow;
        }
        if !line.iter().all(|byte| is_base64(*byte)) {
            return self.take_mixed(line);
        }
        if line.len() > FULL_LINE {
            return self.take_joined(line);
        }
        if self.decode(line) {
            self.drop_fragment();
            return Taken::Payload;
        }
        // half a line, the other half may follow
        let joined = [self.fragment.as_slice(), line].concat();
        if !self.fragment.is_empty() && joined.len() <= FULL_LINE && self.decode(&joined) {
            self.fragment.clear();
            return Taken::Payload;
        }
        self.drop_fragment();
        if line.len() >= FULL_LINE - 3 {
            self.decode_damaged(line);
            return Taken::Payload;
        }
        self.fragment = line.to_vec();
        Taken::Payload
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.drop_fragment();
    }

    /// A line with characters that are not base64's.
    fn take_mixed(&mut self, line: &[u8]) -> Taken {
        if let Some(taken) = self.take_from_log(line) {
            return taken;
        }
        let strange = line.iter().filter(|byte| !is_base64(**byte)).count();
        let clean = line.iter().take_while(|byte| is_base64(**byte)).count();
        if clean >= FULL_LINE {
            // a log line that followed without a line end
            let (payload, _) = line.split_at(FULL_LINE);
            if self.decode(payload) {
                self.damaged += 1;
                return Taken::Payload;
            }
        }
        let blank = line.contains(&b' ');
        if blank || strange * 8 > line.len() || line.len() < 8 || line.len() > FULL_LINE + 3 {
            return Taken::Log;
        }
        self.drop_fragment();
        self.decode_damaged(line);
        Taken::Payload
    }

    /// A line into which another task printed a log line: payload stands before
    /// it, behind it, or both.
    fn take_from_log(&mut self, line: &[u8]) -> Option<Taken> {
        let clean = line.iter().take_while(|byte| is_base64(**byte)).count();
        let is_log = |at: &usize| line.get(*at..).is_some_and(marks::is_log);
        let begin = match (0..=clean.min(FULL_LINE)).find(is_log) {
            Some(begin) => begin,
            None if clean < FULL_LINE => 0,
            None => return None,
        };
        let (head, log) = line.split_at_checked(begin)?;
        // what is missing of a full line is what it ends with
        let missing = FULL_LINE - head.len();
        let tail = log.iter().rev().take_while(|byte| is_base64(**byte));
        if missing >= SHORTEST_TAIL && tail.count() >= missing {
            let (_, tail) = log.split_at_checked(log.len() - missing)?;
            self.drop_fragment();
            if self.decode(&[head, tail].concat()) {
                self.damaged += 1;
                self.doubtful.push(self.lines.len() - 1);
                return Some(Taken::Payload);
            }
        }
        // the other part follows on a line of its own
        if head.is_empty() {
            return None;
        }
        self.drop_fragment();
        if !self.decode(head) {
            self.fragment = head.to_vec();
        }
        Some(Taken::Payload)
    }

    /// Several lines whose line ends were lost.
    fn take_joined(&mut self, line: &[u8]) -> Taken {
        self.drop_fragment();
        if line.len() <= FULL_LINE + 3 {
            self.decode_damaged(line);
            return Taken::Payload;
        }
        self.damaged += 1;
        let mut rest = line;
        while !rest.is_empty() {
            let window = rest.get(..FULL_LINE).unwrap_or(rest);
            let padding = window.iter().position(|byte| *byte == b'=').map(|first| {
                let count = window
                    .iter()
                    .skip(first)
                    .take_while(|byte| **byte == b'=')
                    .count();
                first + count
            });
            let (piece, after) = rest.split_at(padding.unwrap_or(window.len()));
            if !self.decode(piece) {
                self.decode_damaged(piece);
            }
            rest = after;
        }
        Taken::Payload
    }

    fn decode(&mut self, line: &[u8]) -> bool {
        let before = self.bytes.len();
        if line.is_empty() || STANDARD.decode_vec(line, &mut self.bytes).is_err() {
            self.bytes.truncate(before);
            return false;
        }
        let count = self.bytes.len() - before;
        self.lines.push(u8::try_from(count).unwrap_or(u8::MAX));
        true
    }

    /// Decodes a line of about the right length with `A` for what is no base64.
    fn decode_damaged(&mut self, line: &[u8]) {
        self.damaged += 1;
        let padding = line
            .iter()
            .rev()
            .take_while(|byte| **byte == b'=')
            .count()
            .min(2);
        let near_full = line.len().abs_diff(FULL_LINE) <= 3;
        let length = match near_full && padding == 0 {
            true => FULL_LINE,
            false => line.len().next_multiple_of(4),
        };
        let mut repaired: Vec<u8> = line
            .iter()
            .map(|byte| {
                if is_base64(*byte) && *byte != b'=' {
                    *byte
                } else {
                    b'A'
                }
            })
            .collect();
        repaired.resize(length, b'A');
        let before = self.bytes.len();
        if self.decode(&repaired) {
            self.bytes
                .truncate(self.bytes.len().saturating_sub(padding).max(before));
            let count = self.bytes.len() - before;
            if let Some(last) = self.lines.last_mut() {
                *last = u8::try_from(count).unwrap_or(u8::MAX);
            }
        }
    }

    fn drop_fragment(&mut self) {
        if !self.fragment.is_empty() {
            self.fragment.clear();
            self.damaged += 1;
        }
    }
}

/// Whether `line` could be a whole line of a dump.
pub(super) fn decode_line(line: &[u8]) -> Option<Vec<u8>> {
    (line.len() <= FULL_LINE)
        .then(|| STANDARD.decode(line).ok())
        .flatten()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &[&str]) -> (Vec<u8>, usize, Vec<Taken>) {
        let mut payload = Payload::default();
        let what = lines
            .iter()
            .map(|line| payload.take(line.as_bytes(), 4096))
            .collect();
        payload.end();
        assert_eq!(
            payload.bytes.len(),
            payload.lines.iter().map(|n| usize::from(*n)).sum::<usize>()
        );
        (payload.bytes, payload.damaged, what)
    }

    #[test]
    fn every_line_is_decoded_with_its_own_padding() {
        let (bytes, damaged, _) = taken(&["AQ==", "AgM=", "BAUG"]);
        assert_eq!((bytes.as_slice(), damaged), (&[1, 2, 3, 4, 5, 6][..], 0));
    }

    #[test]
    fn log_lines_in_between_are_no_payload() {
        let (bytes, damaged, what) = taken(&["AQ==", "I (12) wifi: connected", "AgM="]);
        assert_eq!((bytes.as_slice(), damaged), (&[1, 2, 3][..], 0));
        assert_eq!(what, [Taken::Payload, Taken::Log, Taken::Payload]);
    }

    #[test]
    fn two_halves_make_a_line() {
        let (bytes, damaged, _) = taken(&["AQIDB", "AUGBwgJ", "Cg=="]);
        assert_eq!(
            (bytes.as_slice(), damaged),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10][..], 0)
        );
    }

    #[test]
    fn a_damaged_line_keeps_its_length() {
        let full = "A".repeat(64);
        for damaged_line in [&full[1..], &format!("{full}A"), &format!("#{}", &full[1..])] {
            let (bytes, damaged, _) = taken(&[&full, damaged_line, "AQ=="]);
            assert_eq!((bytes.len(), damaged), (97, 1), "{damaged_line}");
            assert_eq!(bytes.last(), Some(&1));
        }
        assert_eq!(taken(&["AQID#A=="]).0.len(), 4);
    }

    #[test]
    fn a_line_is_put_together_around_a_log_line_printed_into_it() {
        let full = "ABCD".repeat(16);
        let whole = STANDARD.decode(&full).unwrap();
        let log = "I (12) wifi: hello there";
        for cut in 0..FULL_LINE {
            let (head, tail) = full.split_at(cut);
            let glued = format!("{head}{log}{tail}");
            if tail.len() >= SHORTEST_TAIL {
                assert_eq!(taken(&[&glued]).0, whole, "{glued}");
            }
            if cut > 0 {
                let (bytes, damaged, _) = taken(&[&format!("{head}{log}"), tail]);
                assert_eq!((bytes, damaged), (whole.clone(), 0), "{cut}");
            }
        }
        assert_eq!(taken(&[&format!("hello there{full}")]).0, whole);
        assert_eq!(taken(&[&format!("# {full}")]).0, whole);
    }

    #[test]
    fn lines_whose_ends_were_lost_are_taken_apart() {
        let full = "A".repeat(64);
        assert_eq!(taken(&[&format!("{full}AQID{full}")]).0.len(), 48 + 48 + 3);
        assert_eq!(taken(&[&format!("{full}AQ=={full}")]).0.len(), 48 + 48 + 1);
        assert_eq!(taken(&[&format!("{full}I (3) wifi: x y")]).0.len(), 48);
    }
}
