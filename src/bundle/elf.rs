//! The .elf of a bundle, looked at while it streams by: digest and debug info.

use std::ops::Range;

use sha2::Digest as _;

use crate::digest::Sha256;
use crate::reader::{Reader, half_at, word_at};

/// What the .elf of a bundle is.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct ElfFacts {
    pub(super) sha256: Sha256,
    /// Whether there is a `.debug_info` section with anything in it.
    pub(super) has_debug_info: bool,
}

/// Reads an .elf once, front to back, in pieces of any size.
///
/// Linkers put the section headers at the end and their names shortly before;
/// only that neighbourhood is kept.
pub(super) struct ElfCheck {
    hasher: sha2::Sha256,
    fed: u64,
    header: Vec<u8>,
    /// Where in the file `kept` is; empty until the header is known.
    window: Range<u64>,
    kept: Vec<u8>,
}

impl Default for ElfCheck {
    fn default() -> Self {
        Self {
            hasher: sha2::Sha256::new(),
            fed: 0,
            header: Vec::with_capacity(HEADER_LEN),
            window: 0..0,
            kept: Vec::new(),
        }
    }
}

impl ElfCheck {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        let missing = HEADER_LEN - self.header.len();
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        if missing > 0 {
            self.header.extend_from_slice(head);
            if self.header.len() < HEADER_LEN {
                return;
            }
            let section_headers = word_at(&self.header, SECTION_HEADERS).map_or(0, u64::from);
            self.window = section_headers.saturating_sub(KEPT_BEFORE)
                ..section_headers.saturating_add(KEPT_BEHIND);
            let header = std::mem::take(&mut self.header);
            self.keep(&header);
            self.header = header;
        }
        self.keep(rest);
    }

    /// Keeps what of `bytes` is in the window.
    fn keep(&mut self, bytes: &[u8]) {
        let in_piece = |place: u64| {
            let place = place.saturating_sub(self.fed);
            usize::try_from(place)
                .unwrap_or(usize::MAX)
                .min(bytes.len())
        };
        let part = in_piece(self.window.start)..in_piece(self.window.end);
        self.kept
            .extend_from_slice(bytes.get(part).unwrap_or_default());
        self.fed += bytes.len() as u64;
    }

    pub(super) fn finish(self) -> ElfFacts {
        ElfFacts {
            has_debug_info: self.find_debug_info().is_some(),
            sha256: Sha256::from_bytes(self.hasher.finalize().into()),
        }
    }

    fn find_debug_info(&self) -> Option<()> {
        // 32 bits, little-endian: all chips of the family
        self.header.starts_with(b"\x7fELF\x01\x01").then_some(())?;
        let table = word_at(&self.header, SECTION_HEADERS)?;
        let names = half_at(&self.header, NAMES_INDEX)?;
        let names = self.section(table, names)?;
        (0..half_at(&self.header, SECTION_COUNT)?)
            .filter_map(|index| self.section(table, index))
            .filter(|section| section.size > 0)
            .any(|section| {
                let place = u64::from(names.offset) + u64::from(section.name);
                self.at(place)
                    .is_some_and(|text| text.rest().starts_with(b".debug_info\0"))
            })
            .then_some(())
    }

    fn section(&self, table: u32, index: u16) -> Option<Section> {
        let place = u64::from(table) + u64::from(index) * SECTION_HEADER_LEN;
        let mut reader = self.at(place)?;
        let name = reader.word()?;
        let [_kind, _flags, _address] = [reader.word()?, reader.word()?, reader.word()?];
        Some(Section {
            name,
            offset: reader.word()?,
            size: reader.word()?,
        })
    }

    /// A reader at a place of the file, if that was kept.
    fn at(&self, place: u64) -> Option<Reader<'_>> {
        let place = usize::try_from(place.checked_sub(self.window.start)?).ok()?;
        Some(Reader::at(&self.kept, place))
    }
}

struct Section {
    name: u32,
    offset: u32,
    size: u32,
}

// `Elf32_Ehdr` and `Elf32_Shdr` of the ELF specification
const HEADER_LEN: usize = 52;
const SECTION_HEADERS: usize = 32;
const SECTION_COUNT: usize = 48;
const NAMES_INDEX: usize = 50;
const SECTION_HEADER_LEN: u64 = 40;

const KEPT_BEFORE: u64 = 64 << 10;
const KEPT_BEHIND: u64 = 128 << 10;

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use proptest::prelude::*;

    fn facts(bytes: &[u8], piece: usize) -> ElfFacts {
        let mut check = ElfCheck::default();
        bytes.chunks(piece).for_each(|piece| check.feed(piece));
        assert!(check.kept.len() <= 192 << 10);
        check.finish()
    }

    #[test]
    fn debug_info_is_found_however_the_file_is_cut() {
        let with = fixture::elf(1, true);
        let without = fixture::elf(1, false);
        for piece in [1, 51, 52, 53, 1000, usize::MAX] {
            assert!(facts(&with, piece).has_debug_info, "pieces of {piece}");
            assert!(!facts(&without, piece).has_debug_info, "pieces of {piece}");
            assert_eq!(facts(&with, piece).sha256, Sha256::of(&with));
        }
    }

    #[test]
    fn debug_info_is_found_in_a_file_larger_than_what_is_kept() {
        let large = fixture::elf_of_size(1, true, 1 << 20);
        assert!(large.len() > 1 << 20);
        assert!(facts(&large, 4096).has_debug_info);
    }

    #[test]
    fn what_is_no_elf_has_no_debug_info() {
        for bytes in [&b""[..], b"\x7fELF\x01\x01", &[0xff; 5000]] {
            assert!(!facts(bytes, 100).has_debug_info);
        }
    }

    proptest! {
        #[test]
        fn damaged_headers_are_survived(
            place in 0_usize..52, value: u8, piece in 1_usize..300,
        ) {
            let mut elf = fixture::elf(1, true);
            elf[place] = value;
            let expected = Sha256::of(&elf);
            prop_assert_eq!(facts(&elf, piece).sha256, expected);
        }
    }
}
