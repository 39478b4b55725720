//! What stays the same when the same build crashes again in the same way.

use crate::device::Architecture;
use crate::digest::Sha256;

use super::dump::Dump;
use super::xtensa;

/// The crash in 16 hex digits, the first of the SHA-256 over a text, and which
/// text that was. Counters and stacks differ each time a loop crashes, the
/// lines of the text do not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fingerprint {
    pub id: String,
    /// 1; 2 without a hash, or where the same text once gave another one.
    pub algorithm: u32,
    /// What the same crash was called by the release before the algorithm
    /// changed for it.
    pub former: Option<String>,
}

/// The fingerprint of a dump or of a printed panic; `None` without the crashed
/// task's program counter.
pub fn fingerprint(dump: &Dump) -> Option<Fingerprint> {
    if let Some(hash) = &dump.app_elf_sha256 {
        let first = id(&text(dump, "v1", hash)?);
        if dump
            .former_fingerprint
            .as_ref()
            .is_none_or(|former| *former == first)
        {
            return Some(Fingerprint {
                id: first,
                algorithm: 1,
                former: None,
            });
        }
    }
    let known = |word: &Option<String>| word.clone().unwrap_or_default();
    let build = match &dump.app_elf_sha256 {
        Some(hash) => hash.clone(),
        None => format!("{} {}", known(&dump.project), known(&dump.version)),
    };
    let null = || Some(id(&text(dump, "v1", dump.null_hash.as_deref()?)?));
    Some(Fingerprint {
        id: id(&text(dump, "v2", &build)?),
        algorithm: 2,
        former: dump.former_fingerprint.clone().or_else(null),
    })
}

/// What the first release made of a dump: only of those with a hash.
pub(super) fn of_first_release(dump: &Dump) -> Option<String> {
    Some(id(&text(dump, "v1", dump.app_elf_sha256.as_deref()?)?))
}

fn id(text: &str) -> String {
    Sha256::of(text.as_bytes()).short(16)
}

/// What a fingerprint is made of, lines joined by `\n` without one at the end:
///
/// - `v1`; `v2` where there is no hash, or where the same text once gave
///   another fingerprint
/// - the application's ELF hash as far as the dump has it, in lower case;
///   without one project, a blank and version, as far as they are known
/// - the cause (EXCCAUSE or mcause) in decimal, a space, and the panic text
///   without its numbers: every `0x` with the hex digits behind it is taken
///   out, then every other digit. Without a cause the line is the text alone,
///   without a text it is the cause alone
/// - program counters, each `0x` and lower-case hex: on Xtensa those of the
///   crashed task's chain as found on its stack ([`xtensa::unwind`] without
///   program memory, and without what an interrupt broke into), on RISC-V pc
///   and ra; of an Xtensa panic text, and of one without registers, those of
///   its backtrace
fn text(dump: &Dump, version: &str, build: &str) -> Option<String> {
    let cause = dump
        .exception
        .as_ref()
        .and_then(|exception| exception.cause);
    let cause = cause.map(|cause| cause.to_string());
    let reason = dump.panic_reason.as_deref().map(without_numbers);
    let line: Vec<String> = cause.into_iter().chain(reason).collect();
    let mut text = format!("{version}\n{build}\n{}", line.join(" "));
    for pc in program_counters(dump)? {
        text.push_str(&format!("\n{pc:#x}"));
    }
    Some(text)
}

fn program_counters(dump: &Dump) -> Option<Vec<u32>> {
    let task = dump.crashed_task().filter(|task| !task.fake_stack)?;
    let pc = task.registers.pc();
    let xtensa_or_bare = dump.architecture == Architecture::Xtensa || pc.is_none();
    if xtensa_or_bare && !dump.printed_backtrace.is_empty() {
        let printed = dump.printed_backtrace.iter();
        return Some(printed.map(|(pc, _)| *pc).collect());
    }
    let pc = pc?;
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
        let known = fingerprint(&dump()).unwrap();
        assert_eq!(known.id, Sha256::of(expected.as_bytes()).short(16));
        assert_eq!((known.algorithm, known.former), (1, None));
    }

    #[test]
    fn without_a_hash_project_and_version_stand_for_it() {
        let mut no_hash = dump();
        no_hash.app_elf_sha256 = None;
        no_hash.project = Some("pump".to_owned());
        no_hash.version = Some("2.1".to_owned());
        let expected = "v2\npump 2.1\n7 abort() at PC  on core \n0x40380698\n0x4038368e";
        let known = fingerprint(&no_hash).unwrap();
        assert_eq!(known.id, Sha256::of(expected.as_bytes()).short(16));
        assert_eq!((known.algorithm, known.former), (2, None));
        no_hash.null_hash = Some("000000000".to_owned());
        let before = "v1\n000000000\n7 abort() at PC  on core \n0x40380698\n0x4038368e";
        let known = fingerprint(&no_hash).unwrap();
        assert_eq!(known.former, Some(Sha256::of(before.as_bytes()).short(16)));
    }

    #[test]
    fn a_text_that_was_read_in_another_way_has_both() {
        let mut dump = dump();
        dump.former_fingerprint = Some("0123456789abcdef".to_owned());
        let known = fingerprint(&dump).unwrap();
        assert_eq!(known.algorithm, 2);
        assert_eq!(known.former, dump.former_fingerprint);
    }

    #[test]
    fn without_a_program_counter_there_is_none() {
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
