//! Flash contents to read from: a partition table made by another
//! implementation than the one under test, and coredumps.

use esp_idf_part::{AppType, DataType, Flags, Partition, PartitionTable, SubType, Type};

/// Where the built images have their coredump partition, and its size.
pub const COREDUMP_OFFSET: u32 = 0x11_0000;
pub const COREDUMP_SIZE: u32 = 0x2_0000;

/// Four MiB of flash.
#[derive(Clone)]
pub struct FlashImage {
    bytes: Vec<u8>,
}

impl FlashImage {
    /// Erased flash.
    pub fn erased() -> Self {
        Self {
            bytes: vec![0xFF; 4 * 1024 * 1024],
        }
    }

    /// A table as ESP-IDF writes it, with a coredump partition or without.
    pub fn with_table(self, coredump: Option<Flags>) -> Self {
        self.with_table_at(0x8000, coredump)
    }

    pub fn with_table_at(mut self, offset: usize, coredump: Option<Flags>) -> Self {
        let app = SubType::App(AppType::Factory);
        let nvs = SubType::Data(DataType::Nvs);
        let none = Flags::empty();
        let mut partitions = vec![
            Partition::new("nvs", Type::Data, nvs, 0x9000, 0x6000, none),
            Partition::new("factory", Type::App, app, 0x1_0000, 0x10_0000, none),
        ];
        partitions.extend(coredump.map(|flags| {
            let kind = SubType::Data(DataType::Coredump);
            let (offset, size) = (COREDUMP_OFFSET, COREDUMP_SIZE);
            Partition::new("coredump", Type::Data, kind, offset, size, flags)
        }));
        let table = PartitionTable::new(partitions).to_bin().unwrap();
        self.put(offset, &table);
        self
    }

    /// `dump` at the beginning of the coredump partition.
    pub fn with_dump(mut self, dump: &[u8]) -> Self {
        self.put(COREDUMP_OFFSET as usize, dump);
        self
    }

    /// All of it as it looks once the chip encrypts its flash.
    pub fn encrypted(mut self) -> Self {
        let mut noise = Noise(7);
        self.bytes.iter_mut().for_each(|byte| *byte ^= noise.byte());
        self
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

/// A coredump of `length` bytes with a right header and checksum; what is in
/// between means nothing, and has every byte that framing treats specially.
pub fn coredump(length: u32, chip_id: u16) -> Vec<u8> {
    let version = u32::from(chip_id) << 16 | 0x0102;
    let header = [length, version, 0, 0, 0, 3];
    let mut dump: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut noise = Noise(length);
    let payload = length as usize - 4;
    dump.resize_with(payload, || match noise.byte() {
        0..32 => 0xC0,
        32..64 => 0xDB,
        other => other,
    });
    dump.extend(crc32fast::hash(&dump).to_le_bytes());
    dump
}

/// The same bytes every time.
struct Noise(u32);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 24) as u8
    }
}
