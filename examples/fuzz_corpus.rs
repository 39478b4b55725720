//! Writes the fuzz targets' first inputs: `cargo run --example fuzz_corpus`
//! fills `fuzz/corpus` with what is built here: dumps of every kind, logs, files,
//! requests, answers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
#![expect(clippy::disallowed_methods, reason = "a developer's tool")]

use std::path::Path;

#[path = "fuzz_corpus/built.rs"]
mod built;
#[path = "../tests/common/dumps.rs"]
mod dumps;
#[path = "../tests/common/firmware.rs"]
mod firmware;
#[path = "../tests/common/simulated_board/mod.rs"]
mod simulated_board;
#[path = "fuzz_corpus/texts.rs"]
mod texts;

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
                let pieces = [b"\x1e", log.as_bytes()].concat();
                write("console", &format!("{chip}-dump"), &pieces);
            }
        }
        let elf = dump.elf();
        let notes_end = note_bytes(&elf);
        let choice = u8::from(dump.machine() != 0x5e);
        write("notes", chip.name(), &[&[choice], notes_end].concat());
    }
    write("xtensa_unwinding", "three-deep", &three_deep());
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for folder in ["panics", "ordinary"] {
        for entry in std::fs::read_dir(logs.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let log = std::fs::read(&path).unwrap();
            write("panic_text", &name, &log);
            if folder == "panics" {
                write("console", &name, &[b"\x06", log.as_slice()].concat());
            }
        }
    }
    for (target, name, bytes) in built::inputs().into_iter().chain(texts::inputs()) {
        write(target, &name, &bytes);
    }
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
