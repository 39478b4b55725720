//! The bytes of a coredump in a partition: the length from its header, the next
//! block to read, and when there is no dump.

use super::command::FLASH_BLOCK;
use super::outcome::Error;
use crate::reader::word_at;

/// A dump that is read block by block from its beginning.
#[derive(Debug, Default)]
pub(super) struct PartialDump {
    /// Where in flash the partition, and so the dump, begins.
    pub(super) offset: u32,
    pub(super) partition_size: u32,
    /// What the header says; 0 before it was read.
    pub(super) length: u32,
    limit: u32,
    bytes: Vec<u8>,
}

impl PartialDump {
    pub(super) fn new(offset: u32, partition_size: u32, limit: u32) -> Self {
        Self {
            offset,
            partition_size,
            limit,
            ..Self::default()
        }
    }

    /// Takes the next block; offset and length of the one after it, or `None`
    /// once all is there.
    pub(super) fn feed(&mut self, block: &[u8]) -> Result<Option<(u32, u32)>, Error> {
        if self.bytes.is_empty() {
            self.length = self.plausible(word_at(block, 0).unwrap_or_default())?;
        }
        // A block has the size that was asked for, or more.
        let missing = self.length.saturating_sub(self.done());
        let wanted = usize::try_from(missing).unwrap_or(usize::MAX);
        self.bytes.extend(block.iter().take(wanted));
        Ok(self.next())
    }

    /// Offset and length of the next block; `None` once all is there.
    pub(super) fn next(&self) -> Option<(u32, u32)> {
        let missing = self.length.saturating_sub(self.done());
        let offset = self.offset.saturating_add(self.done());
        (missing > 0).then_some((offset, missing.min(FLASH_BLOCK)))
    }

    /// Whether `block`, the first one of the same partition, is the beginning of
    /// these bytes.
    pub(super) fn begins_with(&self, other: &Self, block: &[u8]) -> bool {
        (self.offset, self.partition_size) == (other.offset, other.partition_size)
            && self.bytes.len() > block.len()
            && self.bytes.starts_with(block)
    }

    /// How many bytes are there.
    pub(super) fn done(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    /// The bytes so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A dump begins with its own length. Erased flash is all ones, and
    /// ESP-IDF leaves ones and then zeros when it erases a dump.
    fn plausible(&self, length: u32) -> Result<u32, Error> {
        let (available, limit) = (self.partition_size, self.limit);
        match length {
            0 | u32::MAX => Err(Error::Empty),
            _ if length < SHORTEST || length > available => {
                Err(Error::Implausible { length, available })
            }
            _ if length > limit => Err(Error::TooLarge { length, limit }),
            _ => Ok(length),
        }
    }
}

/// A header of three words and a checksum of one.
const SHORTEST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn block(length: u32) -> [u8; 64] {
        let mut block = [0xAB; 64];
        block[..4].copy_from_slice(&length.to_le_bytes());
        block
    }

    #[test]
    fn exactly_the_bytes_that_the_header_says_are_taken() {
        for length in [16, 63, 64, 65, 128, 1000] {
            let mut dump = PartialDump::new(0x11_0000, 0x1_0000, 0x1_0000);
            let mut next = dump.feed(&block(length)).unwrap();
            let mut asked = 64.min(length);
            while let Some((offset, wanted)) = next {
                assert_eq!(offset, 0x11_0000 + dump.done());
                asked += wanted;
                next = dump.feed(&[0xCD; 64]).unwrap();
            }
            assert_eq!((dump.done(), asked), (length, length));
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_told_apart() {
        let outcome = |length| {
            PartialDump::new(0, 4096, 2048)
                .feed(&block(length))
                .unwrap_err()
        };
        for empty in [0, u32::MAX] {
            assert_eq!(outcome(empty), Error::Empty);
        }
        for length in [1, 15, 4097, u32::MAX - 1] {
            let available = 4096;
            assert_eq!(outcome(length), Error::Implausible { length, available });
        }
        let (length, limit) = (2049, 2048);
        assert_eq!(outcome(length), Error::TooLarge { length, limit });
    }
}
