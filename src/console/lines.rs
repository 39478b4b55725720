//! Serial bytes → lines: any line ending, any chunking, bounded length.

use std::borrow::Cow;

/// The longest line; what is longer arrives in pieces.
pub(super) const MAX_LINE: usize = 4096;

/// Collects bytes until a line is whole.
#[derive(Default)]
pub(super) struct Splitter {
    pending: Vec<u8>,
    /// The piece taken last had no end yet.
    cut: bool,
    continues: bool,
}

impl Splitter {
    /// The next line of `rest`, which loses what was taken. `None` once `rest`
    /// is used up; its last, unfinished line waits for the next bytes. CR, LF
    /// and CRLF all end a line; empty lines are left out.
    pub(super) fn take_line(&mut self, rest: &mut &[u8]) -> Option<Vec<u8>> {
        while !rest.is_empty() {
            let room = MAX_LINE.saturating_sub(self.pending.len());
            let window = rest.get(..room).unwrap_or(rest);
            let end = memchr::memchr2(b'\r', b'\n', window);
            let length = end.unwrap_or(window.len());
            let (line, after) = rest.split_at(length);
            self.pending.extend_from_slice(line);
            *rest = match end {
                Some(_) => after.get(1..).unwrap_or_default(),
                None => after,
            };
            let full = self.pending.len() >= MAX_LINE;
            if (end.is_some() || full) && !self.pending.is_empty() {
                self.continues = std::mem::replace(&mut self.cut, end.is_none());
                return Some(std::mem::take(&mut self.pending));
            }
            self.cut &= end.is_none();
        }
        None
    }

    /// Whether the line taken last is a piece of a longer one: does it continue
    /// another piece, and is it continued.
    pub(super) fn is_piece(&self) -> (bool, bool) {
        (self.continues, self.cut)
    }

    /// What has come of the unfinished line.
    pub(super) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// The unfinished line, which will not be continued.
    pub(super) fn flush(&mut self) -> Option<Vec<u8>> {
        self.continues = std::mem::take(&mut self.cut);
        (!self.pending.is_empty()).then(|| std::mem::take(&mut self.pending))
    }
}

/// `line` without terminal escape sequences, control characters and blanks at
/// its ends. The blanks that browsers put into text are blanks.
pub(super) fn clean(line: &[u8]) -> Cow<'_, [u8]> {
    let is_special = |byte: &u8| matches!(byte, 0..0x20 | 0x7F | 0xC2);
    if !line.iter().fold(false, |any, byte| any | is_special(byte)) {
        return Cow::Borrowed(line.trim_ascii());
    }
    let mut plain = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            ESCAPE => skip_escape(&mut bytes),
            // a no-break space, U+00A0
            0xC2 if bytes.clone().next() == Some(0xA0) => {
                bytes.next();
                plain.push(b' ');
            }
            b'\t' => plain.push(b' '),
            0..0x20 | 0x7F => {}
            _ => plain.push(byte),
        }
    }
    Cow::Owned(plain.trim_ascii().to_vec())
}

fn skip_escape(bytes: &mut (impl Iterator<Item = u8> + Clone)) {
    let mut ahead = bytes.clone();
    if ahead.next() != Some(b'[') {
        return;
    }
    // ECMA-48: parameters and intermediates, then one final byte. A sequence
    // that is none was noise; then only ESC itself goes.
    if ahead
        .find(|byte| !matches!(byte, 0x20..0x40))
        .is_some_and(|byte| matches!(byte, 0x40..0x7F))
    {
        *bytes = ahead;
    }
}

const ESCAPE: u8 = 0x1B;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            while let Some(line) = splitter.take_line(&mut rest) {
                found.push(String::from_utf8(line).unwrap());
            }
        }
        found.extend(
            splitter
                .flush()
                .map(|line| String::from_utf8(line).unwrap()),
        );
        found
    }

    #[test]
    fn every_line_ending_and_every_chunking_gives_the_same_lines() {
        for text in [
            "one\r\ntwo\r\nthree",
            "one\ntwo\n\nthree\n",
            "one\rtwo\r\rthree",
            "one\n\rtwo\n\rthree",
        ] {
            for size in 1..text.len() {
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                assert_eq!(
                    lines(&chunks),
                    ["one", "two", "three"],
                    "{text:?} in {size}"
                );
            }
        }
    }

    #[test]
    fn a_line_without_end_comes_in_bounded_pieces() {
        let noise = vec![b'x'; 3 * MAX_LINE + 5];
        let lengths: Vec<usize> = lines(&[&noise]).iter().map(String::len).collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, MAX_LINE, 5]);

        let mut splitter = Splitter::default();
        let full = vec![b'x'; MAX_LINE];
        let text = [&full, &b"y\n"[..], &full, b"\nz\n"].concat();
        let mut rest = text.as_slice();
        let mut pieces = Vec::new();
        while splitter.take_line(&mut rest).is_some() {
            pieces.push(splitter.is_piece());
        }
        let expected = [(false, true), (true, false), (false, true), (false, false)];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn colours_and_control_characters_are_taken_out() {
        for (line, expected) in [
            (&b"\x1b[0;32mI (1) a: b\x1b[0m"[..], "I (1) a: b"),
            (b"\0\0ets\tJul\x7f ", "ets Jul"),
            (b"\x1bAAAA", "AAAA"),
            (b"\x1b[", "["),
            (b"\xc2\xa0PC\xc2\xa0\xc2\xa0: \xc2\xb0", "PC  : \u{b0}"),
            (b"\x1b[\xffA", "[\u{fffd}A"),
        ] {
            assert_eq!(String::from_utf8_lossy(&clean(line)), expected, "{line:?}");
        }
    }
}
