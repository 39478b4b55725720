//! Puts sections into an ELF file.

/// A section's name, its address (0: not loaded), whether it is code, its bytes.
pub type Section<'a> = (&'a str, u32, bool, &'a [u8]);

/// A 32-bit little-endian application with these sections.
pub fn application(machine: u16, sections: &[Section<'_>]) -> Vec<u8> {
    const HEADER: u32 = 52;
    let mut names = vec![0];
    let mut contents = Vec::new();
    let mut table = vec![0_u32; 10];
    for (name, address, is_code, bytes) in sections {
        let flags = match (address, is_code) {
            (0, _) => 0,
            (_, false) => 2,
            (_, true) => 6,
        };
        let (at, size) = (HEADER + length(&contents), length(bytes));
        table.extend([length(&names), 1, flags, *address, at, size, 0, 0, 1, 0]);
        contents.extend_from_slice(bytes);
        names.extend(name.bytes().chain([0]));
    }
    let (at, of_names) = (HEADER + length(&contents), length(&names));
    names.extend(b".shstrtab\0");
    table.extend([of_names, 3, 0, 0, at, length(&names), 0, 0, 1, 0]);
    contents.extend(names);
    let count = u16::try_from(sections.len() + 2).unwrap_or(u16::MAX);

    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    elf.extend(machine.to_le_bytes());
    let start = HEADER + length(&contents);
    elf.extend(
        [1, 0, 0, start, 0]
            .iter()
            .flat_map(|word: &u32| word.to_le_bytes()),
    );
    let halves = [52, 32, 0, 40, count, count - 1];
    elf.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    elf.extend(contents);
    elf.extend(table.iter().flat_map(|word| word.to_le_bytes()));
    elf
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
