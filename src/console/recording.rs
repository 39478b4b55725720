//! A console's recording in a file: it has an encoding, and a beginning from
//! which the prefix of its lines is learned before the first line is read.

use std::borrow::Cow;
use std::time::Duration;

use super::lines::clean;
use super::{Console, Event, Settings};

/// A recording, fed piece by piece; its length does not matter.
pub struct Recording {
    console: Console,
    encoding: Encoding,
    /// What was not read yet: it is learned from first, together with what
    /// follows, for a panic may begin in one piece and end in the next.
    held: Vec<u8>,
    /// So much of it was learned from already.
    seen: usize,
    /// Half a character of the piece before.
    odd: Option<u8>,
    begun: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Encoding {
    Bytes,
    Utf16 { big: bool },
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            console: Console::new(Settings::recording()),
            encoding: Encoding::Bytes,
            held: Vec::new(),
            seen: 0,
            odd: None,
            begun: false,
        }
    }
}

impl Recording {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.held.extend_from_slice(bytes);
        let mut events = Vec::new();
        if !self.begun {
            if self.held.len() < ENOUGH {
                return events;
            }
            self.begin();
        }
        if self.held.len() >= self.seen + ENOUGH {
            self.look_ahead();
            let rest = self.held.split_off(self.seen);
            let held = std::mem::replace(&mut self.held, rest);
            self.seen = self.held.len();
            events = self.decode(&held);
        }
        events
    }

    /// Ends it.
    pub fn finish(mut self) -> Vec<Event> {
        if !self.begun {
            self.begin();
        }
        self.look_ahead();
        let held = std::mem::take(&mut self.held);
        let mut events = self.decode(&held);
        events.extend(self.console.finish());
        events
    }

    fn begin(&mut self) {
        self.begun = true;
        let (encoding, skip) = encoding(&self.held);
        self.encoding = encoding;
        self.held.drain(..skip);
        let sample = self.held.get(..ENOUGH).unwrap_or(&self.held);
        let lines = lines_of(&self.bytes_of(sample));
        self.console.learn(&lines);
    }

    /// Learns from the panics in what is held.
    fn look_ahead(&mut self) {
        let text = self.bytes_of(&self.held);
        let has = |words: &str| memchr::memmem::find(&text, words.as_bytes()).is_some();
        if has("register dump:") || has("Backtrace:") {
            self.console.learn_panics(&lines_of(&text));
        }
    }

    /// Held bytes as they are read, from an even place of the recording.
    fn bytes_of<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match self.encoding {
            Encoding::Bytes => Cow::Borrowed(bytes),
            Encoding::Utf16 { big } => {
                let bytes = bytes.get(usize::from(self.odd.is_some())..);
                Cow::Owned(text_of(bytes.unwrap_or_default(), big).into_bytes())
            }
        }
    }

    fn decode(&mut self, bytes: &[u8]) -> Vec<Event> {
        let Encoding::Utf16 { big } = self.encoding else {
            return self.console.feed(bytes, Duration::ZERO);
        };
        let mut units: Vec<u8> = self.odd.take().into_iter().collect();
        units.extend_from_slice(bytes);
        if units.len() % 2 == 1 {
            self.odd = units.pop();
        }
        let text = text_of(&units, big);
        self.console.feed(text.as_bytes(), Duration::ZERO)
    }
}

/// Whether a recording is UTF-16.
pub(crate) fn is_utf16(recording: &[u8]) -> bool {
    encoding(recording).0 != Encoding::Bytes
}

/// What a recording begins with: the encoding and the bytes that only tell it.
fn encoding(head: &[u8]) -> (Encoding, usize) {
    if head.starts_with(b"\xff\xfe") {
        return (Encoding::Utf16 { big: false }, 2);
    }
    if head.starts_with(b"\xfe\xff") {
        return (Encoding::Utf16 { big: true }, 2);
    }
    if head.starts_with(b"\xef\xbb\xbf") {
        return (Encoding::Bytes, 3);
    }
    let head = head.get(..ENOUGH).unwrap_or(head);
    // without a mark: every other byte of ASCII text is zero
    let (pairs, _) = head.get(..512).unwrap_or(head).as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair.get(at) == Some(&0)).count();
    let most = |count: usize| pairs.len() >= 8 && count * 10 > pairs.len() * 8;
    match (
        most(zeros(1)) && zeros(0) == 0,
        most(zeros(0)) && zeros(1) == 0,
    ) {
        (true, _) => (Encoding::Utf16 { big: false }, 0),
        (_, true) => (Encoding::Utf16 { big: true }, 0),
        _ if has_ascii_line(head) => (Encoding::Bytes, 0),
        _ if has_wide_words(head, 1) => (Encoding::Utf16 { big: false }, 0),
        _ if has_wide_words(head, 0) => (Encoding::Utf16 { big: true }, 0),
        _ => (Encoding::Bytes, 0),
    }
}

/// Whether so much ASCII stands together that it is text of single bytes.
fn has_ascii_line(head: &[u8]) -> bool {
    head.split(|byte| !matches!(byte, b' '..=b'~'))
        .any(|run| run.len() >= 40)
}

/// Whether there are words of ASCII with a zero for every character, `at` that
/// byte of each pair: between other scripts most of a text may have none.
fn has_wide_words(head: &[u8], at: usize) -> bool {
    let (pairs, _) = head.as_chunks::<2>();
    let is_wide = |pair: &[u8; 2]| {
        let [first, second] = *pair;
        let (zero, character) = if at == 0 {
            (first, second)
        } else {
            (second, first)
        };
        zero == 0 && matches!(character, b' '..=b'~' | b'\r' | b'\n' | b'\t')
    };
    let words = pairs.split(|pair| !is_wide(pair));
    words.filter(|word| word.len() >= 4).count() >= 2 && is_clean(&text_of(head, at == 0))
}

/// Whether decoded text is one: memory has zeros and halves of characters.
fn is_clean(text: &str) -> bool {
    let is_odd = |c: &char| {
        c.is_control() && !"\t\r\n\u{1b}".contains(*c) || *c == char::REPLACEMENT_CHARACTER
    };
    text.chars().filter(is_odd).count() * 64 <= text.len()
}

fn text_of(bytes: &[u8], big: bool) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let unit = |pair: &[u8; 2]| match big {
        true => u16::from_be_bytes(*pair),
        false => u16::from_le_bytes(*pair),
    };
    let units = pairs.iter().map(unit);
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The lines of a sample, as they are read.
fn lines_of(sample: &[u8]) -> Vec<String> {
    sample
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .map(|line| String::from_utf8_lossy(&clean(line)).into_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// So much of the beginning is looked at.
const ENOUGH: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const PANIC: &str = "温度 21\r\nGuru Meditation Error: Core  0 panic'ed (LoadProhibited). \
        Exception was unhandled.\r\nCore  0 register dump:\r\n\
        PC      : 0x400d1500  PS      : 0x00060b30  A0      : 0x800d66d1  A1      : 0x3ffb4f70\r\n\
        Backtrace: 0x400d14fd:0x3ffb4f70 0x400d66ce:0x3ffb4f90\r\nRebooting...\r\n";

    fn panics(bytes: &[u8], size: usize) -> Vec<String> {
        let mut recording = Recording::default();
        let mut events = Vec::new();
        for piece in bytes.chunks(size) {
            events.extend(recording.feed(piece));
        }
        events.extend(recording.finish());
        let text = |event| match event {
            Event::Panic(panic) => Some(panic.text),
            _ => None,
        };
        events.into_iter().filter_map(text).collect()
    }

    #[test]
    fn wide_text_of_another_script_is_known_without_a_mark() {
        let quiet =
            "I (900) \u{6e29}: \u{4e00}\u{5207}\u{6b63}\u{5e38}\u{ff0c}\u{6e29}\u{5ea6}\r\n";
        for lines in [1, 20, 4_000] {
            let text = quiet.repeat(lines) + PANIC;
            let plain = panics(text.as_bytes(), 1000);
            assert_eq!(plain.len(), 1);
            let units = || text.encode_utf16();
            let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
            assert_eq!(panics(&little, 1000), plain, "little, {lines} lines");
            assert_eq!(panics(&big, 1000), plain, "big, {lines} lines");
            let mixed = [text.as_bytes(), little.as_slice()].concat();
            assert_eq!(encoding(&mixed).0, Encoding::Bytes, "{lines} lines");
        }
    }

    #[test]
    fn every_encoding_gives_the_same_text() {
        let plain = panics(PANIC.as_bytes(), 7);
        assert_eq!(plain.len(), 1);
        let little: Vec<u8> = PANIC.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = PANIC.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (name, bytes) in [
            ("utf-8", [b"\xef\xbb\xbf", PANIC.as_bytes()].concat()),
            ("little", [b"\xff\xfe", little.as_slice()].concat()),
            ("big", [b"\xfe\xff", big.as_slice()].concat()),
            ("unmarked", little),
        ] {
            for size in [1, 3, 1000] {
                assert_eq!(panics(&bytes, size), plain, "{name} in {size}");
            }
        }
    }
}
