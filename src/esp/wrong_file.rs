//! Files that people take for an application image, told by their first bytes.

use std::fmt;

use super::app_image::{DESCRIPTION, DESCRIPTION_MAGIC, IMAGE_MAGIC};
use crate::reader::{half_at, word_at};

/// What a file is that is no application image of ESP-IDF. Displays as one
/// sentence: what it is, and which file to take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WrongFile {
    Elf,
    /// gzip, xz, zstd or bzip2.
    Compressed(&'static str),
    /// Bootloader, partition table and application in one file, as `esptool
    /// merge_bin` and the "factory" images of ESPHome and Tasmota have them.
    Merged {
        /// Where the application begins in flash, bytes.
        app_at: u32,
    },
    PartitionTable,
    Bootloader,
    Esp8266,
    /// SPIFFS, LittleFS, FAT or NVS.
    Data(&'static str),
    Uf2,
    Html,
    /// An ESP image without `esp_app_desc_t`.
    NoDescription,
    /// Nothing but noise: encrypted, or compressed in an unknown way.
    Noise,
}

/// How many first bytes of a file [`recognize`] can use.
pub const HEAD_LEN: usize = DEFAULT_APP_AT + DESCRIPTION + 4;

/// Tells what a file is that could not be read as an application image, from
/// its first bytes (at most [`HEAD_LEN`]) and its size.
pub fn recognize(head: &[u8], size: u64) -> Option<WrongFile> {
    by_magic(head)
        .or_else(|| merged(head))
        .or_else(|| data(head, size))
        .or_else(|| esp_image(head))
        .or_else(|| is_noise(head).then_some(WrongFile::Noise))
}

fn by_magic(head: &[u8]) -> Option<WrongFile> {
    let magics: [(&[u8], WrongFile); 8] = [
        (b"\x7fELF", WrongFile::Elf),
        (b"\x1f\x8b", WrongFile::Compressed("gzip")),
        (b"\xfd7zXZ\0", WrongFile::Compressed("xz")),
        (b"\x28\xb5\x2f\xfd", WrongFile::Compressed("zstd")),
        (b"BZh", WrongFile::Compressed("bzip2")),
        // https://github.com/microsoft/uf2, UF2_MAGIC_START0
        (b"UF2\n", WrongFile::Uf2),
        (&PARTITION_MAGIC, WrongFile::PartitionTable),
        // ESP8266 application of the "version 2" format, esptool's ESP8266V2FirmwareImage
        (b"\xea\x04", WrongFile::Esp8266),
    ];
    let text = head.trim_ascii_start().get(..5).unwrap_or_default();
    if text.eq_ignore_ascii_case(b"<html") || text.eq_ignore_ascii_case(b"<!doc") {
        return Some(WrongFile::Html);
    }
    let known = magics.into_iter();
    known
        .filter(|(magic, _)| head.starts_with(magic))
        .map(|(_, kind)| kind)
        .next()
}

/// A partition table behind a bootloader, or an application where the default
/// table has it.
fn merged(head: &[u8]) -> Option<WrongFile> {
    let mut tables = (SECTOR..head.len()).step_by(SECTOR);
    let table = tables.find_map(|at| first_application(head.get(at..)?));
    let default = || {
        let app = head.get(DEFAULT_APP_AT..)?;
        let is_app = app.first() == Some(&IMAGE_MAGIC)
            && word_at(app, DESCRIPTION) == Some(DESCRIPTION_MAGIC);
        is_app.then(|| u32::try_from(DEFAULT_APP_AT).ok()).flatten()
    };
    let app_at = table.or_else(default)?;
    Some(WrongFile::Merged { app_at })
}

/// The offset of the first application in a partition table
/// (`esp_partition_info_t`: magic, type, subtype, offset, size, 16 bytes label, flags).
fn first_application(table: &[u8]) -> Option<u32> {
    let (entries, _) = table.as_chunks::<32>();
    let mut entries = entries
        .iter()
        .take_while(|entry| entry.starts_with(&PARTITION_MAGIC));
    let application = entries.find(|entry| entry.get(2) == Some(&0))?;
    word_at(application, 4)
}

fn data(head: &[u8], size: u64) -> Option<WrongFile> {
    let has = |at: usize, text: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(text));
    // LittleFS keeps its superblock in the first two blocks
    if has(8, b"littlefs") || has(SECTOR + 8, b"littlefs") {
        return Some(WrongFile::Data("LittleFS"));
    }
    // a FAT volume, bare or behind the first sector of ESP-IDF's wear levelling
    let is_fat =
        |at: usize| has(at + 510, b"\x55\xaa") && (has(at + 54, b"FAT") || has(at + 82, b"FAT32"));
    if is_fat(0) || is_fat(SECTOR) {
        return Some(WrongFile::Data("FAT"));
    }
    // the first page is active or full; version 1 or 2 of the format
    if matches!(word_at(head, 0), Some(0xFFFF_FFFE | 0xFFFF_FFFC))
        && matches!(head.get(8), Some(0xFE | 0xFF))
    {
        return Some(WrongFile::Data("NVS"));
    }
    // SPIFFS_MAGIC at the end of the first lookup page, for the page sizes in use, with and
    // without the number of blocks in it (SPIFFS_USE_MAGIC_LENGTH)
    let blocks = half_of(size / SECTOR as u64);
    let is_spiffs = [256_u16, 512, 1024].into_iter().any(|page| {
        let found = half_at(head, usize::from(page) - 4);
        let magic = 0x0529 ^ page;
        found == Some(magic) || (blocks > 0 && found == Some(magic ^ blocks))
    });
    is_spiffs.then_some(WrongFile::Data("SPIFFS"))
}

fn half_of(number: u64) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn esp_image(head: &[u8]) -> Option<WrongFile> {
    if head.first() != Some(&IMAGE_MAGIC) {
        return None;
    }
    // The ESP8266's header has 8 bytes; its first segment lies in instruction RAM, data RAM
    // or mapped flash. The ESP32's has pins and drive strengths there.
    if matches!(
        word_at(head, 8),
        Some(0x4010_0000..0x4010_C000 | 0x3FFE_8000..0x3FFF_C000 | 0x4020_0000..0x4030_0000)
    ) {
        return Some(WrongFile::Esp8266);
    }
    // esp_bootloader_desc_t begins with 80, and three reserved bytes
    match word_at(head, DESCRIPTION)? {
        word if word.to_le_bytes().starts_with(&[80]) => Some(WrongFile::Bootloader),
        word if word != DESCRIPTION_MAGIC => Some(WrongFile::NoDescription),
        _ => None,
    }
}

/// Whether the bytes look drawn by lot, as ciphertext does: code and data have far less entropy.
fn is_noise(head: &[u8]) -> bool {
    let sample = head.get(..SECTOR).unwrap_or(head);
    if sample.len() < 2048 {
        return false;
    }
    let mut counts = [0_u32; 256];
    for byte in sample {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = sample.len() as f64;
    let entropy: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / total)
        .map(|share| -share * share.log2())
        .sum();
    entropy > NOISE_BITS
}

impl fmt::Display for WrongFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TAKE: &str = "upload the application's .bin";
        match self {
            Self::Elf => write!(
                f,
                "this is an .elf file; {TAKE} (the .elf goes into the bundle)"
            ),
            Self::Compressed(kind) => {
                write!(f, "this file is compressed ({kind}); unpack it and {TAKE}")
            }
            Self::Merged { app_at } => write!(
                f,
                "this is a merged (factory) flash image: bootloader first, the application begins \
                 at {app_at:#x}; {TAKE} (firmware.bin, .ota.bin)"
            ),
            Self::PartitionTable => write!(f, "this is a partition table; {TAKE}"),
            Self::Bootloader => write!(f, "this is a bootloader; {TAKE}"),
            Self::Esp8266 => {
                f.write_str("this is an image for the ESP8266; devices with an ESP32 cannot run it")
            }
            Self::Data(kind) => write!(f, "this is a data partition ({kind}); {TAKE}"),
            Self::Uf2 => write!(f, "this is a UF2 file; {TAKE}"),
            Self::Html => write!(
                f,
                "this is an HTML page, perhaps of a failed download; {TAKE}"
            ),
            Self::NoDescription => write!(
                f,
                "this ESP image has no application description: it is a bootloader, or was built \
                 without ESP-IDF 3.3 or later; {TAKE}"
            ),
            Self::Noise => write!(
                f,
                "this file looks encrypted; {TAKE} as it is before encryption"
            ),
        }
    }
}

/// `ESP_PARTITION_MAGIC`, as it lies in flash.
const PARTITION_MAGIC: [u8; 2] = [0xAA, 0x50];
/// A flash sector; partition tables and blocks of filesystems begin at one.
const SECTOR: usize = 0x1000;
/// Where the first application lies by default.
const DEFAULT_APP_AT: usize = 0x10000;
/// Bits of entropy in a byte; 2 KiB of random bytes have 7.9, code and packed data rarely 7.5.
const NOISE_BITS: f64 = 7.8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(length: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0xFF; length];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    fn application() -> Vec<u8> {
        let mut app = vec![0; 64];
        app[0] = IMAGE_MAGIC;
        app[32..36].copy_from_slice(&DESCRIPTION_MAGIC.to_le_bytes());
        app
    }

    fn table(kinds: &[(u8, u32)]) -> Vec<u8> {
        let mut table = Vec::new();
        for (kind, offset) in kinds {
            table.extend(PARTITION_MAGIC);
            table.extend([*kind, 0]);
            table.extend(offset.to_le_bytes());
            table.resize(table.len().next_multiple_of(32), 0);
        }
        table
    }

    fn of(bytes: &[u8]) -> Option<WrongFile> {
        let head = &bytes[..bytes.len().min(HEAD_LEN)];
        recognize(head, bytes.len() as u64)
    }

    #[test]
    fn merged_images_are_told_by_their_partition_table_or_the_application() {
        let bootloader: &[u8] = b"\xe9\x03\x02\x20";
        let with_table = table(&[(1, 0x9000), (0, 0x20000)]);
        for (bytes, app_at) in [
            // ESP32: the bootloader begins at 0x1000
            (with(0x20, &[]), None),
            (
                with(0x11000, &[(0x1000, bootloader), (0x10000, &application())]),
                Some(0x10000),
            ),
            // ESP32-S3: at 0
            (
                with(0x9000, &[(0, bootloader), (0x8000, &with_table)]),
                Some(0x20000),
            ),
            // cut from 0x1000 on, and a table that was moved
            (
                with(0xB000, &[(0, bootloader), (0x7000, &with_table)]),
                Some(0x20000),
            ),
            (
                with(0xF000, &[(0, bootloader), (0xE000, &with_table)]),
                Some(0x20000),
            ),
        ] {
            let expected = app_at.map(|app_at| WrongFile::Merged { app_at });
            assert_eq!(of(&bytes), expected, "{app_at:?}");
        }
    }

    #[test]
    fn filesystems_are_told_by_their_marks() {
        let mut spiffs = vec![0xFF; 0x10000];
        spiffs[252..254].copy_from_slice(&(0x0529_u16 ^ 256 ^ 16).to_le_bytes());
        for (bytes, kind) in [
            (with(0x2000, &[(8, b"littlefs")]), "LittleFS"),
            (with(0x2000, &[(0x1008, b"littlefs")]), "LittleFS"),
            (
                with(
                    0x1000,
                    &[
                        (0, b"\xe9\xfe\x90MSDOS5.0"),
                        (54, b"FAT16"),
                        (510, b"\x55\xaa"),
                    ],
                ),
                "FAT",
            ),
            (
                with(
                    0x3000,
                    &[(0x1000 + 54, b"FAT"), (0x1000 + 510, b"\x55\xaa")],
                ),
                "FAT",
            ),
            (
                with(0x1000, &[(0, &[0xFE, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFE])]),
                "NVS",
            ),
            (spiffs, "SPIFFS"),
        ] {
            assert_eq!(of(&bytes), Some(WrongFile::Data(kind)), "{kind}");
        }
    }

    #[test]
    fn other_files_are_told_by_their_first_bytes() {
        let esp8266 = with(
            64,
            &[(0, b"\xe9\x01\x02\x40\x00\x00\x10\x40\x00\x00\x10\x40")],
        );
        let bootloader = with(64, &[(0, b"\xe9"), (32, &[80, 0, 0, 0])]);
        let old = with(64, &[(0, b"\xe9"), (32, &[1, 2, 3, 4])]);
        for (bytes, kind) in [
            (b"\x7fELF\x01".to_vec(), WrongFile::Elf),
            (b"\x1f\x8b\x08".to_vec(), WrongFile::Compressed("gzip")),
            (b"UF2\nWQ]\x9e".to_vec(), WrongFile::Uf2),
            (b"\r\n <!DOCTYPE html>".to_vec(), WrongFile::Html),
            (b"<HTML><body>".to_vec(), WrongFile::Html),
            (table(&[(1, 0x9000)]), WrongFile::PartitionTable),
            (esp8266, WrongFile::Esp8266),
            (bootloader, WrongFile::Bootloader),
            (old, WrongFile::NoDescription),
        ] {
            assert_eq!(of(&bytes), Some(kind));
        }
    }

    #[test]
    fn noise_is_told_from_code() {
        let mut state = 0x2545_F491_u32;
        let mut drawn = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        };
        let mut noise: Vec<u8> = (0..4096).map(|_| drawn()).collect();
        // what begins like something else by chance would be told as that
        noise[0] = 0x11;
        assert_eq!(of(&noise), Some(WrongFile::Noise));
        let code: Vec<u8> = noise.iter().map(|byte| byte & 0x3F).collect();
        assert_eq!(of(&code), None);
        assert_eq!(of(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(bytes: Vec<u8>, size: u64) {
            let _ = recognize(&bytes, size);
        }
    }
}
