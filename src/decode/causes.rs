//! Exception causes in words.
//!
//! Xtensa: EXCCAUSE of the instruction set's manual, and ESP-IDF's pseudo causes
//! from 64 on (`xtensa_context.h`, `panic_arch.c`). RISC-V: mcause of the
//! privileged specification, and the interrupt numbers that ESP-IDF keeps for
//! its watchdog and memory faults (`soc.h`).

use crate::device::Architecture;

/// A cause's name and what it means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cause {
    /// As the table has it; `None` for causes that only words tell.
    pub number: Option<u32>,
    pub name: &'static str,
    pub explanation: &'static str,
}

/// What the exception cause `number` means on `architecture`.
pub fn cause(architecture: Architecture, number: u32) -> Option<Cause> {
    let table = match architecture {
        Architecture::Xtensa => XTENSA,
        Architecture::RiscV => RISC_V,
    };
    // an interrupt has the highest bit of mcause set
    let number = match architecture {
        Architecture::Xtensa => number,
        Architecture::RiscV => number & 0x7fff_ffff,
    };
    table
        .iter()
        .find(|(known, ..)| *known == number)
        .map(of_row)
}

fn of_row((number, name, explanation): &Row) -> Cause {
    Cause {
        number: Some(*number),
        name,
        explanation,
    }
}

/// What the panic's own words name as the cause: where ESP-IDF ends an
/// application by itself, the CPU's register holds a number that means nothing
/// (`panic_arch.c` has them as pseudo reasons 0 to 7); and where no number was
/// printed, the words are all there is.
pub fn told(architecture: Architecture, reason: &str, number: Option<u32>) -> Option<Cause> {
    let own = PSEUDO.iter().find(|(words, ..)| reason.contains(words));
    if let Some((_, name, explanation)) = own {
        return Some(Cause {
            number: None,
            name,
            explanation,
        });
    }
    if number.is_some() {
        return None;
    }
    let name = plain(named(reason)?);
    let table = match architecture {
        Architecture::Xtensa => XTENSA,
        Architecture::RiscV => RISC_V,
    };
    table
        .iter()
        .find(|(_, known, _)| plain(known) == name)
        .map(of_row)
}

/// The exception that a headline names.
fn named(reason: &str) -> Option<&str> {
    let between = |before: &str, after: &str| {
        let (_, rest) = reason.split_once(before)?;
        Some(rest.split_once(after)?.0)
    };
    between("panic'ed (", ")")
        .or_else(|| between("Error of type ", " occurred"))
        .or_else(|| between("Exception '", "'"))
        .or_else(|| between("Cpu '", "'"))
        .or_else(|| between("Exception occured '", "'"))
        .or_else(|| reason.lines().next()?.strip_prefix("Fault - "))
}

fn plain(words: &str) -> String {
    let letters = words.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether the cause is a write to where nothing may be written.
pub fn is_store(architecture: Architecture, number: u32) -> bool {
    match architecture {
        Architecture::Xtensa => number == 29,
        Architecture::RiscV => number == 7,
    }
}

/// Whether a panic's text says that the application gave up by itself.
pub fn is_abort(reason: &str) -> bool {
    reason.contains("abort() was called") || reason.contains("assert failed")
}

/// What a store to address 0 means after such a text.
pub const DELIBERATE: &str = "the write to address 0 by which ESP-IDF's abort() stops the CPU";

type Row = (u32, &'static str, &'static str);

/// Words of a panic, the cause's name, what it means.
#[rustfmt::skip]
const PSEUDO: &[(&str, &str, &str)] = &[
    ("(Unhandled debug exception", "DebugException", "a debug exception without a debugger: a watchpoint, such as a stack's end"),
    ("(Double exception", "DoubleException", "an exception inside an exception's handler"),
    ("(Unhandled kernel exception", "KernelException", "an exception in kernel mode"),
    ("(Coprocessor exception", "CoprocessorException", "coprocessor used where it is not allowed, such as an interrupt handler"),
    ("Interrupt wdt timeout on CPU0", "InterruptWatchdogCpu0", "interrupts or the scheduler were held up for too long on CPU 0"),
    ("Interrupt wdt timeout on CPU1", "InterruptWatchdogCpu1", "interrupts or the scheduler were held up for too long on CPU 1"),
    ("Cache disabled but cached memory region accessed", "CacheDisabled", "flash or external memory was accessed while its cache was off"),
    ("(Cache error", "CacheError", "flash or external memory was accessed while its cache was off, or by an address that is not mapped"),
    ("(Memory protection fault", "MemoryProtection", "an access that the memory protection forbids"),
    ("(Stack protection fault", "StackProtection", "the stack pointer left the task's stack"),
];

#[rustfmt::skip]
const XTENSA: &[Row] = &[
    (0, "IllegalInstruction", "unknown instruction"),
    (1, "Syscall", "a system call instruction, which nothing handles"),
    (2, "InstructionFetchError", "instruction fetch from an address without code"),
    (3, "LoadStoreError", "access type or size not supported at this address"),
    (4, "Level1Interrupt", "a level 1 interrupt, which nothing handles"),
    (5, "Alloca", "a stack adjustment that the kernel should have handled"),
    (6, "IntegerDivideByZero", "an integer was divided by zero"),
    (7, "PCValue", "program counter set to an invalid value"),
    (8, "Privileged", "an instruction that needs more privilege"),
    (9, "LoadStoreAlignment", "a load or store at an unaligned address"),
    (12, "InstrPDAddrError", "an instruction fetch met a memory bus error"),
    (13, "LoadStorePIFDataError", "a load or store met a memory bus error"),
    (14, "InstrPIFAddrError", "an instruction fetch met an address error on the bus"),
    (15, "LoadStorePIFAddrError", "a load or store met an address error on the bus"),
    (16, "InstTLBMiss", "an instruction fetch found no address translation"),
    (17, "InstTLBMultiHit", "an instruction fetch found several address translations"),
    (18, "InstFetchPrivilege", "code was fetched from memory that needs more privilege"),
    (20, "InstrFetchProhibited", "jump to an address without code, such as a null function pointer"),
    (24, "LoadStoreTLBMiss", "a load or store found no address translation"),
    (25, "LoadStoreTLBMultihit", "a load or store found several address translations"),
    (26, "LoadStorePrivilege", "a load or store needs more privilege"),
    (28, "LoadProhibited", "read from an invalid address, such as a null pointer"),
    (29, "StoreProhibited", "write to an invalid address, such as a null pointer"),
    (32, "Cp0Dis", "coprocessor 0 is disabled"),
    (33, "Cp1Dis", "coprocessor 1 is disabled"),
    (34, "Cp2Dis", "coprocessor 2 is disabled"),
    (35, "Cp3Dis", "coprocessor 3 is disabled"),
    (36, "Cp4Dis", "coprocessor 4 is disabled"),
    (37, "Cp5Dis", "coprocessor 5 is disabled"),
    (38, "Cp6Dis", "coprocessor 6 is disabled"),
    (39, "Cp7Dis", "coprocessor 7 is disabled"),
    (64, "UnknownPanic", "panic of a kind unknown to ESP-IDF"),
    (65, "DebugException", "a debug exception without a debugger"),
    (66, "DoubleException", "an exception inside an exception's handler"),
    (67, "KernelException", "an exception in kernel mode"),
    (68, "CoprocessorException", "coprocessor used where it is not allowed, such as an interrupt handler"),
    (69, "InterruptWatchdogCpu0", "interrupts or the scheduler were held up for too long on CPU 0"),
    (70, "InterruptWatchdogCpu1", "interrupts or the scheduler were held up for too long on CPU 1"),
    (71, "CacheDisabled", "flash or external memory was accessed while its cache was off"),
    (0xffff, "Invalid", "the task's saved context was damaged"),
];

#[rustfmt::skip]
const RISC_V: &[Row] = &[
    (0, "InstructionAddressMisaligned", "a jump to an unaligned address"),
    (1, "InstructionAccessFault", "jump to an address without code, such as a null function pointer"),
    (2, "IllegalInstruction", "unknown instruction"),
    (3, "Breakpoint", "a breakpoint instruction without a debugger"),
    (4, "LoadAddressMisaligned", "a read at an unaligned address"),
    (5, "LoadAccessFault", "read from an invalid address, such as a null pointer"),
    (6, "StoreAddressMisaligned", "a write at an unaligned address"),
    (7, "StoreAccessFault", "write to an invalid address, such as a null pointer"),
    (8, "EnvironmentCallFromUMode", "a system call from user mode, which nothing handles"),
    (9, "EnvironmentCallFromSMode", "a system call from supervisor mode, which nothing handles"),
    (11, "EnvironmentCallFromMMode", "a system call from machine mode, which nothing handles"),
    (12, "InstructionPageFault", "an instruction fetch found no address translation"),
    (13, "LoadPageFault", "a read found no address translation"),
    (15, "StorePageFault", "a write found no address translation"),
    (24, "InterruptWatchdog", "interrupts or the scheduler were held up for too long"),
    (25, "CacheError", "flash or external memory was accessed while its cache was off"),
    (26, "MemoryProtection", "an access that the memory protection forbids"),
    (27, "AssistDebug", "a stack overflow or a watched access, seen by the debug assist"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_the_cause_where_the_number_does_not() {
        use Architecture::{RiscV, Xtensa};
        let name = |architecture, words: &str, number| {
            told(architecture, words, number).map(|cause| (cause.name, cause.number))
        };
        let watchdog = "Guru Meditation Error: Core  1 panic'ed (Interrupt wdt timeout on CPU1). ";
        assert_eq!(
            name(Xtensa, watchdog, Some(6)),
            Some(("InterruptWatchdogCpu1", None))
        );
        let cpu = "Guru Meditation Error: Core  1 panic'ed (LoadProhibited). ";
        assert_eq!(name(Xtensa, cpu, Some(28)), None);
        for (architecture, words, expected) in [
            (Xtensa, cpu, ("LoadProhibited", Some(28))),
            (
                Xtensa,
                "Guru Meditation Error of type StoreProhibited occurred on core 0",
                ("StoreProhibited", Some(29)),
            ),
            (
                Xtensa,
                "Fault - IllegalInstruction",
                ("IllegalInstruction", Some(0)),
            ),
            (
                RiscV,
                "Exception 'Load access fault' mepc=0x42001234, mtval=0x0",
                ("LoadAccessFault", Some(5)),
            ),
        ] {
            assert_eq!(name(architecture, words, None), Some(expected), "{words}");
        }
        assert_eq!(name(Xtensa, "abort() was called at PC 0x1", None), None);
    }

    #[test]
    fn causes_have_the_names_of_their_manuals() {
        let name = |architecture, number| cause(architecture, number).map(|cause| cause.name);
        assert_eq!(name(Architecture::Xtensa, 29), Some("StoreProhibited"));
        assert_eq!(
            name(Architecture::Xtensa, 70),
            Some("InterruptWatchdogCpu1")
        );
        assert_eq!(name(Architecture::Xtensa, 10), None, "reserved");
        assert_eq!(name(Architecture::RiscV, 7), Some("StoreAccessFault"));
        assert_eq!(
            name(Architecture::RiscV, 0x8000_0018),
            Some("InterruptWatchdog")
        );
    }
}
