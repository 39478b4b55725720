//! Xtensa backtraces: register windows that lie spilled on the stack.

use crate::coredump::{Memory, Registers};

use super::elf::AppElf;
use super::unwind::{FRAME_LIMIT, Frame};

/// The frames of the context with `registers`, innermost first.
pub(super) fn frames(
    elf: Option<&AppElf<'_>>,
    memory: &Memory,
    registers: &Registers,
) -> Vec<Frame> {
    let mut frames = Vec::new();
    let Some(pc) = registers.pc() else {
        return frames;
    };
    let mut frame = Frame::innermost(pc, *registers);
    let mut return_address = registers.general(0);
    if elf.is_some_and(|elf| at_entry(elf, pc)) {
        let increment = registers.get("ps").map_or(0, |ps| (ps >> 16) & 3);
        return_address = u16::try_from(4 * increment)
            .ok()
            .and_then(|number| registers.general(number));
    }
    while frames.len() < FRAME_LIMIT {
        let next = return_address.and_then(|ra| caller(memory, &frame, ra));
        frame.cfa = next.and_then(|caller| caller.registers.sp());
        frames.push(frame);
        let Some(next) = next else { break };
        return_address = next.registers.general(0);
        frame = next;
    }
    frames
}

fn caller(memory: &Memory, frame: &Frame, return_address: u32) -> Option<Frame> {
    let window = return_address >> 30;
    if window == 0 || return_address & ADDRESS == 0 {
        return None;
    }
    let pc = (return_address & ADDRESS) | (frame.pc & !ADDRESS);
    let sp = frame.registers.sp()?;
    let mut registers = Registers::new(frame.registers.architecture());
    registers.set("pc", Some(pc));
    for (number, distance) in [(0, 16), (1, 12), (2, 8), (3, 4)] {
        registers.set_general(number, memory.word(sp.checked_sub(distance)?));
    }
    let caller_sp = registers
        .sp()
        .filter(|caller| *caller > sp && caller % 16 == 0)?;
    registers.general(0)?;
    // the rest of the caller's window is below the frame of its own caller
    if let Some(above) = caller_sp.checked_sub(12).and_then(|at| memory.word(at)) {
        let window = 4 * u16::try_from(window).ok()?;
        for i in 0..window - 4 {
            let distance = u32::from(4 * window - 4 * i);
            let value = above.checked_sub(distance).and_then(|at| memory.word(at));
            registers.set_general(4 + i, value);
        }
    }
    Some(Frame::caller(pc, registers, frame.guessed))
}

/// Whether the function at `pc` has not taken its window yet.
fn at_entry(elf: &AppElf<'_>, pc: u32) -> bool {
    let code = elf.constant_from(pc).filter(|_| elf.is_code(pc));
    code.and_then(<[u8]>::first) == Some(&ENTRY)
}

/// Bits of an address that a return address keeps; the others are the window's size.
const ADDRESS: u32 = 0x3fff_ffff;
/// First byte of the `entry` instruction.
const ENTRY: u8 = 0x36;
