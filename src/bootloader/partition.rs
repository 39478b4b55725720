//! The partition table in flash, as far as finding the coredump needs it.
//!
//! Written by ESP-IDF's `gen_esp32part.py`: entries of 32 bytes, then one
//! with the MD5 of those before it, then erased flash. Unknown types and flags
//! are accepted, unlike in tools that make tables: the coredump's entry is all
//! that matters.

use md5::{Digest, Md5};

use crate::reader::{Reader, text_until_nul};

/// Bytes of one entry.
pub const ENTRY_SIZE: usize = 32;

/// Most bytes that a table has.
pub const MAX_TABLE: usize = 0xC00;

/// One entry of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Partition {
    pub kind: u8,
    pub subtype: u8,
    pub offset: u32,
    pub size: u32,
    pub name: String,
    /// Encrypted, if the chip encrypts its flash at all.
    pub encrypted: bool,
}

/// Where an application is written so that the board starts it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AppSlot {
    /// Start of the slot that is started unless another one is chosen.
    pub offset: u32,
    /// Offset and size of the partition that says which slot is chosen; erased, it chooses
    /// none.
    pub choice: Option<(u32, u32)>,
}

/// A table that is damaged or not there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadTable {
    #[error("not found")]
    Missing,
    #[error("checksum mismatch")]
    Checksum,
    #[error("entry {0} is invalid")]
    Entry(usize),
    #[error("no end marker")]
    Endless,
}

/// A table that is read piece by piece, from its beginning.
#[derive(Debug, Default)]
pub struct PartitionTable {
    partitions: Vec<Partition>,
    digest: Md5,
}

impl PartitionTable {
    /// Takes the next whole entries; `true` once the table is at its end.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<bool, BadTable> {
        for entry in bytes.as_chunks::<ENTRY_SIZE>().0 {
            let number = self.partitions.len();
            match entry {
                [0xAA, 0x50, ..] if (number + 1) * ENTRY_SIZE < MAX_TABLE => {
                    let partition = parse(entry).ok_or(BadTable::Entry(number))?;
                    self.partitions.push(partition);
                    self.digest.update(entry);
                }
                [0xAA, 0x50, ..] => return Err(BadTable::Endless),
                [0xEB, 0xEB, ..] if entry.get(16..) == Some(self.checksum().as_slice()) => {
                    return Ok(true);
                }
                [0xEB, 0xEB, ..] => return Err(BadTable::Checksum),
                // Tables of ESP-IDF before 3.1 and those made without MD5.
                [0xFF, 0xFF, ..] if number > 0 => return Ok(true),
                _ if number == 0 => return Err(BadTable::Missing),
                _ => return Err(BadTable::Entry(number)),
            }
        }
        Ok(false)
    }

    /// The first partition for coredumps.
    pub fn coredump(&self) -> Option<&Partition> {
        self.partitions
            .iter()
            .find(|partition| (partition.kind, partition.subtype) == (DATA, COREDUMP))
    }

    /// The slot that the bootloader starts by default: the factory application, else the
    /// first of those that are updated over the air.
    pub fn app_slot(&self) -> Option<AppSlot> {
        let find = |kind, subtype| {
            let is_it = |one: &&Partition| (one.kind, one.subtype) == (kind, subtype);
            self.partitions.iter().find(is_it)
        };
        let slot = find(APP, FACTORY).or_else(|| find(APP, FIRST_OTA))?;
        let choice = find(DATA, OTA_DATA).map(|choice| (choice.offset, choice.size));
        Some(AppSlot {
            offset: slot.offset,
            choice,
        })
    }

    fn checksum(&self) -> [u8; 16] {
        self.digest.clone().finalize().into()
    }
}

/// An entry; `None` if it reaches past the addresses that there are.
fn parse(entry: &[u8]) -> Option<Partition> {
    let mut reader = Reader::at(entry, 2);
    let (kind, subtype) = (reader.byte()?, reader.byte()?);
    let (offset, size) = (reader.word()?, reader.word()?);
    let name = text_until_nul(reader.take(16)?);
    let flags = reader.word()?;
    offset.checked_add(size)?;
    Some(Partition {
        kind,
        subtype,
        offset,
        size,
        name,
        encrypted: flags & 1 != 0,
    })
}

const APP: u8 = 0x00;
const FACTORY: u8 = 0x00;
const FIRST_OTA: u8 = 0x10;
const DATA: u8 = 0x01;
const OTA_DATA: u8 = 0x00;
const COREDUMP: u8 = 0x03;

#[cfg(test)]
mod tests {
    use esp_idf_part::{AppType, DataType, Flags, SubType, Type};
    use proptest::prelude::*;

    use super::*;

    /// A table as another implementation writes it.
    fn binary() -> Vec<u8> {
        let entry = esp_idf_part::Partition::new;
        let data = |kind| SubType::Data(kind);
        let factory = SubType::App(AppType::Factory);
        esp_idf_part::PartitionTable::new(vec![
            entry(
                "nvs",
                Type::Data,
                data(DataType::Nvs),
                0x9000,
                0x6000,
                Flags::empty(),
            ),
            entry(
                "factory",
                Type::App,
                factory,
                0x1_0000,
                0x10_0000,
                Flags::empty(),
            ),
            entry(
                "coredump",
                Type::Data,
                data(DataType::Coredump),
                0x11_0000,
                0x1_0000,
                Flags::ENCRYPTED,
            ),
        ])
        .to_bin()
        .unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Option<Partition>, BadTable> {
        let mut table = PartitionTable::default();
        for piece in bytes.chunks(64) {
            if table.feed(piece)? {
                return Ok(table.coredump().cloned());
            }
        }
        Err(BadTable::Endless)
    }

    #[test]
    fn an_application_is_written_to_the_slot_that_is_started_by_default() {
        let slot = |entries: &[(u8, u8, u32, u32)]| {
            let partitions = entries
                .iter()
                .map(|(kind, subtype, offset, size)| Partition {
                    kind: *kind,
                    subtype: *subtype,
                    offset: *offset,
                    size: *size,
                    name: String::new(),
                    encrypted: false,
                });
            let table = PartitionTable {
                partitions: partitions.collect(),
                ..PartitionTable::default()
            };
            table.app_slot()
        };
        let at = |offset, choice| Some(AppSlot { offset, choice });
        let second = (0, 0x11, 0x20_0000, 0x10_0000);
        let first = (0, 0x10, 0x11_0000, 0x10_0000);
        let factory = (0, 0, 0x1_0000, 0x10_0000);
        let choice = (1, 0, 0xD000, 0x2000);
        for (entries, expected) in [
            (&[][..], None),
            (&[second], None),
            (&[factory], at(0x1_0000, None)),
            (
                &[second, first, choice],
                at(0x11_0000, Some((0xD000, 0x2000))),
            ),
            (
                &[choice, factory, first, second],
                at(0x1_0000, Some((0xD000, 0x2000))),
            ),
        ] {
            assert_eq!(slot(entries), expected, "{entries:?}");
        }
    }

    #[test]
    fn the_coredump_partition_is_found_in_a_table_made_elsewhere() {
        let found = read(&binary()).unwrap().unwrap();
        let expected = Partition {
            kind: 1,
            subtype: 3,
            offset: 0x11_0000,
            size: 0x1_0000,
            name: "coredump".to_owned(),
            encrypted: true,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_table_without_checksum_ends_at_erased_flash() {
        let mut table = binary();
        table[3 * ENTRY_SIZE..].fill(0xFF);
        assert!(read(&table).unwrap().is_some());
        table[2 * ENTRY_SIZE..].fill(0xFF);
        assert_eq!(read(&table), Ok(None));
    }

    #[test]
    fn damage_is_told_from_absence() {
        assert_eq!(read(&[0xFF; 0xC00]), Err(BadTable::Missing));
        assert_eq!(read(&[0; 0xC00]), Err(BadTable::Missing));
        let mut flipped = binary();
        flipped[8] ^= 0x10;
        assert_eq!(read(&flipped), Err(BadTable::Checksum));
        let mut beyond = binary();
        beyond[4..12].fill(0xF0);
        assert_eq!(read(&beyond), Err(BadTable::Entry(0)));
        let endless = binary()[..ENTRY_SIZE].repeat(96);
        assert_eq!(read(&endless), Err(BadTable::Endless));
    }

    #[test]
    fn unknown_flags_and_types_do_not_hide_the_coredump() {
        let mut table = binary();
        table[2] = 0x77;
        table[28..32].fill(0xF0);
        table[3 * ENTRY_SIZE..].fill(0xFF);
        assert!(read(&table).unwrap().is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..MAX_TABLE)) {
            let mut with_magic = bytes.clone();
            for entry in with_magic.chunks_mut(ENTRY_SIZE) {
                entry[0] = 0xAA;
                if let Some(second) = entry.get_mut(1) {
                    *second = 0x50;
                }
            }
            let _ = read(&bytes);
            let _ = read(&with_magic);
        }
    }
}
