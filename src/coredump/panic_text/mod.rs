//! A panic without a dump: its printed text, as one task with what was printed
//! of it.
//!
//! The console's reader has cut it out of the log by then, one text for each
//! crash, without the prefixes of terminals and the lines of others
//! ([`crate::console`]). Here its lines become reason, registers, frames and
//! stack, whatever system printed them (`systems` for those that are not ESP-IDF).

mod fields;
mod first_release;
mod joined;
mod systems;

use crate::console::dialect::{self, Role};
use crate::console::{self, Boot, Event};
use crate::device::{Architecture, Chip};

use super::dump::{Dump, Exception, ExtraInfo, Task};
use super::memory::{Memory, RegionKind};
use super::registers::Registers;
use super::xtensa::MOST_FRAMES;
use fields::Frames;
pub(super) use fields::is_no_hash;
use joined::{CONTINUES, CORRUPTED, joined};

/// The last panic in console text, as a dump with one task, or `None` if no
/// panic was printed.
///
/// Registers that the device did not print are unknown; of many
/// [`Dump::printed_backtrace`] then tells where it crashed. The task's TCB
/// address is 0, since a panic does not print it.
pub fn parse(text: &[u8]) -> Option<Dump> {
    let mut recording = console::Recording::default();
    let mut events = recording.feed(text);
    events.extend(recording.finish());
    let last = events.into_iter().rev().find_map(|event| match event {
        Event::Panic(panic) => Some(panic),
        _ => None,
    });
    last.map(|panic| read(&panic.text, &panic.boot))
}

/// One panic, and what the board said of itself at the boot before it.
pub(super) fn read(text: &str, boot: &Boot) -> Dump {
    let mut panic = Panic {
        chip: boot.chip,
        ..Panic::default()
    };
    for line in joined(text) {
        panic.line(&line);
    }
    let mut dump = panic.into_dump();
    if dump.null_hash.is_none() {
        let said = || boot.app_elf_sha256.clone();
        dump.app_elf_sha256 = dump.app_elf_sha256.take().or_else(said);
    }
    dump.project.clone_from(&boot.project);
    dump.version.clone_from(&boot.version);
    dump.former_fingerprint = first_release::fingerprint(text);
    dump
}

/// What the lines so far told.
#[derive(Default)]
struct Panic {
    reasons: Vec<(Role, String)>,
    chip: Option<Chip>,
    hash: Option<String>,
    core: Option<u32>,
    in_isr: Option<bool>,
    task: Option<String>,
    section: Section,
    /// Names as printed, in upper case.
    registers: Vec<(String, u32)>,
    dumps_of_registers: usize,
    /// Another panic came while this one was being printed.
    nested: bool,
    /// Frames follow without a title.
    untitled: bool,
    /// The watchdog's warning was followed by its own panic.
    aborting: bool,
    /// Registers and frames so far were printed on request, for a warning.
    asked: bool,
    /// The next line is what a Rust panic has to say.
    message_follows: bool,
    stack: Vec<u8>,
    stack_start: u32,
    backtrace: Vec<(u32, Option<u32>)>,
    /// Whose backtrace NuttX prints.
    thread: Option<String>,
    problems: Vec<String>,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Section {
    #[default]
    Reason,
    Registers,
    Stack,
    /// Addresses on lines of their own.
    Frames,
}

impl Panic {
    fn line(&mut self, line: &str) {
        if let Some(hash) = fields::hash(line) {
            self.hash = self.hash.take().or(Some(hash));
            return;
        }
        if std::mem::take(&mut self.message_follows) && !line.trim().is_empty() {
            return self.reason(Role::Detail, line.trim());
        }
        if let Some((role, words)) = dialect::says(line) {
            return self.says(role, words);
        }
        if self.nested {
            return;
        }
        if dialect::asks(line) {
            let panics = self.reasons.iter().any(|(role, _)| *role == Role::Panic);
            self.asked |= !panics && !self.aborting;
            return;
        }
        if let Some(core) = fields::register_heading(line) {
            self.dumps_of_registers += 1;
            self.core = self.core.or(core.filter(|_| self.dumps_of_registers == 1));
            self.section = Section::Registers;
        } else if line.contains("was running in ISR context") {
            self.in_isr = self
                .in_isr
                .or((self.dumps_of_registers < 2).then_some(true));
        } else if let Some(task) = fields::task(line) {
            self.task = self.task.take().or(Some(task));
        } else if line.starts_with("Stack memory:") {
            self.section = Section::Stack;
        } else if let Some(frames) = line.strip_prefix("Backtrace:") {
            self.backtrace(frames);
        } else if !self.system(line) {
            self.body(line);
        }
    }

    /// A line that says what happened.
    fn says(&mut self, role: Role, words: &str) {
        if role == Role::Panic && words != "Aborting." && std::mem::take(&mut self.asked) {
            self.forget_body();
        }
        let printed = self.dumps_of_registers > 0 || !self.backtrace.is_empty();
        let again = self.reasons.iter().any(|(role, _)| *role == Role::Panic);
        let headline = role == Role::Panic && words.starts_with("Guru Meditation");
        self.nested |= headline && printed && again;
        if words == "Aborting." {
            self.aborting = true;
            return;
        }
        if role == Role::Report {
            return;
        }
        self.message_follows = words.contains("panicked at ") && words.ends_with(':')
            || words.starts_with("!! A panic occur");
        let is_frame =
            words.starts_with("====") || words.starts_with("#CD:") || words.starts_with("E: #CD:");
        if is_frame {
            return;
        }
        if !self.nested {
            self.core = self.core.or(fields::core(words));
            self.task = self.task.take().or_else(|| fields::task(words));
            self.system(words);
        }
        let words = if words.contains("panicked at ") {
            dialect::without_thread_number(words.trim_end_matches(':'))
        } else {
            words.to_owned()
        };
        self.reason(role, &words);
    }

    /// What was printed so far is not the panic's.
    fn forget_body(&mut self) {
        *self = Self {
            reasons: std::mem::take(&mut self.reasons),
            chip: self.chip,
            hash: self.hash.take(),
            ..Self::default()
        };
    }

    fn reason(&mut self, role: Role, words: &str) {
        let known = self.reasons.iter().any(|(_, known)| known == words);
        if self.reasons.len() < MOST_REASONS && (!known || role != Role::Detail) {
            let words: String = words.chars().take(LONGEST_REASON).collect();
            self.reasons.push((role, words));
        }
    }

    fn backtrace(&mut self, text: &str) {
        // a second one is the other core's
        if self.backtrace.is_empty() && self.dumps_of_registers < 2 {
            let frames = Frames::of(text);
            self.frames(&frames.pairs);
            if text.contains(CORRUPTED) {
                self.problem("the device found the stack corrupted below its backtrace");
            } else if text.contains(CONTINUES) {
                self.problem("the device cut its backtrace short");
            } else if frames.is_cut {
                self.problem("backtrace incomplete: line truncated");
            }
        }
        self.section = Section::Frames;
    }

    fn frames(&mut self, pairs: &[(u32, Option<u32>)]) {
        let room = MOST_FRAMES.saturating_sub(self.backtrace.len());
        self.backtrace.extend(pairs.iter().take(room));
    }

    fn problem(&mut self, sentence: &str) {
        self.problems.push(sentence.to_owned());
    }

    fn body(&mut self, line: &str) {
        match self.section {
            Section::Registers if self.untitled && fields::is_address(line) => {
                let found: Vec<_> = fields::hex(line).map(|pc| (pc, None)).into_iter().collect();
                self.frames(&found);
            }
            Section::Registers if self.dumps_of_registers == 1 => {
                let found = fields::registers(line);
                self.take_registers(found);
            }
            Section::Stack => self.take_stack(line),
            // esp-backtrace has a line for each; a terminal repeats it with the
            // function behind it
            Section::Frames if self.backtrace.len() < MOST_FRAMES => {
                let (word, behind) = line.split_once(' ').unwrap_or((line, ""));
                let repeated = behind.starts_with("- ");
                let address = fields::hex(word).filter(|_| !word.ends_with(':') && !repeated);
                let listed = self.backtrace.iter().all(|(_, sp)| sp.is_none());
                self.backtrace
                    .extend(address.filter(|_| listed).map(|pc| (pc, None)));
            }
            _ => {}
        }
    }

    fn take_registers(&mut self, found: Vec<(String, u32)>) {
        for (name, value) in found {
            let known = self.registers.iter().any(|(known, _)| *known == name);
            if !known && self.registers.len() < MOST_REGISTERS {
                self.registers.push((name, value));
            }
        }
    }

    /// `3fc8ea70: 0x... 0x...`; a line that does not follow on ends it.
    fn take_stack(&mut self, line: &str) {
        let Some((address, words)) = line.split_once(':') else {
            return;
        };
        let Ok(address) = u32::from_str_radix(address.trim(), 16) else {
            return;
        };
        if self.stack.is_empty() {
            self.stack_start = address;
        }
        let held = u32::try_from(self.stack.len()).unwrap_or(u32::MAX);
        if self.stack_start.checked_add(held) != Some(address) || self.stack.len() > LARGEST_STACK {
            self.section = Section::Reason;
            return;
        }
        for word in words.split_whitespace().map_while(fields::hex) {
            self.stack.extend(word.to_le_bytes());
        }
    }

    fn printed(&self, name: &str) -> Option<u32> {
        let found = self.registers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    }

    fn architecture(&self) -> Architecture {
        let has = |names: &[&str]| names.iter().any(|name| self.printed(name).is_some());
        let risc_v = has(&["MEPC", "RA", "MCAUSE"]) || !self.stack.is_empty();
        match self.chip {
            _ if risc_v => Architecture::RiscV,
            _ if has(&["PS", "EXCCAUSE"]) => Architecture::Xtensa,
            Some(chip) => chip.architecture(),
            None => Architecture::Xtensa,
        }
    }

    fn into_dump(self) -> Dump {
        let architecture = self.architecture();
        let mut dump = Dump::empty(architecture);
        let mut registers = Registers::new(architecture);
        for (name, value) in &self.registers {
            let known = match name.as_str() {
                "MEPC" => "pc".to_owned(),
                "S0/FP" | "S0" => "fp".to_owned(),
                other => other.to_ascii_lowercase(),
            };
            registers.set(&known, Some(*value));
        }
        let size = self.stack.len();
        let end = u32::try_from(size)
            .ok()
            .and_then(|size| self.stack_start.checked_add(size));
        dump.exception = self.exception(architecture);
        dump.chip = self.chip.filter(|chip| chip.architecture() == architecture);
        dump.chip_id = dump.chip.map(Chip::id);
        dump.core = self.core;
        dump.extra = self.in_isr.map(|in_isr| ExtraInfo {
            crashed_tcb: None,
            isr_context: Some(in_isr),
        });
        dump.panic_reason = self.in_order();
        dump.reason_printed = true;
        dump.tasks.push(Task {
            tcb: 0,
            crashed: true,
            registers,
            stack: end.filter(|_| size > 0).map(|end| (self.stack_start, end)),
            fake_stack: false,
            name_hint: self.task,
            solicited: false,
        });
        dump.memory = Memory::new(self.stack, [(self.stack_start, RegionKind::Stack, 0..size)]);
        match self.hash {
            Some(hash) if is_no_hash(&hash) => dump.null_hash = Some(hash),
            hash => dump.app_elf_sha256 = hash,
        }
        dump.printed_backtrace = self.backtrace;
        dump.problems = self.problems;
        dump
    }

    /// The reasons as printed; a warning that came before a panic stands
    /// behind it.
    fn in_order(&self) -> Option<String> {
        let is_warning = |role: Role| role == Role::Watchdog && !self.aborting;
        let panics = self.reasons.iter().any(|(role, _)| *role == Role::Panic);
        let mut ordered: Vec<&(Role, String)> = self.reasons.iter().collect();
        ordered.sort_by_key(|(role, _)| panics && is_warning(*role));
        let lines: Vec<&str> = ordered
            .into_iter()
            .map(|(_, words)| words.as_str())
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    fn exception(&self, architecture: Architecture) -> Option<Exception> {
        let (cause, address, names): (_, _, &[&str]) = match architecture {
            Architecture::Xtensa => (
                "EXCCAUSE",
                "EXCVADDR",
                &["EXCCAUSE", "EXCVADDR", "EPC1", "EPC2", "EPC3", "EPC4"],
            ),
            Architecture::RiscV => (
                "MCAUSE",
                "MTVAL",
                &["MSTATUS", "MTVEC", "MCAUSE", "MTVAL", "MHARTID"],
            ),
        };
        let named = |name: &&str| Some((name.to_ascii_lowercase(), self.printed(name)?));
        let registers: Vec<_> = names.iter().filter_map(named).collect();
        (!registers.is_empty()).then(|| Exception {
            cause: self.printed(cause),
            address: self.printed(address),
            registers,
        })
    }
}

const MOST_REASONS: usize = 8;
const LONGEST_REASON: usize = 1000;
const MOST_REGISTERS: usize = 64;
const LARGEST_STACK: usize = 64 << 10;

#[cfg(test)]
mod tests;
