//! Images that carry no checksum: ESP-IDF up to 4.0 over UART.
//!
//! Of header 0.1 the total does not count one; the header of ESP-IDF up to 3.1
//! has no version either. What proves such an image is that its tasks fill it
//! to the byte.

use crate::device::Chip;
use crate::reader::{half_at, word_at};

/// The header of an image without a checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unsummed {
    /// Bytes of the header, and of the whole image.
    pub(crate) header: usize,
    pub(crate) total: usize,
    /// Major and minor, if the header has them.
    pub(crate) version: Option<(u8, u8)>,
    pub(crate) chip: Chip,
    pub(crate) tasks: u32,
    pub(crate) tcb_size: u32,
}

impl Unsummed {
    /// The header that `bytes` begin with, whatever follows.
    pub(crate) fn header(bytes: &[u8]) -> Option<Self> {
        let total = usize::try_from(word_at(bytes, 0)?).ok()?;
        let versioned = half_at(bytes, 4) == Some(1) && bytes.len() >= 16;
        let chip = half_at(bytes, 6).and_then(Chip::from_id);
        let of = |header: usize, version, chip| {
            let found = Self {
                header,
                total,
                version,
                chip,
                tasks: word_at(bytes, header - 8)?,
                tcb_size: word_at(bytes, header - 4)?,
            };
            let plausible = (1..=MOST_TASKS).contains(&found.tasks)
                && (SMALLEST_TCB..=LARGEST_TCB).contains(&found.tcb_size)
                && found.tcb_size.is_multiple_of(4)
                && (header..MOST_BYTES).contains(&total);
            plausible.then_some(found)
        };
        let with_version = || of(16, Some((0, 1)), chip.filter(|_| versioned)?);
        // there was but one chip then
        with_version().or_else(|| of(12, None, Chip::Esp32))
    }

    /// The header, if the tasks that it counts fill the image.
    pub(crate) fn whole(bytes: &[u8]) -> Option<Self> {
        let found = Self::header(bytes)?;
        let image = bytes.get(..found.total)?;
        let mut at = found.header;
        for _ in 0..found.tasks {
            let size = word_at(image, at + 8)?.checked_sub(word_at(image, at + 4)?)?;
            let stack = usize::try_from(size.checked_next_multiple_of(4)?).ok()?;
            let tcb = usize::try_from(found.tcb_size).ok()?;
            at = at.checked_add(12 + tcb)?.checked_add(stack)?;
            if stack == 0 || at > image.len() {
                return None;
            }
        }
        (at == image.len()).then_some(found)
    }
}

const MOST_TASKS: u32 = 64;
const SMALLEST_TCB: u32 = 64;
const LARGEST_TCB: u32 = 2048;
const MOST_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn image(header: &[u32]) -> Vec<u8> {
        let mut words = header.to_vec();
        for task in 0..2_u32 {
            words.extend([0x3ffb_8000 + task, 0x3ffb_9000, 0x3ffb_9080]);
            words.extend([7; (88 + 128) / 4]);
        }
        words[0] = u32::try_from(words.len() * 4).unwrap();
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn tasks_that_fill_the_image_prove_it() {
        for (header, version) in [(vec![0, 1, 2, 88], Some((0, 1))), (vec![0, 2, 88], None)] {
            let whole = image(&header);
            let found = Unsummed::whole(&whole).unwrap();
            assert_eq!(
                (found.version, found.tasks, found.tcb_size),
                (version, 2, 88)
            );
            let behind = [whole.as_slice(), &[0xff; 40]].concat();
            assert_eq!(Unsummed::whole(&behind), Some(found));
            for end in 0..whole.len() {
                assert_eq!(Unsummed::whole(&whole[..end]), None, "{end}");
            }
            for at in [0, header.len() * 4 - 4, header.len() * 4 + 8] {
                let mut other = whole.clone();
                other[at] ^= 4;
                assert_eq!(Unsummed::whole(&other), None, "{at}");
            }
        }
    }
}
