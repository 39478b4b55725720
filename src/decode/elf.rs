//! An application's ELF file: its identity, code ranges, constants and symbol table.
//!
//! The file is borrowed as one slice; nothing of it is copied.

use std::ops::Range;

use object::LittleEndian;
use object::elf::{
    EM_RISCV, EM_XTENSA, FileHeader32, SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHN_UNDEF,
};
use object::elf::{STT_FILE, STT_SECTION};
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};

use crate::device::Architecture;
use crate::digest::Sha256;
use crate::reader::{text_until_nul, word_at};

/// Why a file is no use as the application of a dump.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a 32-bit little-endian ELF file")]
    NotElf(#[source] object::Error),
    #[error("the ELF's section table is damaged")]
    Sections(#[source] object::Error),
    #[error("an ELF for machine {0:#x}, which is neither Xtensa nor RISC-V")]
    OtherMachine(u16),
    #[error("the ELF is an object or core file, not an application")]
    NotAnApplication,
}

/// One section that has contents in the file.
#[derive(Clone, Copy, Debug)]
struct Section<'a> {
    name: &'a [u8],
    start: u32,
    size: u32,
    flags: u64,
    /// Empty if the section only reserves memory.
    data: &'a [u8],
}

/// What the application says about itself (`esp_app_desc_t`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description {
    pub project: String,
    pub version: String,
}

/// An opened application.
pub struct AppElf<'a> {
    digest: Sha256,
    architecture: Architecture,
    sections: Vec<Section<'a>>,
    symbols: Vec<Symbol<'a>>,
}

/// A named address of the symbol table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Symbol<'a> {
    pub address: u32,
    pub size: u32,
    /// As it is in the file, which may be mangled.
    pub name: &'a str,
    /// Defined by address alone: code or data of the chip's ROM.
    pub absolute: bool,
    global: bool,
}

impl<'a> AppElf<'a> {
    /// Opens the contents of an ELF file.
    ///
    /// # Errors
    /// If it is not an application of a chip family that we know.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = FileHeader32::<LittleEndian>::parse(bytes).map_err(Error::NotElf)?;
        let endian = header.endian().map_err(Error::NotElf)?;
        let architecture = match header.e_machine(endian) {
            EM_XTENSA => Architecture::Xtensa,
            EM_RISCV => Architecture::RiscV,
            machine => return Err(Error::OtherMachine(machine.0)),
        };
        if header.e_type(endian) != object::elf::ET_EXEC
            && header.e_type(endian) != object::elf::ET_DYN
        {
            return Err(Error::NotAnApplication);
        }
        let table = header.sections(endian, bytes).map_err(Error::Sections)?;
        let sections = table
            .iter()
            .map(|section| Section {
                name: table.section_name(endian, section).unwrap_or_default(),
                start: section.sh_addr(endian),
                size: section.sh_size(endian),
                flags: section.sh_flags(endian).0,
                data: section.data(endian, bytes).unwrap_or_default(),
            })
            .collect();
        let mut elf = Self {
            digest: Sha256::of(bytes),
            architecture,
            sections,
            symbols: Vec::new(),
        };
        if let Ok(symbols) = table.symbols(endian, bytes, object::elf::SHT_SYMTAB) {
            let strings = symbols.strings();
            elf.symbols = symbols
                .iter()
                .filter(|symbol| {
                    symbol.st_shndx(endian) != SHN_UNDEF
                        && symbol.st_type() != STT_FILE
                        && symbol.st_type() != STT_SECTION
                })
                .filter_map(|symbol| {
                    let name = std::str::from_utf8(symbol.name(endian, strings).ok()?).ok()?;
                    // Xtensa objects carry thousands of unnamed or local labels
                    (!name.is_empty() && !name.starts_with(".L")).then_some(Symbol {
                        address: symbol.st_value(endian),
                        size: symbol.st_size(endian),
                        name,
                        absolute: symbol.st_shndx(endian) == SHN_ABS,
                        global: symbol.st_bind() == object::elf::STB_GLOBAL,
                    })
                })
                .collect();
            // of several names at one address the last wins: a sized one, then a
            // global one, then the ROM's own rather than ESP-IDF's alias for it
            elf.symbols.sort_by_key(|symbol| {
                let alias = symbol.name.starts_with("esp_rom_");
                (symbol.address, symbol.size != 0, symbol.global, !alias)
            });
        }
        Ok(elf)
    }

    /// The digest of the whole file: what ESP-IDF calls the app ELF hash.
    pub fn digest(&self) -> Sha256 {
        self.digest
    }

    /// The instruction set that the application was built for.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The contents of the section called `name`; empty if there is none.
    pub fn section(&self, name: &str) -> &'a [u8] {
        self.sections
            .iter()
            .find(|section| section.name == name.as_bytes())
            .map_or(&[], |section| section.data)
    }

    /// The address of the section called `name`.
    pub fn section_address(&self, name: &str) -> Option<u32> {
        self.sections
            .iter()
            .find(|section| section.name == name.as_bytes())
            .map(|section| section.start)
    }

    /// Project and version, if the application carries a description.
    pub fn description(&self) -> Option<Description> {
        self.sections
            .iter()
            .filter(|section| section.start != 0)
            .find(|section| word_at(section.data, 0) == Some(DESCRIPTION_MAGIC))
            .and_then(|section| {
                Some(Description {
                    version: text_until_nul(section.data.get(16..48)?),
                    project: text_until_nul(section.data.get(48..80)?),
                })
            })
    }

    /// Whether the application has code at `address`.
    pub fn is_code(&self, address: u32) -> bool {
        self.section_at(address)
            .is_some_and(|section| section.flags & SHF_EXECINSTR.0 != 0)
    }

    /// Everything from `address` to the end of its section, if it is code or
    /// constant: what the device's memory holds there too.
    pub fn constant_from(&self, address: u32) -> Option<&'a [u8]> {
        let section = self.section_at(address)?;
        // ESP-IDF's linker script leaves its read-only data writable
        let constant = section.flags & SHF_WRITE.0 == 0
            || section.name.windows(6).any(|part| part == b"rodata");
        let offset = usize::try_from(address - section.start).ok()?;
        section.data.get(offset..).filter(|_| constant)
    }

    /// The symbol that `address` belongs to: the nearest at or before it in the
    /// same section and not ended before.
    pub fn symbol_at(&self, address: u32) -> Option<Symbol<'a>> {
        let section = self.section_at(address)?.range();
        let symbol = self.nearest(address, |symbol| {
            !symbol.absolute && section.contains(&symbol.address)
        })?;
        let inside = symbol.size == 0 || address - symbol.address < symbol.size;
        inside.then_some(symbol)
    }

    /// The ROM symbol that `address` lies close behind.
    ///
    /// Only a hint: ROM symbols have no size, and the application names a part
    /// of the ROM's functions only.
    pub fn rom_symbol_near(&self, address: u32) -> Option<Symbol<'a>> {
        self.nearest(address, |symbol| symbol.absolute)
            .filter(|symbol| address - symbol.address < ROM_FUNCTION_SIZE)
    }

    /// The symbol called `name`.
    pub fn symbol(&self, name: &str) -> Option<Symbol<'a>> {
        self.symbols
            .iter()
            .find(|symbol| symbol.name == name)
            .copied()
    }

    fn nearest(&self, address: u32, fits: impl Fn(&Symbol<'a>) -> bool) -> Option<Symbol<'a>> {
        let after = self
            .symbols
            .partition_point(|symbol| symbol.address <= address);
        let before = self.symbols.get(..after)?;
        before
            .iter()
            .rev()
            .take(SYMBOLS_TRIED)
            .find(|s| fits(s))
            .copied()
    }

    fn section_at(&self, address: u32) -> Option<&Section<'a>> {
        self.sections
            .iter()
            .find(|section| section.start != 0 && section.range().contains(&address))
    }
}

impl Section<'_> {
    fn range(&self) -> Range<u32> {
        self.start..self.start.saturating_add(self.size)
    }
}

/// First word of `esp_app_desc_t`.
const DESCRIPTION_MAGIC: u32 = 0xABCD_5432;
/// Farther behind a ROM symbol lies most likely another function.
const ROM_FUNCTION_SIZE: u32 = 0x800;
/// How far back to look past symbols of other sections.
const SYMBOLS_TRIED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &[u8] = include_bytes!("../../tests/data/app.elf");

    #[test]
    fn an_application_tells_who_it_is() {
        let elf = AppElf::parse(APP).unwrap();
        assert_eq!(elf.architecture(), Architecture::RiscV);
        assert_eq!(elf.digest(), Sha256::of(APP));
        let expected = Description {
            project: "pump".to_owned(),
            version: "1.2.3".to_owned(),
        };
        assert_eq!(elf.description(), Some(expected));
    }

    #[test]
    fn addresses_are_named_by_the_symbol_that_covers_them() {
        let elf = AppElf::parse(APP).unwrap();
        let name = |address| elf.symbol_at(address).map(|symbol| symbol.name);
        assert_eq!(name(0x4200_0020), Some("app_main"));
        assert_eq!(name(0x4200_0047), Some("app_main"));
        assert_eq!(name(0x4200_0048), Some("crash"));
        assert_eq!(name(0x4200_0100), None, "behind the code");
        assert_eq!(
            name(0x4004_8000),
            None,
            "the ROM is no part of the application"
        );
        let rom = |address| elf.rom_symbol_near(address).map(|symbol| symbol.name);
        assert_eq!(rom(0x4004_8010), Some("rom_visit"));
        assert_eq!(rom(0x4004_9000), None, "too far to be the same function");
    }

    #[test]
    fn only_what_cannot_change_is_read_from_the_file() {
        let elf = AppElf::parse(APP).unwrap();
        let text = elf.constant_from(0x3c02_0120).unwrap();
        assert!(text.starts_with(b"north\0"));
        assert!(elf.constant_from(0x4200_0020).is_some());
        assert_eq!(elf.constant_from(0x3fc9_0000), None, "variables");
        assert!(elf.is_code(0x4200_0020) && !elf.is_code(0x3c02_0120));
    }

    #[test]
    fn what_is_no_application_is_refused() {
        assert!(matches!(AppElf::parse(b""), Err(Error::NotElf(_))));
        let mut other = APP.to_vec();
        other[18] = 0x3e;
        assert!(matches!(
            AppElf::parse(&other),
            Err(Error::OtherMachine(0x3e))
        ));
        let mut core = APP.to_vec();
        core[16] = 4;
        assert!(matches!(AppElf::parse(&core), Err(Error::NotAnApplication)));
    }
}
