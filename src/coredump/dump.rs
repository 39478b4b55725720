//! What a coredump says, whatever it was written by and however it travelled.

use crate::device::{Architecture, Chip};

use super::memory::Memory;
use super::registers::Registers;

/// The contents of one dump. Everything that the dump does not tell is `None`
/// or empty; a damaged dump gives what is whole of it, and `problems`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dump {
    pub chip: Option<Chip>,
    /// ESP-IDF's firmware chip id, also of a chip that is not known.
    pub chip_id: Option<u16>,
    pub architecture: Architecture,
    /// Major times 100 plus minor: 300 is v3.0.
    pub chip_revision: Option<u32>,
    /// Major and minor of the image's version word.
    pub header_version: Option<(u8, u8)>,
    /// Present if the image had its header and at least one byte of checksum.
    pub checksum: Option<Checksum>,
    /// The crashed task comes first, if the dump has it.
    pub tasks: Vec<Task>,
    /// What the interrupt broke into, if the crash was in an interrupt handler.
    pub interrupted: Option<Interrupted>,
    pub memory: Memory,
    /// All panic texts, joined by newlines.
    pub panic_reason: Option<String>,
    /// The panic text is from the console, not from the dump.
    pub reason_printed: bool,
    /// The first digits of the application's ELF hash, lower-case hex.
    pub app_elf_sha256: Option<String>,
    /// The zeros that stand where a build has no hash.
    pub null_hash: Option<String>,
    /// What the board said of its application at the boot before; only of
    /// what was found in a log.
    pub project: Option<String>,
    pub version: Option<String>,
    /// The core that crashed, if the panic names it.
    pub core: Option<u32>,
    /// The fingerprint that an earlier release gave to the same text.
    pub former_fingerprint: Option<String>,
    pub extra: Option<ExtraInfo>,
    pub exception: Option<Exception>,
    /// Program counters, with stack pointers if they were printed, that the
    /// device itself printed on its console; only of panic texts. On Xtensa all
    /// addresses, also the first, are stepped back by 3 into the instruction
    /// that was running.
    pub printed_backtrace: Vec<(u32, Option<u32>)>,
    /// What could not be read, one sentence each.
    pub problems: Vec<String>,
}

impl Dump {
    /// A dump of which nothing but the instruction set is known.
    pub fn empty(architecture: Architecture) -> Self {
        Self {
            chip: None,
            chip_id: None,
            architecture,
            chip_revision: None,
            header_version: None,
            checksum: None,
            tasks: Vec::new(),
            interrupted: None,
            memory: Memory::default(),
            panic_reason: None,
            reason_printed: false,
            app_elf_sha256: None,
            null_hash: None,
            project: None,
            version: None,
            core: None,
            former_fingerprint: None,
            extra: None,
            exception: None,
            printed_backtrace: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Adds a sentence to the problems, if it is new and there is room.
    pub(super) fn problem(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if self.problems.len() < MOST_PROBLEMS && !self.problems.contains(&sentence) {
            self.problems.push(sentence);
        }
    }

    /// Adds what the panic that was printed before it knows beside.
    pub(super) fn complete(&mut self, panic: Self) {
        let other_build = match (&self.app_elf_sha256, &panic.app_elf_sha256) {
            (Some(one), Some(other)) => !one.starts_with(other) && !other.starts_with(one),
            _ => false,
        };
        if other_build {
            return;
        }
        if self.panic_reason.is_none() {
            self.reason_printed = panic.panic_reason.is_some();
            self.panic_reason = panic.panic_reason;
        }
        self.app_elf_sha256 = self.app_elf_sha256.take().or(panic.app_elf_sha256);
        self.project = self.project.take().or(panic.project);
        self.version = self.version.take().or(panic.version);
        self.core = self.core.or(panic.core);
        self.extra = self.extra.or(panic.extra);
        let named = panic.tasks.into_iter().find_map(|task| task.name_hint);
        if let Some(task) = self.tasks.iter_mut().find(|task| task.crashed) {
            task.name_hint = task.name_hint.take().or(named);
        }
    }

    /// The task that crashed.
    pub fn crashed_task(&self) -> Option<&Task> {
        self.tasks.iter().find(|task| task.crashed)
    }
}

/// Damage repeats; the first few sentences tell it.
pub(super) const MOST_PROBLEMS: usize = 16;

/// One FreeRTOS task.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Task {
    /// Address of its task control block.
    pub tcb: u32,
    pub crashed: bool,
    pub registers: Registers,
    /// The dumped part of its stack, from the saved frame (lowest address) to
    /// the first address behind the stack. `None` if the dump does not keep
    /// stacks apart from other memory.
    pub stack: Option<(u32, u32)>,
    /// The device found the stack corrupted and dumped a stand-in: the
    /// registers mean nothing and there is no backtrace.
    pub fake_stack: bool,
    /// The name at FreeRTOS's usual place in the TCB; the application's debug
    /// information knows better.
    pub name_hint: Option<String>,
    /// The task gave the CPU away by itself (Xtensa): only pc, ps and a0 to a3
    /// were saved.
    pub solicited: bool,
}

/// A task in the middle of which an interrupt handler crashed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Interrupted {
    pub registers: Registers,
    pub stack: (u32, u32),
}

/// ESP-IDF's `ESP_EXTRA_INFO` note.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExtraInfo {
    /// `None` if the crashed task was unusable and left out.
    pub crashed_tcb: Option<u32>,
    /// Whether the crash was in an interrupt handler; `None` before IDF 5.2.
    pub isr_context: Option<bool>,
}

/// The exception that ended the application.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exception {
    /// Xtensa EXCCAUSE (64 and above: ESP-IDF's pseudo causes) or RISC-V mcause.
    pub cause: Option<u32>,
    /// Xtensa EXCVADDR or RISC-V mtval.
    pub address: Option<u32>,
    /// All exception registers by name, such as `exccause`, `epc1`, `mtval`.
    pub registers: Vec<(String, u32)>,
}

/// How an image guards itself against damage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChecksumKind {
    Crc32,
    Sha256,
}

impl ChecksumKind {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Sha256 => "sha256",
        }
    }

    /// Bytes at the image's end.
    pub fn size(self) -> usize {
        match self {
            Self::Crc32 => 4,
            Self::Sha256 => 32,
        }
    }
}

/// An image's checksum and whether it fits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checksum {
    pub kind: ChecksumKind,
    pub ok: bool,
}
