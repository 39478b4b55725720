//! RISC-V backtraces: by call frame information, and over code that has none.

use crate::coredump::{Memory, Registers};
use crate::device::Architecture;
use crate::reader::{half_at, word_at};

use super::cfi::{CallFrames, Caller, ReturnAddress};
use super::elf::AppElf;
use super::unwind::{FRAME_LIMIT, Frame, in_rom};

/// What a backtrace is made from.
#[derive(Clone, Copy)]
pub struct Unwinder<'r, 'a> {
    pub elf: &'r AppElf<'a>,
    pub rules: &'r CallFrames<'a>,
    pub memory: &'r Memory,
}

impl Unwinder<'_, '_> {
    /// The frames of the context with `registers`, innermost first.
    ///
    /// Where the rules end outside the application (its ROM calls back into it)
    /// the stack is searched for the caller; the frames from there on are
    /// marked as guessed.
    pub fn frames(&self, registers: &Registers) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut next = registers.pc().map(|pc| Frame::innermost(pc, *registers));
        while let Some(mut frame) = next.take() {
            let innermost = frames.is_empty();
            if let Some(caller) = self
                .rules
                .caller(self.memory, &frame.registers, frame.probe)
            {
                frame.cfa = Some(caller.cfa);
                next = match accepted(&frame, &caller, innermost) {
                    Some(pc) if self.is_executable(pc) => {
                        Some(Frame::caller(pc, caller.registers, frame.guessed))
                    }
                    // overwritten: what lies above may be whole
                    Some(_) => self.bridged(&caller.registers, false),
                    None => None,
                };
            } else if !self.elf.is_code(frame.probe) {
                next = self.bridged(&frame.registers, innermost);
            }
            frame.validated = frame.guessed && self.follows_call(frame.pc);
            frames.push(frame);
            if frames.len() >= FRAME_LIMIT {
                break;
            }
        }
        frames
    }

    fn is_executable(&self, return_address: u32) -> bool {
        let call = return_address.wrapping_sub(1);
        self.elf.is_code(call) || in_rom(call, Architecture::RiscV)
    }

    /// The nearest frame of the application above code without rules.
    fn bridged(&self, registers: &Registers, innermost: bool) -> Option<Frame> {
        let sp = registers.sp()?;
        // a function that calls nothing has left its return address in ra
        let in_register = registers.general(RA).filter(|_| innermost);
        if let Some(ra) = in_register.filter(|ra| self.follows_call(*ra)) {
            let above = (0..LEAF_FRAME_LIMIT)
                .step_by(16)
                .filter_map(|n| sp.checked_add(n));
            if let Some(frame) = self.first_sound(registers, ra, above) {
                return Some(frame);
            }
        }
        let stack = self.memory.from(sp)?;
        let words = stack
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word));
        words.take(SCAN_LIMIT).enumerate().find_map(|(i, word)| {
            if !self.follows_call(word) {
                return None;
            }
            let behind = sp.checked_add(u32::try_from(i * 4 + 4).ok()?)?;
            let first = behind.checked_next_multiple_of(16)?;
            // variadic functions keep their register arguments above ra
            let above = (first..=behind.saturating_add(VARIADIC_AREA)).step_by(16);
            self.first_sound(registers, word, above)
        })
    }

    /// The frame that returns to `ra` with the first of `stack_pointers` from
    /// which the rules lead to the task's outermost function.
    fn first_sound(
        &self,
        registers: &Registers,
        ra: u32,
        stack_pointers: impl Iterator<Item = u32>,
    ) -> Option<Frame> {
        let mut trial = Registers::new(registers.architecture());
        trial.set("pc", Some(ra));
        for kept in [GP, TP] {
            trial.set_general(kept, registers.general(kept));
        }
        for sp in stack_pointers {
            trial.set_general(SP, Some(sp));
            let frame = Frame::caller(ra, trial, true);
            if self.is_sound(frame) {
                return Some(frame);
            }
        }
        None
    }

    /// Whether every return address above `frame` follows a call, and the last
    /// one is in the function that FreeRTOS starts every task with.
    fn is_sound(&self, mut frame: Frame) -> bool {
        for _ in 0..FRAME_LIMIT {
            let Some(caller) = self
                .rules
                .caller(self.memory, &frame.registers, frame.probe)
            else {
                return false;
            };
            let Some(pc) = accepted(&frame, &caller, false) else {
                return self
                    .elf
                    .symbol_at(frame.probe)
                    .is_some_and(|symbol| symbol.name == OUTERMOST);
            };
            if !self.follows_call(pc) {
                return false;
            }
            frame = Frame::caller(pc, caller.registers, true);
        }
        false
    }

    /// Whether the instruction before `address` is a call in the application.
    fn follows_call(&self, address: u32) -> bool {
        if !self.elf.is_code(address.wrapping_sub(1)) {
            return false;
        }
        let at = |distance: u32| self.elf.constant_from(address.checked_sub(distance)?);
        let long = at(4).and_then(|code| word_at(code, 0));
        let short = at(2).and_then(|code| half_at(code, 0));
        long.is_some_and(is_long_call) || short.is_some_and(is_short_call)
    }
}

/// The return address into the caller, if the frame has a caller at all.
fn accepted(frame: &Frame, caller: &Caller, innermost: bool) -> Option<u32> {
    let sp = frame.registers.sp()?;
    let believable = match caller.return_address {
        ReturnAddress::Undefined => false,
        ReturnAddress::InRegister => innermost && caller.cfa >= sp,
        ReturnAddress::Saved => caller.cfa > sp,
    };
    caller.registers.pc().filter(|pc| believable && *pc != 0)
}

/// `jal ra, ..` or `jalr ra, ..`.
fn is_long_call(instruction: u32) -> bool {
    let to_ra = (instruction >> 7) & 0x1f == 1;
    to_ra && (instruction & 0x7f == 0x6f || instruction & 0x707f == 0x67)
}

/// `c.jalr` or `c.jal`.
fn is_short_call(instruction: u16) -> bool {
    (instruction & 0xf07f == 0x9002 && instruction != 0x9002) || instruction & 0xe003 == 0x2001
}

const RA: u16 = 1;
const SP: u16 = 2;
const GP: u16 = 3;
const TP: u16 = 4;
/// Every FreeRTOS task begins here.
const OUTERMOST: &str = "vPortTaskWrapper";
/// Words of stack searched for a return address.
const SCAN_LIMIT: usize = 2048;
/// How far above its return address a function's frame may end.
const VARIADIC_AREA: u32 = 48;
/// Largest frame tried for a function that has not saved its return address.
const LEAF_FRAME_LIMIT: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coredump::RegionKind;

    const APP: &[u8] = include_bytes!("../../tests/data/app.elf");
    const BASE: u32 = 0x3fc9_1000;

    /// The frames from `pc` with the stack pointer at [`BASE`], `ra` in its
    /// register, and `words` on the stack.
    fn frames(pc: u32, ra: u32, words: &[(u32, u32)]) -> Vec<(u32, bool)> {
        let mut stack = vec![0; 0x200];
        for (offset, word) in words {
            let at = usize::try_from(*offset).unwrap();
            stack[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        let memory = Memory::new(stack, [(BASE, RegionKind::Stack, 0..0x200)]);
        let mut registers = Registers::new(Architecture::RiscV);
        registers.set("pc", Some(pc));
        registers.set("ra", Some(ra));
        registers.set("sp", Some(BASE));
        let elf = AppElf::parse(APP).unwrap();
        let unwinder = Unwinder {
            elf: &elf,
            rules: &CallFrames::new(&elf),
            memory: &memory,
        };
        let frames = unwinder.frames(&registers);
        frames
            .iter()
            .map(|frame| (frame.pc, frame.guessed))
            .collect()
    }

    const IN_MAIN_TASK: u32 = 0x4200_00da;
    const IN_WRAPPER: u32 = 0x4200_00ec;

    #[test]
    fn a_function_that_saved_nothing_returns_by_its_register() {
        // vTaskSwitchContext has no frame of its own
        let found = frames(0x4200_00ca, 0x4200_00dc, &[(12, IN_WRAPPER)]);
        assert_eq!(
            found,
            [
                (0x4200_00ca, false),
                (0x4200_00dc, false),
                (IN_WRAPPER, false)
            ]
        );
    }

    #[test]
    fn the_outermost_function_has_no_caller() {
        // vPortTaskWrapper's return address is declared undefined
        let found = frames(0x4200_00ec, 0x4200_0100, &[(12, 0x4200_0100)]);
        assert_eq!(found, [(0x4200_00ec, false)]);
    }

    #[test]
    fn code_without_rules_is_bridged_by_searching_the_stack() {
        let chain = [(12, 0x4200_0038), (28, IN_MAIN_TASK), (44, IN_WRAPPER)];
        let rom = (0x4004_8010, false);
        let above = [
            (0x4200_0038, true),
            (IN_MAIN_TASK, true),
            (IN_WRAPPER, true),
        ];
        let expected = [&[rom], &above[..]].concat();
        assert_eq!(frames(0x4004_8010, 0, &chain), expected);
        // a variadic function keeps eight registers above its return address
        let variadic = chain.map(|(at, word)| (if at == 12 { 12 } else { at + 32 }, word));
        assert_eq!(frames(0x4004_8010, 0, &variadic), expected);
        // a pointer to a function is no return address
        let decoy = [&[(4, 0x4200_0074)], &chain[..]].concat();
        assert_eq!(frames(0x4004_8010, 0, &decoy), expected);
        // the ROM's function has not saved its return address yet
        let leaf = [(12, IN_MAIN_TASK), (28, IN_WRAPPER)];
        assert_eq!(frames(0x4004_8010, 0x4200_0038, &leaf), expected);
    }

    #[test]
    fn a_guess_that_does_not_reach_the_task_s_beginning_is_none() {
        let found = frames(0x4004_8010, 0, &[(12, 0x4200_0038), (28, IN_MAIN_TASK)]);
        assert_eq!(found, [(0x4004_8010, false)]);
    }

    #[test]
    fn an_overwritten_return_address_is_searched_over() {
        // in app_main, called by main_task
        let found = frames(0x4200_003c, 0, &[(12, 0xa5a5_a5a5), (28, IN_WRAPPER)]);
        assert_eq!(found, [(0x4200_003c, false), (IN_WRAPPER, true)]);
    }

    #[test]
    fn calls_are_told_from_other_instructions() {
        for (call, instruction) in [
            (true, 0x0000_80e7),  // jalr ra, 0(ra)
            (true, 0x0000_00ef),  // jal ra, 0
            (false, 0x0000_006f), // j
            (false, 0x0000_8067), // ret
        ] {
            assert_eq!(is_long_call(instruction), call, "{instruction:#x}");
        }
        for (call, instruction) in [
            (true, 0x9782),
            (true, 0x37a1),
            (false, 0x9002),
            (false, 0x8082),
        ] {
            assert_eq!(is_short_call(instruction), call, "{instruction:#x}");
        }
    }
}
