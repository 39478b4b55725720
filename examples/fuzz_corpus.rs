//! Writes the fuzz targets' first inputs: `cargo run --example fuzz_corpus`
//! fills `fuzz/corpus` with built dumps of every kind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
#![expect(clippy::disallowed_methods, reason = "a developer's tool")]

use std::path::Path;

#[path = "../tests/common/dumps.rs"]
mod dumps;

use dumps::{VERSIONS, base64_lines, console, risc_v, xtensa};

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    };
    for dump in [xtensa(), risc_v()] {
        let chip = dump.chip;
        for (version, _, checksum, is_elf) in VERSIONS {
            let image = dump.image(version, false);
            write("image", &format!("{chip}-{version:04x}"), &image);
            let body = dump.uploaded_body(version);
            write("image", &format!("{chip}-{version:04x}-body"), &body);
            if !is_elf {
                let mut bytes = vec![
                    2,
                    84,
                    1,
                    u8::from(version != 1 && !dump.segments.is_empty()),
                ];
                bytes.extend(dump.binary(version != 1));
                write("binary_payload", &format!("{chip}-{version:04x}"), &bytes);
            } else if version == 0x102 {
                let log = console(&base64_lines(&image, checksum));
                write("image", &format!("{chip}-log"), log.as_bytes());
            }
        }
        let elf = dump.elf();
        let notes_end = note_bytes(&elf);
        let choice = u8::from(dump.machine() != 0x5e);
        write("notes", chip.name(), &[&[choice], notes_end].concat());
    }
    write("xtensa_unwinding", "three-deep", &three_deep());
    write("panic_text", "xtensa", XTENSA_PANIC.as_bytes());
    write("panic_text", "risc-v", RISC_V_PANIC.as_bytes());
}

/// What the last program header of a built ELF points at: its closing notes.
fn note_bytes(elf: &[u8]) -> &[u8] {
    let count = usize::from(u16::from_le_bytes([elf[44], elf[45]]));
    let at = 52 + 32 * (count - 1) + 4;
    let offset = u32::from_le_bytes(elf[at..at + 4].try_into().unwrap());
    &elf[usize::try_from(offset).unwrap()..]
}

/// pc, ps, a0 to a15, then a stack with two callers.
fn three_deep() -> Vec<u8> {
    let base = 0x3ffb_0000_u32;
    let mut words = vec![0x400d_1003, 0x60f30, 0x800d_2003, base + 0x40];
    words.resize(18 + 0x30, 0);
    words[18 + 0xc..18 + 0xe].copy_from_slice(&[0xc00d_3003, base + 0x80]);
    words[18 + 0x1c..18 + 0x1e].copy_from_slice(&[0, base + 0xc0]);
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

const XTENSA_PANIC: &str = "\
Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r
Core  0 register dump:\r
PC      : 0x400d1500  PS      : 0x00060b30  A0      : 0x800d66d1  A1      : 0x3ffb4f70  \r
EXCVADDR: 0x00000004  LBEG    : 0x4000c2e0  EXCCAUSE: 0x0000001c  LCOUNT  : 0x00000000  \r
Backtrace: 0x400d14fd:0x3ffb4f70 0x400d66ce:0x3ffb4f90 |<-CORRUPTED\r
ELF file SHA256: 1b43c5e74\r
Rebooting...\r
";

const RISC_V_PANIC: &str = "\
ESP-ROM:esp32c3-api1-20210207
abort() was called at PC 0x42009351 on core 0
Core  0 register dump:
MEPC    : 0x40380698  RA      : 0x4038368e  SP      : 0x3fc8ea70  GP      : 0x3fc8a600
S0/FP   : 0x00000004  MCAUSE  : 0x00000007  MTVAL   : 0x00000000
Stack memory:
3fc8ea70: 0xa5a5a5a5 0x00000001
3fc8ea78: 0x3fc8ead0 0x403887b8
ELF file SHA256: 7d946a8e8
";
