//! A bounded little-endian cursor over bytes from outside.

/// Reads forward; every step says `None` instead of running past the end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// A cursor at `offset` of `bytes`; past the end it reads nothing.
    pub fn at(bytes: &'a [u8], offset: usize) -> Self {
        Self {
            bytes,
            position: offset,
        }
    }

    /// Where the next byte is taken from.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(count)?;
        let taken = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// The next half word, little-endian.
    pub fn half(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    /// The next word, little-endian.
    pub fn word(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }
}

/// The word at `offset`, little-endian.
pub fn word_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Reader::at(bytes, offset).word()
}

/// The half word at `offset`, little-endian.
pub fn half_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Reader::at(bytes, offset).half()
}

/// Text up to the first NUL or the end; what is not UTF-8 becomes U+FFFD.
pub fn text_until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_little_endian_and_stops_at_the_end() {
        let mut reader = Reader::new(&[1, 2, 0, 3, 0, 0, 0, 9]);
        assert_eq!(reader.byte(), Some(1));
        assert_eq!(reader.half(), Some(2));
        assert_eq!(reader.word(), Some(3));
        assert_eq!(reader.half(), None);
        assert_eq!(reader.rest(), [9]);
        assert_eq!(Reader::at(&[1], usize::MAX).take(usize::MAX), None);
    }

    #[test]
    fn text_ends_at_the_first_nul() {
        assert_eq!(text_until_nul(b"main\0junk"), "main");
        assert_eq!(text_until_nul(b"main"), "main");
    }
}
