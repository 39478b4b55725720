//! ESP-IDF's image around a dump: header, data, checksum (`core_dump_header_t`).

use crate::device::Chip;
use crate::digest::Sha256;
use crate::reader::{half_at, word_at};

use super::PayloadFormat;
use super::binary_payload::Counts;
use super::dump::{Checksum, ChecksumKind};

/// One of the layouts that ESP-IDF wrote so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Version {
    /// Major and minor, as the low half of the version word has them.
    number: u16,
    format: PayloadFormat,
    header: usize,
    checksum: ChecksumKind,
}

#[rustfmt::skip]
const VERSIONS: [Version; 8] = {
    use {ChecksumKind::{Crc32, Sha256}, PayloadFormat::{Binary, Elf}};
    [
        Version { number: 0x0001, format: Binary, header: 16, checksum: Crc32 },  // IDF up to 4.0
        Version { number: 0x0002, format: Binary, header: 20, checksum: Crc32 },  // 4.1 to 5.1
        Version { number: 0x0003, format: Binary, header: 24, checksum: Crc32 },  // 5.2 to 5.5
        Version { number: 0x0100, format: Elf,    header: 20, checksum: Crc32 },  // 4.1 to 5.1
        Version { number: 0x0101, format: Elf,    header: 20, checksum: Sha256 },
        Version { number: 0x0102, format: Elf,    header: 24, checksum: Crc32 },  // 5.2 to 5.5
        Version { number: 0x0103, format: Elf,    header: 24, checksum: Sha256 },
        Version { number: 0x0104, format: Elf,    header: 12, checksum: Sha256 }, // from 6.0
    ]
};

/// The header of an image and what it says of the rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Image<'a> {
    bytes: &'a [u8],
    version: Version,
    /// Length of the whole image as the header has it.
    pub(super) total: usize,
    pub(super) chip_id: u16,
}

/// What the first words of some bytes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Header<'a> {
    Image(Image<'a>),
    /// An image's header of a version that nobody wrote yet.
    UnknownVersion {
        chip: Chip,
        major: u8,
        minor: u8,
    },
    /// Less than the two words that tell, but a beginning of them.
    Cut,
    /// A whole header whose length leaves no room for header and checksum.
    TooSmall(usize),
    /// Flash that was erased, or never written.
    Blank,
    /// No header at all.
    None,
}

impl<'a> Header<'a> {
    /// Looks at the header that `bytes` may begin with.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        if bytes.get(..4).unwrap_or(bytes).iter().all(|b| *b == 0xff) {
            return Self::Blank;
        }
        let Some(total) = word_at(bytes, 0).and_then(|total| usize::try_from(total).ok()) else {
            return Self::None;
        };
        let Some(number) = half_at(bytes, 4) else {
            return Self::None;
        };
        if total == 0 || total > LARGEST {
            return Self::None;
        }
        let version = VERSIONS.iter().find(|known| known.number == number);
        let Some(chip_id) = half_at(bytes, 6) else {
            return if version.is_some() && total > bytes.len() {
                Self::Cut
            } else {
                Self::None
            };
        };
        let Some(version) = version else {
            let [minor, major] = number.to_le_bytes();
            return match Chip::from_id(chip_id) {
                Some(chip) if could_be_written(number, total, bytes.len()) => {
                    Self::UnknownVersion { chip, major, minor }
                }
                _ => Self::None,
            };
        };
        if total < version.header + version.checksum.size() {
            return Self::TooSmall(total);
        }
        Self::Image(Image {
            bytes,
            version: *version,
            total,
            chip_id,
        })
    }
}

impl<'a> Image<'a> {
    pub(super) fn chip(&self) -> Option<Chip> {
        Chip::from_id(self.chip_id)
    }

    pub(super) fn format(&self) -> PayloadFormat {
        self.version.format
    }

    /// Major and minor of the version word.
    pub(super) fn version(&self) -> (u8, u8) {
        let [minor, major] = self.version.number.to_le_bytes();
        (major, minor)
    }

    /// Bytes that the image lacks.
    pub(super) fn missing(&self) -> usize {
        self.total.saturating_sub(self.bytes.len())
    }

    /// What is between header and checksum, as far as it is there. Flash
    /// writers pad it with zeros.
    pub(super) fn data(&self) -> &'a [u8] {
        let end = (self.total - self.version.checksum.size()).min(self.bytes.len());
        self.bytes.get(self.version.header..end).unwrap_or_default()
    }

    /// The counts of a binary payload.
    pub(super) fn counts(&self) -> Option<Counts> {
        Some(Counts {
            tasks: word_at(self.bytes, 8)?,
            tcb_size: word_at(self.bytes, 12)?,
            segments: match self.version.header {
                16 => 0,
                _ => word_at(self.bytes, 16)?,
            },
        })
    }

    /// Major times 100 plus minor.
    pub(super) fn chip_revision(&self) -> Option<u32> {
        match self.version.header {
            24 => word_at(self.bytes, 20),
            12 => word_at(self.bytes, 8),
            _ => None,
        }
    }

    /// Compares the checksum; `None` if the image is not all there.
    pub(super) fn checksum(&self) -> Option<Checksum> {
        let kind = self.version.checksum;
        let image = self.bytes.get(..self.total)?;
        let (covered, stored) = image.split_at_checked(self.total - kind.size())?;
        let ok = match kind {
            ChecksumKind::Crc32 => word_at(stored, 0) == Some(crc32fast::hash(covered)),
            ChecksumKind::Sha256 => Sha256::of(covered).as_bytes() == stored,
        };
        Some(Checksum { kind, ok })
    }
}

/// Whether an unknown version may still be a dump's: many files begin with
/// small numbers and zeros.
fn could_be_written(version: u16, total: usize, available: usize) -> bool {
    let next_ones = 0x0105..0x0120;
    total >= SMALLEST && version < 0x0200 && (total <= available || next_ones.contains(&version))
}

/// More than any ESP32 has memory to dump.
const LARGEST: usize = 32 << 20;
/// Header and checksum of the shortest version.
const SMALLEST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(total: u32, version: u32) -> Vec<u8> {
        let mut bytes = total.to_le_bytes().to_vec();
        bytes.extend(version.to_le_bytes());
        bytes
    }

    #[test]
    fn every_version_that_idf_wrote_is_known() {
        for version in VERSIONS {
            let bytes = header(4096, 9 << 16 | u32::from(version.number));
            let Header::Image(image) = Header::of(&bytes) else {
                panic!("{version:?}");
            };
            assert_eq!(image.chip(), Some(Chip::Esp32S3));
            assert_eq!(image.missing(), 4096 - 8);
            assert_eq!(image.checksum(), None);
        }
    }

    #[test]
    fn other_versions_are_images_only_where_all_else_fits() {
        for (total, version, expected) in [
            (4096, 0x0105, true),
            (4096, 0x0000, false),
            (64, 0x0000, true),
            (64, 0x0004, true),
            (64, 0x0200, false),
            (64, 0x00ff_0105, false),
            (4, 0x0105, false),
            (u32::MAX - 1, 0x0105, false),
            (0, 0x0102, false),
        ] {
            let mut bytes = header(total, version);
            bytes.resize(64, 0);
            let is_unknown = matches!(Header::of(&bytes), Header::UnknownVersion { .. });
            assert_eq!(is_unknown, expected, "{total} {version:#x}");
        }
    }

    #[test]
    fn blank_flash_and_small_lengths_have_names() {
        assert_eq!(Header::of(&[0xff; 64]), Header::Blank);
        assert_eq!(Header::of(&header(u32::MAX, 0)), Header::Blank);
        assert_eq!(Header::of(&[0; 64]), Header::None);
        assert_eq!(Header::of(&header(27, 0x0102)), Header::TooSmall(27));
        assert!(matches!(Header::of(&header(28, 0x0102)), Header::Image(_)));
        assert_eq!(Header::of(&header(4096, 0x0102)[..7]), Header::Cut);
        assert_eq!(Header::of(&header(4096, 0x0105)[..7]), Header::None);
    }
}
