//! What stays the same when the same build crashes again in the same way.

use crate::device::Architecture;
use crate::digest::Sha256;

use super::dump::Dump;
use super::xtensa;

/// The crash in 16 hex digits: the first of the SHA-256 over
/// [`fingerprint_text`]. Counters and stacks differ each time a loop crashes,
/// these lines do not.
pub fn fingerprint(dump: &Dump) -> Option<String> {
    let text = fingerprint_text(dump)?;
    Some(Sha256::of(text.as_bytes()).short(16))
}

/// What a fingerprint is made of, lines joined by `\n` without one at the end:
///
/// - `v1`
/// - the application's ELF hash as far as the dump has it, in lower case
/// - the cause (EXCCAUSE or mcause) in decimal, a space, and the panic text
///   without its numbers: every `0x` with the hex digits behind it is taken
///   out, then every other digit. Without a cause the line is the text alone,
///   without a text it is the cause alone
/// - program counters, each `0x` and lower-case hex: on Xtensa those of the
///   crashed task's chain as found on its stack ([`xtensa::unwind`] without
///   program memory, and without what an interrupt broke into), on RISC-V pc
///   and ra; of an Xtensa panic text those of its `Backtrace:` line
///
/// `None` without an application hash (the binary payload never has one) or
/// without the crashed task's pc.
pub fn fingerprint_text(dump: &Dump) -> Option<String> {
    let hash = dump.app_elf_sha256.as_deref()?;
    let cause = dump
        .exception
        .as_ref()
        .and_then(|exception| exception.cause);
    let cause = cause.map(|cause| cause.to_string());
    let reason = dump.panic_reason.as_deref().map(without_numbers);
    let line: Vec<String> = cause.into_iter().chain(reason).collect();
    let mut text = format!("v1\n{hash}\n{}", line.join(" "));
    for pc in program_counters(dump)? {
        text.push_str(&format!("\n{pc:#x}"));
    }
    Some(text)
}

fn program_counters(dump: &Dump) -> Option<Vec<u32>> {
    let task = dump.crashed_task().filter(|task| !task.fake_stack)?;
    if dump.architecture == Architecture::Xtensa && !dump.printed_backtrace.is_empty() {
        let printed = dump.printed_backtrace.iter();
        return Some(printed.map(|(pc, _)| *pc).collect());
    }
    let pc = task.registers.pc()?;
    Some(match dump.architecture {
        Architecture::RiscV => [Some(pc), task.registers.general(1)]
            .into_iter()
            .flatten()
            .collect(),
        Architecture::Xtensa => {
            let frames = xtensa::unwind(&task.registers, &dump.memory, |_| None);
            frames.iter().map(|frame| frame.pc).collect()
        }
    })
}

fn without_numbers(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex = rest
            .strip_prefix("0x")
            .filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()));
        if let Some(digits) = hex {
            rest = digits.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            continue;
        }
        if !first.is_ascii_digit() {
            kept.push(first);
        }
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::dump::{Exception, Task};
    use super::super::registers::Registers;
    use super::*;

    fn dump() -> Dump {
        let mut registers = Registers::new(Architecture::RiscV);
        registers.set("pc", Some(0x4038_0698));
        registers.set("ra", Some(0x4038_368e));
        let mut dump = Dump::empty(Architecture::RiscV);
        dump.app_elf_sha256 = Some("7d946a8e8".to_owned());
        dump.panic_reason = Some("abort() at PC 0x42009351 on core 0".to_owned());
        dump.exception = Some(Exception {
            cause: Some(7),
            ..Exception::default()
        });
        dump.tasks.push(Task {
            tcb: 1,
            crashed: true,
            registers,
            stack: None,
            fake_stack: false,
            name_hint: None,
            solicited: false,
        });
        dump
    }

    #[test]
    fn the_text_is_as_documented() {
        let expected = "v1\n7d946a8e8\n7 abort() at PC  on core \n0x40380698\n0x4038368e";
        assert_eq!(fingerprint_text(&dump()).as_deref(), Some(expected));
        assert_eq!(
            fingerprint(&dump()),
            Some(Sha256::of(expected.as_bytes()).short(16))
        );
    }

    #[test]
    fn without_hash_or_pc_there_is_none() {
        let mut no_hash = dump();
        no_hash.app_elf_sha256 = None;
        assert_eq!(fingerprint(&no_hash), None);
        let mut no_pc = dump();
        no_pc.tasks[0].registers.set("pc", None);
        assert_eq!(fingerprint(&no_pc), None);
        let mut no_task = dump();
        no_task.tasks[0].crashed = false;
        assert_eq!(fingerprint(&no_task), None);
    }

    #[test]
    fn numbers_of_either_base_are_left_out_and_words_stay() {
        for (text, expected) in [
            ("core 12 at 0x3FfbdeadZ", "core  at Z"),
            ("0xyz 0x", "xyz x"),
            ("face 7 café", "face  café"),
        ] {
            assert_eq!(without_numbers(text), expected, "{text}");
        }
    }
}
