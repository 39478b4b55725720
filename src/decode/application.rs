//! The application as a debugger has it: ELF, symbols and unwinding rules together.

use crate::coredump::{Dump, Memory, Registers};
use crate::device::Architecture;

use super::cfi::CallFrames;
use super::elf::AppElf;
use super::riscv::Unwinder;
use super::symbols::{Place, Symbols};
use super::unwind::Frame;
use super::windows;

/// An application that fits a dump.
pub struct Application<'e, 'a> {
    pub elf: &'e AppElf<'a>,
    /// Absent if the ELF has no sound debug information.
    pub symbols: Option<Symbols<'a>>,
    pub rules: CallFrames<'a>,
}

impl<'e, 'a> Application<'e, 'a> {
    /// Prepares `elf` for looking things up.
    pub fn new(elf: &'e AppElf<'a>) -> Self {
        let has_debug_info = !elf.section(".debug_info").is_empty();
        Self {
            elf,
            symbols: has_debug_info.then(|| Symbols::new(elf).ok()).flatten(),
            rules: CallFrames::new(elf),
        }
    }

    /// What the ELF lacks, in words.
    pub fn problem(&self) -> Option<String> {
        let text = match &self.symbols {
            Some(_) => return None,
            None if self.elf.section(".debug_info").is_empty() => {
                "the ELF has no debug information: functions by symbol only, no lines"
            }
            None => "the ELF's debug information is damaged: functions by symbol only, no lines",
        };
        Some(text.to_owned())
    }

    /// The source places of the instruction at `probe`.
    pub fn places(&self, probe: u32) -> Vec<Place> {
        self.symbols
            .as_ref()
            .map(|symbols| symbols.places(probe))
            .unwrap_or_default()
    }

    fn frames(&self, memory: &Memory, registers: &Registers) -> Vec<Frame> {
        match registers.architecture() {
            Architecture::Xtensa => windows::frames(Some(self.elf), memory, registers),
            Architecture::RiscV => Unwinder {
                elf: self.elf,
                rules: &self.rules,
                memory,
            }
            .frames(registers),
        }
    }
}

/// The frames of the context with `registers`, with the help of the
/// application if there is one.
pub(super) fn frames(
    application: Option<&Application<'_, '_>>,
    dump: &Dump,
    registers: &Registers,
) -> Vec<Frame> {
    match application {
        Some(application) => application.frames(&dump.memory, registers),
        None if dump.architecture == Architecture::Xtensa => {
            windows::frames(None, &dump.memory, registers)
        }
        None => without_rules(registers),
    }
}

/// RISC-V without an ELF: where it was, and where that returns to.
fn without_rules(registers: &Registers) -> Vec<Frame> {
    let Some(pc) = registers.pc() else {
        return Vec::new();
    };
    let mut frames = vec![Frame::innermost(pc, *registers)];
    if let Some(ra) = registers.general(1).filter(|ra| *ra != 0) {
        frames.push(Frame::caller(ra, Registers::new(Architecture::RiscV), true));
    }
    frames
}
