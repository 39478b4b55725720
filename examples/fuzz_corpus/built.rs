//! Files and conversations that are made: ELFs, firmware, a flash read.

use espgate::bootloader::{ReadSession, SessionAction, SessionSettings, slip};
use espgate::decode::AppElf;

use crate::dumps;
use crate::firmware::{Build, Image, elf, zip};
use crate::simulated_board::flash_image::{FlashImage, coredump};
use crate::simulated_board::registers::{Burned, Chip};
use crate::simulated_board::rom::Rom;

/// A target, the input's name, the input.
pub(crate) type Input = (&'static str, String, Vec<u8>);

pub(crate) fn inputs() -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut add = |target, name: &str, bytes| inputs.push((target, name.to_owned(), bytes));
    let app = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/app.elf")).unwrap();
    add("dwarf", "risc-v", [&[0], app.as_slice()].concat());
    add("dwarf", "xtensa", [&[1], app.as_slice()].concat());
    add("call_frames", "in-callback", call_frames(&app));

    let build = Build::of("lamp");
    add("bundle", "zip", [&[0], build.zip().as_slice()].concat());
    let stored = zip(&[("lamp.bin", b"x"), ("version.json", b"{")]);
    add(
        "bundle",
        "zip-incomplete",
        [&[0], stored.as_slice()].concat(),
    );
    let small = Image {
        elf: &elf(1, true),
        code: 16,
        ..Image::default()
    };
    add("bundle", "image", [&[0], small.build().as_slice()].concat());
    add("bundle", "files", packed(&build));
    for chip in [Chip::Esp32, Chip::Esp32S2, Chip::Esp32C3] {
        add("rom_answers", &format!("{chip:?}"), flash_read(chip));
    }
    inputs
}

/// The rules of `app`, and the stack of a crash in it.
fn call_frames(app: &[u8]) -> Vec<u8> {
    let rules = AppElf::parse(app).unwrap().section(".debug_frame");
    let crashed = dumps::crash_of_app("");
    let main = &crashed.tasks[0];
    let mut stack = vec![0; 128];
    let below = (main.stack_start as usize - 0x3fc9_1000) / 4;
    stack[below..below + main.stack.len()].copy_from_slice(&main.stack);
    // pc, then ra, sp, s0, s1, a0, t0, t1
    let registers = [
        0x4200_0060,
        0x4200_00c6,
        0x3fc9_1180,
        0x3c02_0138,
        127,
        0,
        0,
        0,
    ];
    let words = registers.iter().chain(&stack);
    let words = words.flat_map(|word: &u32| word.to_le_bytes());
    let head = [0, 128].into_iter();
    head.chain(words).chain(rules.iter().copied()).collect()
}

/// A build's files in the order in which the target takes them.
fn packed(build: &Build<'_>) -> Vec<u8> {
    let files = build.files();
    let part = |name: &str| {
        let found = files.iter().find(|(known, _)| known == name);
        found.unwrap().1.as_slice()
    };
    let mut bytes = vec![1];
    for name in ["version.json", "sdkconfig", "lamp.elf", "lamp.map"] {
        let length = u16::try_from(part(name).len()).unwrap();
        bytes.extend(length.to_le_bytes());
        bytes.extend(part(name));
    }
    bytes.extend(part("lamp.bin"));
    bytes
}

/// All answers of a ROM while a small dump is read.
fn flash_read(chip: Chip) -> Vec<u8> {
    let flash = FlashImage::erased()
        .with_table(Some(esp_idf_part::Flags::empty()))
        .with_dump(&coredump(200, 0))
        .into_bytes();
    let burned = Burned {
        chip,
        mac: [0x30, 0xAE, 0xA4, 0x4B, 0x41, 0x7C],
        encrypting: false,
        clock_error: 0,
        flash_size: flash.len(),
    };
    let mut rom = Rom::new(burned, flash, false);
    let (mut session, mut action) = ReadSession::begin(SessionSettings::default());
    let mut pieces = Vec::new();
    let mut speed = 115_200;
    loop {
        action = match action {
            SessionAction::Done(outcome) => {
                outcome.unwrap();
                return pieces;
            }
            SessionAction::ChangeSpeed { baud, .. } => {
                speed = baud;
                session.speed_changed()
            }
            SessionAction::Send { bytes, .. } => {
                let mut decoder = slip::Decoder::default();
                let request = bytes.iter().find_map(|byte| decoder.feed(*byte)).unwrap();
                let answer = rom.request(&request, speed).frames.remove(0);
                // a refusal names another command: that is not made by the target
                match answer[1] == request[1] {
                    true => {
                        pieces.push(u8::try_from(answer.len() - 4).unwrap());
                        pieces.extend(&answer[4..]);
                    }
                    false => {
                        let wire = slip::encode(&answer);
                        pieces.push(u8::try_from(wire.len()).unwrap() | 0x80);
                        pieces.extend(&wire);
                    }
                }
                session.receive(&slip::encode(&answer)).unwrap()
            }
        };
    }
}
