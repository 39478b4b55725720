//! Lines of panics that are not ESP-IDF's: esp-hal, Zephyr, NuttX, and
//! ESPHome's report of the crash before the boot.

use crate::console::dialect;

use super::fields;
use super::{Panic, Section};

impl Panic {
    /// Takes a line of one of these; whether it was one.
    pub(super) fn system(&mut self, line: &str) -> bool {
        let words = dialect::words(line);
        self.esp_hal(words) || self.zephyr(words) || self.nuttx(words) || self.esphome(line, words)
    }

    /// `Exception 'Load access fault' mepc=0x4200a1b2, mtval=0x00000000`,
    /// `STACKDUMP: <pc> <stack>`, and the context of an exception.
    fn esp_hal(&mut self, words: &str) -> bool {
        if words.starts_with("Exception ") || words.starts_with("Stack overflow detected at ") {
            let mut named =
                fields::registers(&words.replace("mepc=", "MEPC=").replace("mtval=", "MTVAL="));
            if let Some((_, rest)) = words.split_once(" detected at ") {
                let pc = rest.split_whitespace().next().and_then(fields::hex);
                named.extend(pc.map(|pc| ("MEPC".to_owned(), pc)));
            }
            self.take_registers(named);
            self.section = Section::Registers;
            self.untitled = true;
            self.dumps_of_registers = self.dumps_of_registers.max(1);
            return true;
        }
        if let Some(dump) = words.strip_prefix("STACKDUMP: ") {
            let pc = dump.split(' ').next().unwrap_or_default();
            if let (true, Ok(pc)) = (self.backtrace.is_empty(), u32::from_str_radix(pc, 16)) {
                self.backtrace.push((pc, None));
                self.problem("the stack was dumped without its address and is not unwound");
            }
            return true;
        }
        false
    }

    fn zephyr(&mut self, words: &str) -> bool {
        if let Some(rest) = words.strip_prefix("CPU ")
            && let Some((_, cause)) = rest.split_once(" EXCCAUSE ")
        {
            let number = cause.split_whitespace().next().and_then(|n| n.parse().ok());
            self.take_registers(
                number
                    .map(|n| ("EXCCAUSE".to_owned(), n))
                    .into_iter()
                    .collect(),
            );
            self.reason(dialect::Role::Detail, words);
            return true;
        }
        if let Some(rest) = words.strip_prefix("mcause: ") {
            let number = rest.split(',').next().and_then(|n| n.trim().parse().ok());
            self.take_registers(
                number
                    .map(|n| ("MCAUSE".to_owned(), n))
                    .into_iter()
                    .collect(),
            );
            return true;
        }
        let first = words.split_whitespace().next().unwrap_or_default();
        match first {
            "PC" | "PS" | "A0" | "A4" | "A8" | "A12" | "LBEG" | "SAR" => {
                let found = pairs(words, "0x");
                let is_one = !found.is_empty();
                self.take_registers(found);
                is_one
            }
            "a0:" | "a1:" | "a2:" | "a3:" | "a4:" | "a5:" | "a6:" | "a7:" | "sp:" | "ra:"
            | "mepc:" | "xepc:" | "xstatus:" | "mtval:" | "mstatus:" | "tp:" | "gp:" | "s0:"
            | "s1:" => {
                let plain = words.replace(':', "");
                let found = pairs(&plain, "");
                self.take_registers(found);
                true
            }
            _ => false,
        }
    }

    /// Reason and addresses, no more.
    fn nuttx(&mut self, words: &str) -> bool {
        if let Some((_, rest)) = words.split_once("backtrace|") {
            let Some((thread, addresses)) = rest.split_once(':') else {
                return true;
            };
            let thread = thread.trim();
            // all other tasks follow
            if self.thread.get_or_insert_with(|| thread.to_owned()) == thread {
                let found: Vec<_> = addresses
                    .split_whitespace()
                    .map_while(fields::hex)
                    .map(|pc| (pc, None))
                    .collect();
                self.frames(&found);
            }
            return true;
        }
        if let Some((_, cause)) = words.split_once("EXCCAUSE=") {
            let digits = cause.split(' ').next().unwrap_or_default();
            let number = u32::from_str_radix(digits, 16).ok();
            self.take_registers(
                number
                    .map(|n| ("EXCCAUSE".to_owned(), n))
                    .into_iter()
                    .collect(),
            );
        }
        if let Some((_, rest)) = words.split_once("MCAUSE: ") {
            let plain = format!("MCAUSE {}", rest.replace([':', ','], ""));
            self.take_registers(pairs(&plain, ""));
        }
        if let Some((_, task)) = words.split_once(" task: ") {
            let name = task.split(" process:").next().unwrap_or(task).trim();
            self.task = self.task.take().or_else(|| Some(name.to_owned()));
        }
        if let Some((_, rest)) = words.split_once("up_dump_register:") {
            let counter = rest.trim_start();
            let of = |name| Some((name, counter.strip_prefix(name)?));
            if let Some((name, value)) = of("PC: ").or_else(|| of("EPC: ")) {
                let digits = value.split_whitespace().next().unwrap_or_default();
                let digits = digits
                    .get(digits.len().saturating_sub(8)..)
                    .unwrap_or_default();
                let known = if name == "PC: " { "PC" } else { "MEPC" };
                let pc = u32::from_str_radix(digits, 16).ok();
                self.take_registers(pc.map(|pc| (known.to_owned(), pc)).into_iter().collect());
            }
            return true;
        }
        false
    }

    fn esphome(&mut self, line: &str, words: &str) -> bool {
        if let Some(reason) = words.strip_prefix("Reason: ") {
            self.reason(dialect::Role::Panic, reason);
            return true;
        }
        if let Some(core) = words.strip_prefix("Crashed core: ") {
            self.core = self.core.or_else(|| core.trim().parse().ok());
            return true;
        }
        if let Some(rest) = words.strip_prefix("PC: ") {
            let pc = rest.split_whitespace().next().and_then(fields::hex);
            let pc = pc.filter(|_| line.contains(".crash:") || rest.contains("(fault"));
            self.take_registers(pc.map(|pc| ("PC".to_owned(), pc)).into_iter().collect());
            return true;
        }
        let numbered = words
            .strip_prefix("BT")
            .and_then(|rest| rest.split_once(": "));
        if let Some((number, rest)) = numbered
            && number.bytes().all(|digit| digit.is_ascii_digit())
        {
            let pc = rest.split_whitespace().next().and_then(fields::hex);
            let found: Vec<_> = pc.map(|pc| (pc, None)).into_iter().collect();
            self.frames(&found);
            return true;
        }
        words.starts_with("Use: addr2line ")
    }
}

/// `NAME VALUE` pairs of hexadecimal numbers, which have `mark` before them.
fn pairs(words: &str, mark: &str) -> Vec<(String, u32)> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut found = Vec::new();
    for pair in words.chunks(2) {
        let [name, value] = pair else { continue };
        let name = match name.to_ascii_uppercase().as_str() {
            "VADDR" => "EXCVADDR".to_owned(),
            "SP" if !mark.is_empty() => "A1".to_owned(),
            "EPC" | "XEPC" => "MEPC".to_owned(),
            "XSTATUS" => "MSTATUS".to_owned(),
            other => other.to_owned(),
        };
        if found.is_empty() && !value.starts_with(mark) {
            break;
        }
        let digits = value.strip_prefix("0x").unwrap_or(value);
        let digits = digits
            .get(digits.len().saturating_sub(8)..)
            .unwrap_or(digits);
        found.extend(
            u32::from_str_radix(digits, 16)
                .ok()
                .map(|value| (name, value)),
        );
    }
    found
}
