//! The application as a debugger has it: ELF, symbols and unwinding rules together.

use crate::coredump::{Dump, Registers, xtensa};
use crate::device::Architecture;
use crate::signature::root_in;

use super::cfi::CallFrames;
use super::elf::AppElf;
use super::riscv::Unwinder;
use super::symbols::{Place, Symbols};
use super::unwind::{FRAME_LIMIT, Frame};

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

    /// The SDK's folder, going by where its panic handler is.
    pub fn sdk_root(&self) -> Option<String> {
        let panic = self.elf.symbol("panic_abort")?;
        let places = self.places(panic.address);
        root_in(places.last()?.file.as_deref()?)
    }

    /// The source places of the instruction at `probe`.
    pub fn places(&self, probe: u32) -> Vec<Place> {
        self.symbols
            .as_ref()
            .map(|symbols| symbols.places(probe))
            .unwrap_or_default()
    }
}

/// The frames of the context with `registers`, innermost first, with the help
/// of the application if there is one.
pub(super) fn frames(
    application: Option<&Application<'_, '_>>,
    dump: &Dump,
    registers: &Registers,
) -> Vec<Frame> {
    match (registers.architecture(), application) {
        (architecture, _) if is_printed(dump, architecture, application.is_some()) => {
            printed(architecture, &dump.printed_backtrace, registers)
        }
        (Architecture::Xtensa, _) => windows(application, dump, registers),
        (Architecture::RiscV, Some(application)) => Unwinder {
            elf: application.elf,
            rules: &application.rules,
            memory: &dump.memory,
        }
        .frames(registers),
        (Architecture::RiscV, None) => without_rules(registers),
    }
}

/// Whether the chain that the device printed is the best one: with RISC-V's
/// stack and the application's rules there is a better.
fn is_printed(dump: &Dump, architecture: Architecture, has_rules: bool) -> bool {
    let unwinds =
        architecture == Architecture::RiscV && has_rules && !dump.memory.regions().is_empty();
    !dump.printed_backtrace.is_empty() && !unwinds
}

fn windows(
    application: Option<&Application<'_, '_>>,
    dump: &Dump,
    registers: &Registers,
) -> Vec<Frame> {
    let code = |address| {
        let elf = application?.elf;
        elf.constant_from(address)
            .filter(|_| elf.is_code(address))?
            .first()
            .copied()
    };
    let chain = xtensa::unwind(registers, &dump.memory, code);
    chain
        .into_iter()
        .enumerate()
        .map(|(index, frame)| Frame {
            cfa: frame.cfa,
            ..match index {
                0 => Frame::innermost(frame.pc, frame.registers),
                _ => Frame::caller(frame.pc, frame.registers, false),
            }
        })
        .collect()
}

/// The chain that a device printed. On Xtensa: addresses inside the call
/// instructions, which are three bytes long; on RISC-V return addresses.
fn printed(
    architecture: Architecture,
    backtrace: &[(u32, Option<u32>)],
    registers: &Registers,
) -> Vec<Frame> {
    let call = match architecture {
        Architecture::Xtensa => CALL_SIZE,
        Architecture::RiscV => 0,
    };
    let stack_pointer = match architecture {
        Architecture::Xtensa => 1,
        Architecture::RiscV => 2,
    };
    let exact = registers.pc();
    backtrace
        .iter()
        .take(FRAME_LIMIT)
        .enumerate()
        .map(|(index, (address, sp))| {
            let mut known = Registers::new(architecture);
            known.set_general(stack_pointer, *sp);
            // a jump to nothing is printed as the call before it
            let returns_to = address.checked_add(call).unwrap_or(*address);
            match exact.filter(|pc| *pc == returns_to || pc == address) {
                Some(pc) if index == 0 => Frame::innermost(pc, *registers),
                _ if index == 0 => Frame::innermost(*address, known),
                _ if call == 0 => Frame::caller(returns_to, known, false),
                _ => Frame {
                    probe: *address,
                    ..Frame::caller(returns_to, known, false)
                },
            }
        })
        .collect()
}

/// RISC-V without an application: where it was, and where that may return to.
fn without_rules(registers: &Registers) -> Vec<Frame> {
    let Some(pc) = registers.pc() else {
        return Vec::new();
    };
    let mut frames = vec![Frame::innermost(pc, *registers)];
    if let Some(ra) = registers.general(1).filter(|ra| *ra != 0) {
        let unknown = Registers::new(Architecture::RiscV);
        frames.push(Frame::caller(ra, unknown, true));
    }
    frames
}

/// Bytes of Xtensa's `call` and `callx`.
const CALL_SIZE: u32 = 3;
