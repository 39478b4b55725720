//! A panic as ESP-IDF prints it on the console when no dump comes with it:
//! reason, registers, Xtensa backtrace or RISC-V stack words.

use crate::device::{Architecture, Chip};

use super::dump::{Dump, Exception, Task};
use super::memory::{Memory, RegionKind};
use super::panic_lines::{booting_chip, hash, hex, reason, task_in, without_colours};
use super::registers::Registers;

/// The last panic in console text, as a dump with one task, or `None` if no
/// panic was printed.
///
/// Registers that the device did not print are unknown; on Xtensa
/// [`Dump::printed_backtrace`] then tells where it crashed. The task's TCB
/// address is 0, since a panic does not print it.
pub fn parse(text: &[u8]) -> Option<Dump> {
    let mut log = Log::default();
    for line in text.split(|b| *b == b'\n') {
        let line = line.get(..LONGEST_LINE).unwrap_or(line);
        log.line(&without_colours(&String::from_utf8_lossy(line)));
    }
    log.finish()
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
    task: Option<String>,
    section: Section,
    /// Names as printed, in upper case.
    registers: Vec<(String, u32)>,
    dumps_of_registers: usize,
    stack: Vec<u8>,
    stack_start: u32,
    backtrace: Vec<(u32, u32)>,
    problems: Vec<String>,
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

    fn finish(mut self) -> Option<Dump> {
        self.close();
        self.last.map(Panic::into_dump)
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
        self.task = self.task.take().or_else(|| task_in(reason));
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
                if self.backtrace.len() < super::xtensa::MOST_FRAMES {
                    self.backtrace.extend(pair);
                }
            }
            for (mark, problem) in [
                (
                    "|<-CORRUPTED",
                    "the device found the stack corrupted below its backtrace",
                ),
                ("|<-CONTINUES", "the device cut its backtrace short"),
            ] {
                if pairs.contains(mark) {
                    self.problems.push(problem.to_owned());
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
        let size = self.stack.len();
        let end = u32::try_from(size)
            .ok()
            .and_then(|size| self.stack_start.checked_add(size));
        dump.exception = self.exception(architecture);
        dump.chip = self.chip.filter(|chip| chip.architecture() == architecture);
        dump.chip_id = dump.chip.map(Chip::id);
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
        dump.panic_reason = (!self.reasons.is_empty()).then(|| self.reasons.join("\n"));
        dump.app_elf_sha256 = self.app;
        dump.printed_backtrace = self.backtrace;
        dump.problems = self.problems;
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

const LONGEST_LINE: usize = 8192;
const MOST_REASONS: usize = 8;
const MOST_REGISTERS: usize = 64;
const LARGEST_STACK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const XTENSA: &str = "\
I (30) cpu_start: ELF file SHA256:  1b43c5e74...\r
Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r
\r
Core  0 register dump:\r
PC      : 0x400d1500  PS      : 0x00060b30  A0      : 0x800d66d1  A1      : 0x3ffb4f70  \r
A14     : 0x00000000  A15     : 0x00000000  SAR     : 0x0000001b  EXCCAUSE: 0x0000001c  \r
EXCVADDR: 0x00000004  LBEG    : 0x4000c2e0  LEND    : 0x4000c2f6  LCOUNT  : 0x00000000  \r
\r
Backtrace: 0x400d14fd:0x3ffb4f70 0x400d66ce:0x3ffb4f90 |<-CORRUPTED\r
\r
Core  1 register dump:\r
PC      : 0x40085908  PS      : 0x00060035  A0      : 0x8008508d  A1      : 0x3ffb56b0  \r
Backtrace: 0x40085905:0x3ffb56b0\r
ELF file SHA256: 1b43c5e74\r
Rebooting...\r
";

    const RISC_V: &str = "\
ESP-ROM:esp32c3-api1-20210207
\x1b[0;32mI (757) cpu_start: ELF file SHA256:  7d946a8e8...\x1b[0m
abort() was called at PC 0x42009351 on core 0
Core  0 register dump:
MEPC    : 0x40380698  RA      : 0x4038368e  SP      : 0x3fc8ea70  GP      : 0x3fc8a600
S0/FP   : 0x00000004  S1      : 0x3fc8ead4  A0      : 0x3fc8ea9c  A1      : 0x3fc8ead2
MSTATUS : 0x00001880  MTVEC   : 0x40380001  MCAUSE  : 0x00000007  MTVAL   : 0x00000000
Stack memory:
3fc8ea70: 0xa5a5a5a5 0x00000001
3fc8ea78: 0x3fc8ead0 0x403887b8
3fc8eb78: 0x00000009
";

    #[test]
    fn an_xtensa_panic_is_read_from_the_first_core_that_prints() {
        let dump = parse(XTENSA.as_bytes()).unwrap();
        assert_eq!(dump.architecture, Architecture::Xtensa);
        let reason = dump.panic_reason.as_deref().unwrap();
        assert!(reason.starts_with("Guru Meditation Error: Core  0 panic'ed (LoadProhibited)"));
        assert!(reason.ends_with("unhandled."));
        let registers = dump.tasks[0].registers;
        assert_eq!(
            (registers.pc(), registers.sp()),
            (Some(0x400d_1500), Some(0x3ffb_4f70))
        );
        let exception = dump.exception.as_ref().unwrap();
        assert_eq!((exception.cause, exception.address), (Some(28), Some(4)));
        let expected = [(0x400d_14fd, 0x3ffb_4f70), (0x400d_66ce, 0x3ffb_4f90)];
        assert_eq!(dump.printed_backtrace, expected);
        assert_eq!(dump.problems.len(), 1, "{:?}", dump.problems);
        assert_eq!(dump.app_elf_sha256.as_deref(), Some("1b43c5e74"));
    }

    #[test]
    fn a_risc_v_panic_brings_its_stack() {
        let dump = parse(RISC_V.as_bytes()).unwrap();
        assert_eq!(
            (dump.architecture, dump.chip),
            (Architecture::RiscV, Some(Chip::Esp32C3))
        );
        let task = &dump.tasks[0];
        assert_eq!(task.registers.get("ra"), Some(0x4038_368e));
        assert_eq!(task.registers.get("fp"), Some(4));
        assert_eq!(task.stack, Some((0x3fc8_ea70, 0x3fc8_ea80)));
        assert_eq!(dump.memory.word(0x3fc8_ea7c), Some(0x4038_87b8));
        assert_eq!(dump.exception.as_ref().and_then(|e| e.cause), Some(7));
        assert_eq!(
            dump.app_elf_sha256.as_deref(),
            Some("7d946a8e8"),
            "from the boot"
        );
    }

    #[test]
    fn the_last_panic_of_several_is_taken() {
        let loops = [
            XTENSA,
            "rst:0xc (SW_CPU_RESET)\r\nboot\r\n",
            "assert failed: f x.c:3 (y)\r\n",
        ];
        let dump = parse(loops.concat().as_bytes()).unwrap();
        assert_eq!(
            dump.panic_reason.as_deref(),
            Some("assert failed: f x.c:3 (y)")
        );
        assert!(dump.printed_backtrace.is_empty());
        let dump = parse([XTENSA, XTENSA].concat().as_bytes()).unwrap();
        assert_eq!(dump.panic_reason.unwrap().lines().count(), 1);
    }

    #[test]
    fn text_without_a_panic_is_none() {
        for text in [
            "",
            "I (30) main: hello\n",
            "rst:0x1\nELF file SHA256: 1b43\n",
            "Backtrace: soon\n",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
