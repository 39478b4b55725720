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
    let (_, name, explanation) = table.iter().find(|(known, ..)| *known == number)?;
    Some(Cause { name, explanation })
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

#[rustfmt::skip]
const XTENSA: &[Row] = &[
    (0, "IllegalInstruction", "the CPU met an instruction that it does not know"),
    (1, "Syscall", "a system call instruction, which nothing handles"),
    (2, "InstructionFetchError", "code was fetched from memory that has none"),
    (3, "LoadStoreError", "an access of this kind or size is not possible there"),
    (4, "Level1Interrupt", "a level 1 interrupt, which nothing handles"),
    (5, "Alloca", "a stack adjustment that the kernel should have handled"),
    (6, "IntegerDivideByZero", "an integer was divided by zero"),
    (7, "PCValue", "the program counter was set to an impossible value"),
    (8, "Privileged", "an instruction that needs more privilege"),
    (9, "LoadStoreAlignment", "a load or store at an unaligned address"),
    (12, "InstrPDAddrError", "an instruction fetch met a memory bus error"),
    (13, "LoadStorePIFDataError", "a load or store met a memory bus error"),
    (14, "InstrPIFAddrError", "an instruction fetch met an address error on the bus"),
    (15, "LoadStorePIFAddrError", "a load or store met an address error on the bus"),
    (16, "InstTLBMiss", "an instruction fetch found no address translation"),
    (17, "InstTLBMultiHit", "an instruction fetch found several address translations"),
    (18, "InstFetchPrivilege", "code was fetched from memory that needs more privilege"),
    (20, "InstrFetchProhibited", "a jump to an address that has no code, such as a null function pointer"),
    (24, "LoadStoreTLBMiss", "a load or store found no address translation"),
    (25, "LoadStoreTLBMultihit", "a load or store found several address translations"),
    (26, "LoadStorePrivilege", "a load or store needs more privilege"),
    (28, "LoadProhibited", "a read from an address where nothing may be read, such as a null pointer"),
    (29, "StoreProhibited", "a write to an address where nothing may be written, such as a null pointer"),
    (32, "Cp0Dis", "coprocessor 0 is disabled"),
    (33, "Cp1Dis", "coprocessor 1 is disabled"),
    (34, "Cp2Dis", "coprocessor 2 is disabled"),
    (35, "Cp3Dis", "coprocessor 3 is disabled"),
    (36, "Cp4Dis", "coprocessor 4 is disabled"),
    (37, "Cp5Dis", "coprocessor 5 is disabled"),
    (38, "Cp6Dis", "coprocessor 6 is disabled"),
    (39, "Cp7Dis", "coprocessor 7 is disabled"),
    (64, "UnknownPanic", "a panic of a kind that ESP-IDF does not know"),
    (65, "DebugException", "a debug exception without a debugger"),
    (66, "DoubleException", "an exception inside an exception's handler"),
    (67, "KernelException", "an exception in kernel mode"),
    (68, "CoprocessorException", "a coprocessor was used where it may not be, as in an interrupt handler"),
    (69, "InterruptWatchdogCpu0", "interrupts or the scheduler were held up for too long on CPU 0"),
    (70, "InterruptWatchdogCpu1", "interrupts or the scheduler were held up for too long on CPU 1"),
    (71, "CacheDisabled", "flash or external memory was accessed while its cache was off"),
    (0xffff, "Invalid", "the task's saved context was damaged"),
];

#[rustfmt::skip]
const RISC_V: &[Row] = &[
    (0, "InstructionAddressMisaligned", "a jump to an unaligned address"),
    (1, "InstructionAccessFault", "a jump to an address that has no code, such as a null function pointer"),
    (2, "IllegalInstruction", "the CPU met an instruction that it does not know"),
    (3, "Breakpoint", "a breakpoint instruction without a debugger"),
    (4, "LoadAddressMisaligned", "a read at an unaligned address"),
    (5, "LoadAccessFault", "a read from an address where nothing may be read, such as a null pointer"),
    (6, "StoreAddressMisaligned", "a write at an unaligned address"),
    (7, "StoreAccessFault", "a write to an address where nothing may be written, such as a null pointer"),
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
