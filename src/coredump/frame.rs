//! The context that FreeRTOS saves at the top of a task's stack.

use crate::device::{Architecture, Chip};
use crate::reader::word_at;

use super::dump::Exception;
use super::registers::Registers;

/// A saved context.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Frame {
    pub(super) registers: Registers,
    /// The task was not interrupted but yielded: only a0 to a3 were saved.
    pub(super) solicited: bool,
    /// What the frame says of an exception; meaningful for the crashed task.
    pub(super) exception: Exception,
}

/// Reads the frame that `stack` begins with.
pub(super) fn read(architecture: Architecture, stack: &[u8]) -> Option<Frame> {
    match architecture {
        Architecture::Xtensa if word_at(stack, 0)? == 0 => xtensa_solicited(stack),
        Architecture::Xtensa => xtensa_interrupted(stack),
        Architecture::RiscV => risc_v(stack),
    }
}

/// `XtExcFrame` of ESP-IDF's xtensa_context.h.
fn xtensa_interrupted(stack: &[u8]) -> Option<Frame> {
    let word = |index: usize| word_at(stack, index * 4);
    let mut registers = Registers::new(Architecture::Xtensa);
    registers.set("pc", Some(word(1)?));
    registers.set("ps", word(2).map(displayed_ps));
    for number in 0..16_u16 {
        registers.set_general(number, word(3 + usize::from(number)));
    }
    for (name, index) in [("sar", 19), ("lbeg", 22), ("lend", 23), ("lcount", 24)] {
        registers.set(name, word(index));
    }
    let pairs = [("exccause", word(20)), ("excvaddr", word(21))];
    Some(Frame {
        registers,
        solicited: false,
        exception: Exception {
            cause: word(20).filter(|cause| *cause != INVALID_CAUSE),
            address: word(21),
            registers: named(&pairs),
        },
    })
}

/// `XtSolFrame` of ESP-IDF's xtensa_context.h.
fn xtensa_solicited(stack: &[u8]) -> Option<Frame> {
    let word = |index: usize| word_at(stack, index * 4);
    let mut registers = Registers::new(Architecture::Xtensa);
    registers.set("pc", word(1).map(code_address));
    registers.set("ps", word(2).map(displayed_ps));
    for number in 0..4_u16 {
        registers.set_general(number, word(4 + usize::from(number)));
    }
    // where the sizes of the call were lost, the code is windowed all the same
    registers.set_general(0, registers.general(0).map(windowed));
    registers.pc()?;
    Some(Frame {
        registers,
        solicited: true,
        exception: Exception::default(),
    })
}

/// `RvExcFrame` of ESP-IDF's rvruntime-frames.h.
fn risc_v(stack: &[u8]) -> Option<Frame> {
    let word = |index: usize| word_at(stack, index * 4);
    let mut registers = Registers::new(Architecture::RiscV);
    registers.set("pc", Some(word(0)?));
    for number in 1..32_u16 {
        registers.set_general(number, word(usize::from(number)));
    }
    let pairs = [
        ("mstatus", word(32)),
        ("mtvec", word(33)),
        ("mcause", word(34)),
        ("mtval", word(35)),
        ("mhartid", word(36)),
    ];
    Some(Frame {
        registers,
        solicited: false,
        exception: Exception {
            cause: word(34),
            address: word(35),
            registers: named(&pairs),
        },
    })
}

fn named(pairs: &[(&str, Option<u32>)]) -> Vec<(String, u32)> {
    pairs
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?)))
        .collect()
}

/// The code address behind a return address that carries a call size in its
/// two highest bits, or lost it.
pub(super) fn code_address(address: u32) -> u32 {
    if address == 0 {
        return 0;
    }
    address & 0x3fff_ffff | 0x4000_0000
}

/// A return address of windowed code, with some call size in the highest bits.
pub(super) fn windowed(address: u32) -> u32 {
    match address >> 30 {
        0 if address != 0 => address | CALL8,
        _ => address,
    }
}

/// PS as it was before the interrupt: in user mode PS.EXCM was not set.
pub(super) fn displayed_ps(ps: u32) -> u32 {
    if ps & PS_UM != 0 { ps & !PS_EXCM } else { ps }
}

/// Whether `address` is one of the stand-in stacks that ESP-IDF dumps instead
/// of a corrupted one (`COREDUMP_FAKE_STACK_START`).
pub(super) fn is_fake_stack(chip: Option<Chip>, address: u32) -> bool {
    match address {
        0x7000_0000..0x8000_0000 => true,
        // on this one it is ordinary memory
        0x2f00_0000..0x3000_0000 => chip != Some(Chip::Esp32S31),
        0x2000_0000..0x2f00_0000 => true,
        _ => false,
    }
}

/// ESP-IDF writes this cause when there was none.
pub(super) const INVALID_CAUSE: u32 = 0xffff;
const CALL8: u32 = 2 << 30;
const PS_UM: u32 = 1 << 5;
const PS_EXCM: u32 = 1 << 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn an_interrupted_frame_tells_all_registers_and_the_cause() {
        let frame = read(
            Architecture::Xtensa,
            &words(&(100..125).collect::<Vec<_>>()),
        )
        .unwrap();
        assert_eq!(frame.registers.pc(), Some(101));
        assert_eq!(frame.registers.general(15), Some(118));
        assert_eq!(frame.registers.get("lcount"), Some(124));
        assert_eq!(frame.exception.cause, Some(120));
        assert!(!frame.solicited);
    }

    #[test]
    fn a_solicited_frame_tells_four_registers_and_the_code_it_came_from() {
        let frame = read(
            Architecture::Xtensa,
            &words(&[
                0,
                0x800d_1234,
                0x60f30,
                0,
                0x000d_5678,
                0x3ffb_0000,
                2,
                3,
                99,
            ]),
        )
        .unwrap();
        assert!(frame.solicited);
        assert_eq!(frame.registers.pc(), Some(0x400d_1234));
        assert_eq!(frame.registers.get("ps"), Some(0x60f20));
        assert_eq!(frame.registers.general(0), Some(0x800d_5678));
        assert_eq!(frame.registers.sp(), Some(0x3ffb_0000));
        assert_eq!(frame.registers.general(4), None);
    }

    #[test]
    fn a_cut_frame_tells_what_is_there() {
        let all: Vec<u32> = (100..137).collect();
        for architecture in [Architecture::Xtensa, Architecture::RiscV] {
            for length in 0..all.len() {
                let frame = read(architecture, &words(&all[..length]));
                assert_eq!(
                    frame.is_some(),
                    length > 1 || architecture == Architecture::RiscV && length > 0
                );
            }
        }
    }

    #[test]
    fn stand_in_stacks_are_told_from_memory() {
        assert!(is_fake_stack(Some(Chip::Esp32), 0x2000_0000));
        assert!(is_fake_stack(None, 0x7000_0100));
        assert!(!is_fake_stack(Some(Chip::Esp32S31), 0x2f00_1000));
        assert!(!is_fake_stack(Some(Chip::Esp32), 0x3ffb_0000));
    }
}
