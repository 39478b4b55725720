//! How the first release read a panic: only so that its fingerprints stay known.
//!
//! It is not changed any more. What it gets wrong is why there is a second
//! algorithm; what it made of a text is that text's former fingerprint.

use std::str::FromStr as _;

use crate::device::{Architecture, Chip};

use super::super::dump::{Dump, Exception, Task};
use super::super::fingerprint::of_first_release;
use super::super::registers::Registers;
use super::super::xtensa;

/// The fingerprint that the first release gave to a panic's text.
pub(super) fn fingerprint(text: &str) -> Option<String> {
    let mut log = Log::default();
    for line in text.split('\n') {
        log.line(line);
    }
    log.close();
    of_first_release(&log.last?.into_dump())
}

/// What the lines so far told.
#[derive(Default)]
struct Log {
    chip: Option<Chip>,
    /// The running application, as it said at its start.
    app: Option<String>,
    current: Option<Panic>,
    last: Option<Panic>,
}

#[derive(Default)]
struct Panic {
    reasons: Vec<String>,
    app: Option<String>,
    chip: Option<Chip>,
    section: Section,
    /// Names as printed, in upper case.
    registers: Vec<(String, u32)>,
    dumps_of_registers: usize,
    stack: Vec<u8>,
    stack_start: u32,
    backtrace: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Section {
    #[default]
    Reason,
    Registers,
    Stack,
    /// All that a panic prints has come.
    After,
}

impl Log {
    fn line(&mut self, line: &str) {
        if let Some(chip) = booting_chip(line) {
            self.chip = chip.or(self.chip);
            self.app = None;
            self.close();
            return;
        }
        if let Some(hash) = hash(line) {
            match &mut self.current {
                Some(panic) => {
                    panic.app = Some(hash);
                    panic.section = Section::After;
                }
                None => self.app = Some(hash),
            }
            return;
        }
        if let Some(reason) = reason(line) {
            self.panic_before(Section::Registers).reason(reason);
        } else if line.contains("register dump:") {
            self.panic_before(Section::After).begin_registers();
        } else if line.contains("Stack memory:") {
            self.panic_before(Section::After).section = Section::Stack;
        } else if let Some((_, pairs)) = line.split_once("Backtrace:") {
            self.panic_before(Section::After).backtrace(pairs);
        } else if let Some(panic) = &mut self.current {
            panic.body(line);
        }
    }

    /// The panic that goes on, if it has not come to `section` yet, or a new one.
    fn panic_before(&mut self, section: Section) -> &mut Panic {
        let over = |panic: &Panic| panic.section == Section::After || panic.section == section;
        if self.current.as_ref().is_some_and(over) {
            self.close();
        }
        self.current.get_or_insert_default()
    }

    fn close(&mut self) {
        if let Some(mut panic) = self.current.take().filter(Panic::says_something) {
            panic.chip = self.chip;
            panic.app = panic.app.or_else(|| self.app.clone());
            self.last = Some(panic);
        }
    }
}

impl Panic {
    fn says_something(&self) -> bool {
        !self.reasons.is_empty() || !self.backtrace.is_empty() || !self.registers.is_empty()
    }

    fn reason(&mut self, reason: &str) {
        if self.reasons.len() < MOST_REASONS {
            self.reasons.push(reason.to_owned());
        }
    }

    /// Only the first core's registers are those of the panic.
    fn begin_registers(&mut self) {
        self.dumps_of_registers += 1;
        self.section = Section::Registers;
    }

    fn backtrace(&mut self, pairs: &str) {
        // a second one is the other core's
        if self.backtrace.is_empty() {
            for word in pairs.split_whitespace() {
                let pair = word
                    .split_once(':')
                    .and_then(|(pc, sp)| Some((hex(pc)?, hex(sp)?)));
                if self.backtrace.len() < xtensa::MOST_FRAMES {
                    self.backtrace.extend(pair);
                }
            }
        }
        self.section = Section::Reason;
    }

    fn body(&mut self, line: &str) {
        match self.section {
            Section::Registers if self.dumps_of_registers == 1 => self.take_registers(line),
            Section::Stack => self.take_stack(line),
            _ if line.contains("Rebooting...") => self.section = Section::After,
            _ => {}
        }
    }

    fn take_registers(&mut self, line: &str) {
        let mut name = "";
        for word in line.split_whitespace() {
            if let Some(value) = hex(word) {
                if !name.is_empty() && self.registers.len() < MOST_REGISTERS {
                    self.registers.push((name.to_ascii_uppercase(), value));
                }
                name = "";
            } else if word != ":" {
                name = word.trim_end_matches(':');
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
        for word in words.split_whitespace().map_while(hex) {
            self.stack.extend(word.to_le_bytes());
        }
    }

    fn printed(&self, name: &str) -> Option<u32> {
        let found = self.registers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    }

    fn architecture(&self) -> Architecture {
        let risc_v = self.printed("MEPC").is_some() || !self.stack.is_empty();
        let xtensa = self.printed("PS").is_some() || !self.backtrace.is_empty();
        match self.chip {
            _ if risc_v => Architecture::RiscV,
            _ if xtensa => Architecture::Xtensa,
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
                "S0/FP" => "fp".to_owned(),
                other => other.to_ascii_lowercase(),
            };
            registers.set(&known, Some(*value));
        }
        dump.exception = self.exception(architecture);
        dump.tasks.push(Task {
            tcb: 0,
            crashed: true,
            registers,
            stack: None,
            fake_stack: false,
            name_hint: None,
            solicited: false,
        });
        dump.panic_reason = (!self.reasons.is_empty()).then(|| self.reasons.join("\n"));
        dump.app_elf_sha256 = self.app;
        dump.printed_backtrace = self
            .backtrace
            .into_iter()
            .map(|(pc, sp)| (pc, Some(sp)))
            .collect();
        dump
    }

    fn exception(&self, architecture: Architecture) -> Option<Exception> {
        let (cause, address, names): (_, _, &[&str]) = match architecture {
            Architecture::Xtensa => ("EXCCAUSE", "EXCVADDR", &["EXCCAUSE", "EXCVADDR"]),
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

/// The part of a line that says why the application panicked.
fn reason(line: &str) -> Option<&str> {
    const BEGINNINGS: [&str; 9] = [
        "Guru Meditation Error:",
        "abort() was called at PC",
        "assert failed:",
        "***ERROR*** A stack overflow",
        "Task watchdog got triggered",
        "Debug exception reason:",
        "Stack smashing protect failure",
        "CORRUPT HEAP:",
        "Undefined behavior of type",
    ];
    let at = BEGINNINGS
        .iter()
        .find_map(|beginning| line.find(beginning))?;
    Some(line.get(at..)?.trim_end())
}

/// Whether a line is the ROM's at a new boot, and of which chip if it says so.
fn booting_chip(line: &str) -> Option<Option<Chip>> {
    if let Some((_, build)) = line.split_once("ESP-ROM:") {
        let name = build.split('-').next().unwrap_or_default();
        return Some(Chip::from_str(name.trim()).ok());
    }
    if line.starts_with("ets Jul 29 2019") || line.starts_with("ets Jun  8 2016") {
        return Some(Some(Chip::Esp32));
    }
    line.contains("rst:0x").then_some(None)
}

/// The application's ELF hash, as far as a line gives it.
fn hash(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("ELF file SHA256:")?;
    let digits = rest.trim_start();
    let end = digits
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(digits.len());
    let digits = digits.get(..end.min(64))?;
    (!digits.is_empty()).then(|| digits.to_ascii_lowercase())
}

/// A number such as `0x3fc8ea70`.
fn hex(word: &str) -> Option<u32> {
    let digits = word.strip_prefix("0x")?;
    u32::from_str_radix(digits, 16).ok()
}

const MOST_REASONS: usize = 8;
const MOST_REGISTERS: usize = 64;
const LARGEST_STACK: usize = 64 << 10;
