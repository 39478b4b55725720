//! The memory that a dump carries, found by address.

use std::ops::Range;

use crate::reader::{text_until_nul, word_at};

/// What a region of memory was dumped for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RegionKind {
    Tcb,
    Stack,
    /// The stack of the task that an interrupt broke into.
    InterruptedStack,
    Data,
}

impl RegionKind {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcb => "tcb",
            Self::Stack => "stack",
            Self::InterruptedStack => "interrupted-stack",
            Self::Data => "data",
        }
    }
}

/// One piece of the device's memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Region {
    pub start: u32,
    pub kind: RegionKind,
    /// Where its bytes lie in [`Memory::bytes`]'s backing store.
    held: Range<usize>,
}

impl Region {
    /// Length in bytes.
    pub fn size(&self) -> u32 {
        u32::try_from(self.held.len()).unwrap_or(u32::MAX)
    }

    /// The first address behind it.
    pub fn end(&self) -> u32 {
        self.start.saturating_add(self.size())
    }

    /// The first address behind it, also of one that ends the address space.
    fn open_end(&self) -> u64 {
        u64::from(self.start) + u64::from(self.size())
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: u32) -> bool {
        u64::from(address) < self.open_end() && address >= self.start
    }
}

/// All regions of a dump. They may overlap; every address is looked up in all
/// of them. The bytes are held once, however many regions refer to them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    store: Vec<u8>,
    /// In the order of the dump.
    regions: Vec<Region>,
    /// Indices into `regions` by start, with the highest end so far.
    by_start: Vec<(usize, u64)>,
}

impl Memory {
    /// Memory whose regions are pieces of `store`. A region that reaches past
    /// the store's end is cut; an empty one is dropped.
    pub fn new(
        store: Vec<u8>,
        regions: impl IntoIterator<Item = (u32, RegionKind, Range<usize>)>,
    ) -> Self {
        let mut memory = Self {
            regions: regions
                .into_iter()
                .map(|(start, kind, held)| Region {
                    start,
                    kind,
                    held: held.start..held.end.min(store.len()),
                })
                .filter(|region| !region.held.is_empty())
                .collect(),
            store,
            by_start: Vec::new(),
        };
        memory.index();
        memory
    }

    fn index(&mut self) {
        let mut order: Vec<(usize, u64)> = (0..self.regions.len()).map(|i| (i, 0)).collect();
        order.sort_by_key(|(i, _)| self.regions.get(*i).map(|region| region.start));
        let mut highest = 0;
        for (i, end) in &mut order {
            highest = highest.max(self.regions.get(*i).map_or(0, Region::open_end));
            *end = highest;
        }
        self.by_start = order;
    }

    /// The regions, in the order of the dump.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The region that holds `address`.
    pub fn region_at(&self, address: u32) -> Option<&Region> {
        let after = self.by_start.partition_point(|(i, _)| {
            self.regions
                .get(*i)
                .is_some_and(|region| region.start <= address)
        });
        self.by_start
            .get(..after)?
            .iter()
            .rev()
            .take_while(|(_, highest)| *highest > u64::from(address))
            .filter_map(|(i, _)| self.regions.get(*i))
            .find(|region| region.contains(address))
    }

    /// The bytes of `region`.
    pub fn bytes(&self, region: &Region) -> &[u8] {
        self.store.get(region.held.clone()).unwrap_or_default()
    }

    /// Everything from `address` to the end of its region.
    pub fn from(&self, address: u32) -> Option<&[u8]> {
        let region = self.region_at(address)?;
        let offset = usize::try_from(address - region.start).ok()?;
        self.bytes(region).get(offset..)
    }

    /// `length` bytes at `address`, if one region holds them all.
    pub fn read(&self, address: u32, length: usize) -> Option<&[u8]> {
        self.from(address)?.get(..length)
    }

    /// The word at `address`.
    pub fn word(&self, address: u32) -> Option<u32> {
        word_at(self.read(address, 4)?, 0)
    }

    /// The text at `address`: up to its NUL, the region's end, or `limit` bytes.
    pub fn c_string(&self, address: u32, limit: usize) -> Option<String> {
        let bytes = self.from(address)?;
        Some(text_until_nul(bytes.get(..limit).unwrap_or(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let store = (0..32).collect();
        Memory::new(
            store,
            [
                (0x2000, RegionKind::Stack, 8..16),
                (0x1000, RegionKind::Data, 0..32),
                (0x1008, RegionKind::Tcb, 4..8),
                (0x3000, RegionKind::Data, 28..99),
                (0x4000, RegionKind::Data, 32..99),
            ],
        )
    }

    #[test]
    fn every_address_is_found_in_whichever_region_holds_it() {
        let memory = memory();
        assert_eq!(memory.word(0x2000), Some(0x0b0a_0908));
        assert_eq!(
            memory.read(0x1008, 1),
            Some(&[4][..]),
            "the inner one of two"
        );
        assert_eq!(
            memory.read(0x100c, 1),
            Some(&[12][..]),
            "behind an inner one"
        );
        assert_eq!(memory.read(0x101f, 1), Some(&[31][..]));
        assert_eq!(memory.read(0x1020, 1), None);
        assert_eq!(memory.read(0xfff, 1), None);
        assert_eq!(
            memory.word(0x2005),
            None,
            "a word that runs out of its region"
        );
    }

    #[test]
    fn regions_are_cut_to_what_is_there() {
        let memory = memory();
        assert_eq!(memory.regions().len(), 4, "an empty region is none");
        assert_eq!(memory.read(0x3000, 4).map(<[u8]>::len), Some(4));
        assert_eq!(memory.read(0x3000, 5), None);
    }

    #[test]
    fn a_text_ends_at_its_nul_or_its_limit() {
        let memory = Memory::new(b"main\0xx".to_vec(), [(16, RegionKind::Data, 0..7)]);
        assert_eq!(memory.c_string(16, 16).as_deref(), Some("main"));
        assert_eq!(memory.c_string(16, 2).as_deref(), Some("ma"));
        assert_eq!(memory.c_string(21, 16).as_deref(), Some("xx"));
    }

    #[test]
    fn a_region_at_the_end_of_the_address_space_does_not_wrap() {
        let memory = Memory::new(vec![0; 16], [(u32::MAX - 3, RegionKind::Data, 0..16)]);
        assert!(memory.read(u32::MAX - 3, 4).is_some());
        assert!(memory.read(u32::MAX, 1).is_some());
        assert_eq!(memory.word(0), None);
    }
}
