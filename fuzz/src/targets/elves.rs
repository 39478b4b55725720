//! The application's ELF: its unwinding rules and its debug information.

use std::sync::LazyLock;

use espgate::coredump::{Memory, RegionKind, Registers};
use espgate::decode::cfi::CallFrames;
use espgate::decode::report::Report;
use espgate::decode::riscv::Unwinder;
use espgate::decode::unwind::FRAME_LIMIT;
use espgate::decode::{AppElf, Options, decode, text};
use espgate::device::Architecture;

use super::elf_file::application;

#[path = "../../../tests/common/dumps.rs"]
mod built;

const CODE: u32 = 0x4200_0000;
const STACK: u32 = 0x3fc9_1000;
const RISC_V: u16 = 0xf3;
const XTENSA: u16 = 0x5e;

/// RISC-V rules and a stack to follow them on. The first byte chooses the section, the
/// second is the stack's length in words; then pc, the registers that a frame is
/// found by, the stack, and the section.
pub fn call_frames(bytes: &[u8]) {
    let Some(([choice, words, head @ ..], rest)) = bytes.split_first_chunk::<34>() else {
        return;
    };
    let (stack, rules) = rest.split_at(rest.len().min(usize::from(*words) * 4));
    let section = match choice % 2 {
        0 => (".debug_frame", 0, false, rules),
        _ => (".eh_frame", 0x3c00_0000, false, rules),
    };
    let code = [0x13_u8; 0x400];
    let file = application(RISC_V, &[(".flash.text", CODE, true, &code), section]);
    let elf = AppElf::parse(&file).expect("what was just made");
    let rules = CallFrames::new(&elf);
    let memory = Memory::new(stack.to_vec(), [(STACK, RegionKind::Stack, 0..stack.len())]);

    let mut registers = Registers::new(Architecture::RiscV);
    let mut words = head
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word));
    registers.set("pc", words.next());
    for number in [1, 2, 8, 9, 10, 5, 6] {
        registers.set_general(number, words.next());
    }
    let unwinder = Unwinder {
        elf: &elf,
        rules: &rules,
        memory: &memory,
    };
    let frames = unwinder.frames(&registers);
    assert!(frames.len() <= FRAME_LIMIT);
    assert_eq!(frames, unwinder.frames(&registers));
    for frame in &frames {
        let caller = rules.caller(&memory, &frame.registers, frame.probe);
        assert!(caller.is_none() || rules.covers(frame.probe));
        // what is on the stack does not move the frame itself
        let cfa = rules.cfa(&frame.registers, frame.probe);
        assert_eq!(cfa, caller.map(|caller| caller.cfa));
    }
    // as long as rules are followed, callers are above
    for pair in frames.windows(2) {
        if let [inner, outer] = pair
            && !outer.guessed
            && let (Some(cfa), Some(sp)) = (inner.cfa, inner.registers.sp())
        {
            assert!(cfa >= sp, "{frames:x?}");
            assert_eq!(outer.registers.sp(), Some(cfa));
        }
    }
}

/// An ELF file behind a byte that chooses its architecture; a dump of that application
/// is decoded with it.
pub fn dwarf(bytes: &[u8]) {
    let Some((choice, file)) = bytes.split_first() else {
        return;
    };
    let mut file = file.to_vec();
    static DUMPS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(dumps);
    let [of_risc_v, of_xtensa] = &*DUMPS;
    let (machine, dump) = match choice % 2 {
        0 => (RISC_V, of_risc_v),
        _ => (XTENSA, of_xtensa),
    };
    if let Some(place) = file.get_mut(18..20) {
        place.copy_from_slice(&machine.to_le_bytes());
    }
    let Ok(elf) = AppElf::parse(&file) else {
        return;
    };
    let report = decode(dump, Some(&elf), Options::default());
    check(&report);
    assert_eq!(report, decode(dump, Some(&elf), Options::default()));
    for symbol in ["main", "pxCurrentTCBs", ""] {
        let _ = elf.symbol(symbol);
    }
}

/// Of both architectures, at places of the application in the corpus, and without the
/// hash of a certain ELF.
fn dumps() -> [Vec<u8>; 2] {
    let of_risc_v = built::crash_of_app("");
    let mut of_xtensa = built::xtensa();
    of_xtensa.app_elf_sha256 = "";
    if let Some(main) = of_xtensa.tasks.first_mut() {
        let sp = main.stack_start + built::XTENSA_FRAME;
        main.set_xtensa_frame(0x4200_0060, 0x8200_00c6, sp);
        main.set(sp - 16, &[0x8200_00da, sp + 0x40, 0x22, 0x33]);
        main.set(sp + 0x40 - 16, &[0x8200_00ec, sp + 0x80, 0, 0]);
    }
    [of_risc_v, of_xtensa].map(|spec| spec.image(0x0102, true))
}

fn check(report: &Report) {
    let json = serde_json::to_vec(report).expect("a report is JSON");
    assert!(json.len() <= 8 << 20, "a report of {} bytes", json.len());
    let again: Report = serde_json::from_slice(&json).expect("a report can be read");
    assert_eq!(*report, again);
    assert!(report.problems.len() <= 32);
    for frame in report.tasks.iter().flat_map(|task| &task.backtrace) {
        let names = [&frame.function, &frame.file];
        for name in names.into_iter().flatten() {
            assert!(name.chars().count() <= 2000, "a name of {}", name.len());
        }
    }
    let shown = text::render(report, false);
    let is_text = |c: char| !c.is_control() || c == '\n';
    assert!(shown.chars().all(is_text), "{shown:?}");
}
