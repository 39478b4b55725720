//! The call chain of an Xtensa task, from its stack alone.
//!
//! In the windowed ABI a function's first four registers are spilled to the
//! 16 bytes below its *callee's* stack pointer, and a return address carries
//! the size of the call in its two highest bits. ESP-IDF spills all windows
//! before it writes a dump, so the whole chain is in memory.

use super::dump::{Dump, Task};
use super::memory::Memory;
use super::registers::Registers;

/// One physical frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Where the innermost frame stands; the return address of the others,
    /// which belong to the code just before it.
    pub pc: u32,
    pub sp: u32,
    /// The stack pointer that the function was called with, which is DWARF's
    /// canonical frame address.
    pub cfa: Option<u32>,
    /// What is known of the frame's registers: all of the innermost one; of a
    /// caller pc, a0 to a3, and a4 to a7 or a11 if its call kept them.
    pub registers: Registers,
}

/// The frames of `task`, innermost first; if it crashed in an interrupt
/// handler, those of the interrupted task follow.
///
/// `code` reads a byte of the application's program memory. A task with a
/// stand-in stack has no frames.
pub fn backtrace(dump: &Dump, task: &Task, code: impl Fn(u32) -> Option<u8>) -> Vec<Frame> {
    if task.fake_stack {
        return Vec::new();
    }
    let mut frames = unwind(&task.registers, &dump.memory, &code);
    if task.crashed
        && let Some(interrupted) = &dump.interrupted
    {
        frames.extend(unwind(&interrupted.registers, &dump.memory, &code));
    }
    frames
}

/// The call chain that begins at `registers`: at most [`MOST_FRAMES`], with
/// stack pointers that only grow and program counters that can be code.
pub fn unwind(
    registers: &Registers,
    memory: &Memory,
    code: impl Fn(u32) -> Option<u8>,
) -> Vec<Frame> {
    let (Some(pc), Some(sp)) = (registers.pc(), registers.sp()) else {
        return Vec::new();
    };
    let mut current = *registers;
    let mut frames = vec![Frame {
        pc,
        sp,
        cfa: None,
        registers: current,
    }];
    if not_entered(registers, &code) {
        // the window has not turned yet: these are still the caller's registers
        set_last_cfa(&mut frames, Some(sp));
        let Some(pc) = callee_return_address(registers).and_then(caller_pc) else {
            return frames;
        };
        current.set("pc", Some(pc));
        frames.push(Frame {
            pc,
            sp,
            cfa: None,
            registers: current,
        });
    }
    while frames.len() < MOST_FRAMES {
        let Some((caller, calls_back)) = caller(&current, memory) else {
            break;
        };
        set_last_cfa(&mut frames, caller.sp());
        let (true, Some(pc), Some(sp)) = (calls_back, caller.pc(), caller.sp()) else {
            break;
        };
        frames.push(Frame {
            pc,
            sp,
            cfa: None,
            registers: caller,
        });
        current = caller;
    }
    frames
}

fn set_last_cfa(frames: &mut [Frame], cfa: Option<u32>) {
    if let Some(last) = frames.last_mut() {
        last.cfa = cfa;
    }
}

/// The registers of the function that called the one with `callee`'s, and
/// whether there is one: below the outermost function only the stack pointer
/// means something.
fn caller(callee: &Registers, memory: &Memory) -> Option<(Registers, bool)> {
    let return_address = callee.general(0)?;
    let below = callee.sp()?;
    let save_area = below.checked_sub(16)?;
    let mut registers = Registers::new(callee.architecture());
    for (number, offset) in (0..4_u16).zip([0, 4, 8, 12]) {
        registers.set_general(number, memory.word(save_area + offset));
    }
    let sp = registers.sp()?;
    if sp <= below || sp % 16 != 0 {
        return None;
    }
    let Some(pc) = caller_pc(return_address) else {
        return Some((registers, false));
    };
    registers.set("pc", Some(pc));
    restore_kept(&mut registers, memory, return_address >> 30);
    Some((registers, true))
}

/// A call8 keeps the caller's a4 to a7, a call12 also a8 to a11; they lie
/// below the stack pointer of the caller's own caller.
fn restore_kept(registers: &mut Registers, memory: &Memory, call_size: u32) {
    let kept = call_size.saturating_sub(1) * 4;
    let top = registers
        .sp()
        .and_then(|sp| memory.word(sp.checked_sub(12)?));
    let Some(area) = top.and_then(|top| top.checked_sub(16 + kept * 4)) else {
        return;
    };
    for (number, index) in (4_u16..).zip(0..kept) {
        let address = area.checked_add(index * 4);
        registers.set_general(number, address.and_then(|address| memory.word(address)));
    }
}

/// The code that a windowed return address leads back to. 0 ends a chain, and
/// an address without a call size belongs to assembly without a frame.
fn caller_pc(return_address: u32) -> Option<u32> {
    let address = return_address & 0x3fff_ffff;
    let pc = address | CODE;
    (address != 0 && return_address >> 30 != 0 && is_code(pc)).then_some(pc)
}

/// Whether the innermost function was called but did not yet run its `entry`
/// instruction, or was called at an address where there is no code.
fn not_entered(registers: &Registers, code: &impl Fn(u32) -> Option<u8>) -> bool {
    let Some(pc) = registers.pc() else {
        return false;
    };
    if is_code(pc) {
        return code(pc) == Some(ENTRY_INSTRUCTION);
    }
    let size = callee_return_address(registers).map(|address| address >> 30);
    size.is_some_and(|size| size != 0) && size == call_increment(registers)
}

/// Where the called function will return to, while its caller's window is on.
fn callee_return_address(registers: &Registers) -> Option<u32> {
    let increment = u16::try_from(call_increment(registers)?).ok()?;
    registers.general(increment * 4)
}

/// PS.CALLINC: the size of the last call, in fours of registers.
fn call_increment(registers: &Registers) -> Option<u32> {
    Some(registers.get("ps")? >> 16 & 3)
}

/// Whether an Xtensa ESP32 can run code there: ROM, internal memory, flash,
/// RTC memory.
fn is_code(address: u32) -> bool {
    matches!(address, 0x4000_0000..0x5000_2000 | 0x600f_e000..0x6010_0000)
}

/// Longer chains are taken for loops.
pub const MOST_FRAMES: usize = 100;
/// All code of all Xtensa ESP32s has these two highest bits.
const CODE: u32 = 0x4000_0000;
/// First byte of `entry`, in little-endian order.
const ENTRY_INSTRUCTION: u8 = 0x36;

#[cfg(test)]
mod tests {
    use super::super::memory::RegionKind;
    use super::*;
    use crate::device::Architecture;

    const BASE: u32 = 0x3ffb_0000;

    /// A stack of `words` words with some of them set.
    fn stack(words: &[(u32, u32)]) -> Memory {
        let mut bytes = vec![0; 0x400];
        for (address, value) in words {
            let at = usize::try_from(address - BASE).unwrap();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        Memory::new(bytes, [(BASE, RegionKind::Stack, 0..0x400)])
    }

    fn registers(pc: u32, a0: u32, sp: u32) -> Registers {
        let mut registers = Registers::new(Architecture::Xtensa);
        registers.set("pc", Some(pc));
        registers.set_general(0, Some(a0));
        registers.set_general(1, Some(sp));
        registers
    }

    fn pcs(frames: &[Frame]) -> Vec<u32> {
        frames.iter().map(|frame| frame.pc).collect()
    }

    /// f called by g (call8) called by h (call12), which is the outermost.
    fn three_deep() -> Memory {
        stack(&[
            (BASE + 0xf0, 0xc00d_3000),
            (BASE + 0xf4, BASE + 0x140),
            (BASE + 0xf8, 22),
            (BASE + 0xfc, 33),
            (BASE + 0x130, 0),
            (BASE + 0x134, BASE + 0x1c0),
            // g's a4 to a7, below h's stack pointer
            (BASE + 0x1a0, 44),
            (BASE + 0x1ac, 77),
            // h's a4 to a11, below its caller's
            (BASE + 0x1b4, BASE + 0x240),
            (BASE + 0x210, 444),
            (BASE + 0x22c, 1111),
        ])
    }

    #[test]
    fn the_chain_is_read_from_the_save_areas() {
        let start = registers(0x400d_1000, 0x800d_2000, BASE + 0x100);
        let frames = unwind(&start, &three_deep(), |_| None);
        assert_eq!(pcs(&frames), [0x400d_1000, 0x400d_2000, 0x400d_3000]);
        let [f, g, h] = frames[..] else {
            unreachable!()
        };
        assert_eq!(
            (f.sp, g.sp, h.sp),
            (BASE + 0x100, BASE + 0x140, BASE + 0x1c0)
        );
        assert_eq!(
            (f.cfa, g.cfa, h.cfa),
            (Some(g.sp), Some(h.sp), Some(BASE + 0x240))
        );
    }

    #[test]
    fn callers_get_back_the_registers_that_their_call_kept() {
        let start = registers(0x400d_1000, 0x800d_2000, BASE + 0x100);
        let frames = unwind(&start, &three_deep(), |_| None);
        let g = frames[1].registers;
        assert_eq!((g.general(2), g.general(3)), (Some(22), Some(33)));
        assert_eq!(
            (g.general(4), g.general(7), g.general(8)),
            (Some(44), Some(77), None)
        );
        let h = frames[2].registers;
        assert_eq!(
            (h.general(4), h.general(11), h.general(12)),
            (Some(444), Some(1111), None)
        );
    }

    #[test]
    fn a_function_at_its_entry_is_called_by_the_window_that_is_on() {
        let mut start = registers(0x400d_1000, 0x800d_2000, BASE + 0x100);
        start.set("ps", Some(2 << 16));
        start.set_general(8, Some(0x800d_4000));
        let frames = unwind(&start, &three_deep(), |pc| {
            (pc == 0x400d_1000).then_some(0x36)
        });
        let expected = [0x400d_1000, 0x400d_4000, 0x400d_2000, 0x400d_3000];
        assert_eq!(pcs(&frames), expected);
        assert_eq!(frames[0].sp, frames[1].sp);
        // callers that end in `entry` of the next function are not at it
        let frames = unwind(&start, &three_deep(), |pc| {
            (pc != 0x400d_1000).then_some(0x36)
        });
        assert_eq!(frames.len(), 3);
    }

    #[test]
    fn a_call_to_nowhere_still_tells_its_caller() {
        let mut start = registers(0, 0x800d_2000, BASE + 0x100);
        start.set("ps", Some(2 << 16));
        start.set_general(8, Some(0x800d_4000));
        let frames = unwind(&start, &three_deep(), |_| None);
        assert_eq!(pcs(&frames), [0, 0x400d_4000, 0x400d_2000, 0x400d_3000]);
    }

    #[test]
    fn a_task_that_never_ran_has_one_frame() {
        let mut start = registers(0x4008_0000, 0, BASE + 0x100);
        start.set("ps", Some(1 << 16));
        start.set_general(4, Some(0));
        assert_eq!(unwind(&start, &stack(&[]), |_| Some(0x36)).len(), 1);
        assert_eq!(unwind(&start, &stack(&[]), |_| None).len(), 1);
    }

    #[test]
    fn chains_end_at_what_cannot_be_a_frame() {
        let memory =
            |return_address, sp| stack(&[(BASE + 0xf0, return_address), (BASE + 0xf4, sp)]);
        for (why, a0, sp, frames) in [
            ("sp goes down", 0x800d_2000, BASE, 1),
            ("sp stands still", 0x800d_2000, BASE + 0x100, 1),
            ("sp is not aligned", 0x800d_2000, BASE + 0x104, 1),
            ("a0 has no call size", 0x000d_2000, BASE + 0x140, 1),
            ("a0 is no code", 0xa000_0000, BASE + 0x140, 1),
            ("sp leaves the stack", 0x800d_2000, BASE + 0x4000, 2),
        ] {
            let start = registers(0x400d_1000, a0, BASE + 0x100);
            let found = unwind(&start, &memory(0x800d_3000, sp), |_| None);
            assert_eq!(found.len(), frames, "{why}");
        }
    }
}
