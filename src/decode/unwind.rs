//! The frames of a task, whatever the architecture.

use crate::coredump::Registers;
use crate::device::Architecture;

/// One physical frame: a function that was called, not an inlined one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame {
    /// The program counter of the innermost frame, the return address of the
    /// others.
    pub pc: u32,
    /// An address inside the instruction that the frame is at: what symbols and
    /// rules are looked up with.
    pub probe: u32,
    /// What is known of the registers in this frame.
    pub registers: Registers,
    /// The canonical frame address, if known.
    pub cfa: Option<u32>,
    /// Found by searching the stack, or above such a frame.
    pub guessed: bool,
    /// Guessed, and a call stands before the return address.
    pub validated: bool,
    /// Of the task that an interrupt handler broke into.
    pub interrupted: bool,
}

impl Frame {
    /// The frame that a context was stopped in.
    pub fn innermost(pc: u32, registers: Registers) -> Self {
        Self {
            pc,
            probe: pc,
            registers,
            cfa: None,
            guessed: false,
            validated: false,
            interrupted: false,
        }
    }

    /// A frame that waits for a call to return to `pc`.
    pub fn caller(pc: u32, registers: Registers, guessed: bool) -> Self {
        Self {
            // a call that never returns may be its function's last instruction
            probe: pc.wrapping_sub(1),
            guessed,
            ..Self::innermost(pc, registers)
        }
    }
}

/// Whether there is mask ROM at `address`, going by the largest ROM of each family.
pub(super) fn in_rom(address: u32, architecture: Architecture) -> bool {
    match architecture {
        Architecture::Xtensa => (0x4000_0000..0x4007_0000).contains(&address),
        Architecture::RiscV => {
            (0x4000_0000..0x400a_0000).contains(&address)
                || (0x4fc0_0000..0x4fc2_0000).contains(&address)
        }
    }
}

/// No backtrace is longer.
pub const FRAME_LIMIT: usize = 100;
