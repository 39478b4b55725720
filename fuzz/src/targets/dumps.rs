//! Coredumps and the panics that consoles print.

use espgate::coredump::{
    self, Crashes, Dump, Memory, RegionKind, Registers, Verdict, panic_text, xtensa,
};
use espgate::device::Architecture;

/// Any bytes as they come in.
pub fn image(bytes: &[u8]) {
    let (found, dump) = coredump::load(bytes);
    assert_eq!(found.problems.is_empty(), found.verdict == Verdict::Valid);
    assert_eq!(found.canonical.is_some(), found.verdict.is_whole());
    if let Some(canonical) = &found.canonical {
        assert!(
            canonical.len() <= bytes.len() + 12,
            "more than was received"
        );
        assert!(!canonical.is_empty());
    }
    if let Some(dump) = &dump {
        check(dump, bytes.len());
    }
    // the same again gives the same
    assert_eq!(coredump::examine(bytes), found);
    for (_, dump) in coredump::load_all(bytes) {
        if let Some(dump) = &dump {
            check(dump, bytes.len());
        }
    }
}

/// The note segments of an ELF core: the first byte chooses the architecture,
/// the rest are the notes.
pub fn notes(bytes: &[u8]) {
    let Some((choice, notes)) = bytes.split_first() else {
        return;
    };
    let machine: u8 = if choice % 2 == 0 { 0x5e } else { 0xf3 };
    let size = u32::try_from(notes.len()).unwrap_or(u32::MAX);
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x04\0".to_vec();
    elf.extend([machine, 0]);
    push_words(&mut elf, &[1, 0, 52, 0, 0]);
    push_words(&mut elf, &[32 << 16 | 52, 40 << 16 | 2, 0]);
    // the notes, and the same bytes as memory
    let segments = 52 + 64;
    push_words(&mut elf, &[4, segments, 0, 0, size, size, 6, 0]);
    push_words(&mut elf, &[1, segments, 0x3ffb_0000, 0, size, size, 6, 0]);
    elf.extend(notes);
    image(&elf);
}

/// Tasks and memory of the binary format: the first bytes are the header's
/// counts, the rest is what they count.
pub fn binary_payload(bytes: &[u8]) {
    let Some((counts, data)) = bytes.split_at_checked(4) else {
        return;
    };
    let [tasks, tcb_low, tcb_high, segments] = counts else {
        return;
    };
    let total = u32::try_from(24 + data.len() + 4).unwrap_or(u32::MAX);
    let tcb_size = u16::from_le_bytes([*tcb_low, *tcb_high]);
    let mut bytes = Vec::with_capacity(data.len() + 28);
    let words = [
        total,
        3,
        (*tasks).into(),
        tcb_size.into(),
        (*segments).into(),
        300,
    ];
    push_words(&mut bytes, &words);
    bytes.extend(data);
    let checksum = crc32fast::hash(&bytes);
    push_words(&mut bytes, &[checksum]);
    image(&bytes);
    image(data);
}

/// A stack and the registers to begin with: pc, ps and sixteen more words,
/// the rest is the stack.
pub fn xtensa_unwinding(bytes: &[u8]) {
    const BASE: u32 = 0x3ffb_0000;
    let (words, _) = bytes.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
    let mut registers = Registers::new(Architecture::Xtensa);
    registers.set("pc", words.next());
    registers.set("ps", words.next());
    for number in 0..16 {
        registers.set_general(number, words.next());
    }
    let stack = bytes.get(18 * 4..).unwrap_or_default();
    let memory = Memory::new(stack.to_vec(), [(BASE, RegionKind::Stack, 0..stack.len())]);
    for code in [None, Some(0x36)] {
        let frames = xtensa::unwind(&registers, &memory, |_| code);
        assert!(frames.len() <= xtensa::MOST_FRAMES);
        let pointers: Vec<u32> = frames.iter().map(|frame| frame.sp).collect();
        assert!(pointers.is_sorted(), "{pointers:x?}");
    }
}

/// Console text with a panic in it.
pub fn panic_text(bytes: &[u8]) {
    if let Some(dump) = panic_text::parse(bytes) {
        check(&dump, bytes.len());
        assert_eq!(dump.tasks.len(), 1);
        assert!(dump.printed_backtrace.len() <= xtensa::MOST_FRAMES);
    }
    // in pieces of any size it is the same log
    let size = usize::from(bytes.first().copied().unwrap_or(0)) + 1;
    let mut whole = Crashes::default();
    let mut found = whole.feed(bytes);
    found.extend(whole.finish());
    let mut pieces = Crashes::default();
    let mut again = Vec::new();
    for piece in bytes.chunks(size) {
        again.extend(pieces.feed(piece));
    }
    again.extend(pieces.finish());
    assert_eq!(found, again);
    for (examination, dump) in &found {
        assert!(examination.problems.len() <= 16);
        if let Some(dump) = dump {
            check(dump, bytes.len());
        }
    }
    image(bytes);
}

fn check(dump: &Dump, received: usize) {
    assert!(dump.tasks.len() <= received / 12 + 1);
    assert!(dump.problems.len() <= 16);
    assert!(dump.tasks.iter().filter(|task| task.crashed).count() <= 1);
    for region in dump.memory.regions() {
        assert!(dump.memory.bytes(region).len() <= received + 12);
        let at = dump.memory.region_at(region.start);
        assert!(at.is_some_and(|at| at.contains(region.start)));
    }
    for task in dump.tasks.iter().take(8) {
        let frames = xtensa::backtrace(dump, task, |_| None);
        assert!(frames.len() <= 2 * xtensa::MOST_FRAMES);
        if let Some(sp) = task.registers.sp() {
            let _ = dump.memory.word(sp);
            let _ = dump.memory.c_string(sp, 64);
        }
    }
}

fn push_words(bytes: &mut Vec<u8>, words: &[u32]) {
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}
