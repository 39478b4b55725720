//! The ELF notes that ESP-IDF's core files carry.

use crate::device::Architecture;
use crate::reader::{Reader, half_at, text_until_nul, word_at};

use super::dump::{Exception, ExtraInfo};
use super::frame::{INVALID_CAUSE, displayed_ps};
use super::registers::Registers;

/// One note. The name ends at its first NUL, since writers pad it with junk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Note<'a> {
    pub(super) kind: Kind,
    pub(super) description: &'a [u8],
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `CORE`: the registers of one task.
    Task,
    /// `ESP_CORE_DUMP_INFO`: version word and application hash.
    Info,
    /// `ESP_EXTRA_INFO`: crashed task, exception registers.
    Extra,
    /// `ESP_PANIC_DETAILS`: a panic text.
    Panic,
    /// `ESP_CHIP_REV`: added by Espressif's host tool.
    ChipRevision,
    Other,
}

/// The notes of one `PT_NOTE` segment, and whether they fill it: a note that
/// runs past the end is left out.
pub(super) fn notes(segment: &[u8]) -> (Vec<Note<'_>>, bool) {
    let mut reader = Reader::new(segment);
    let mut found = Vec::new();
    while reader.rest().len() >= HEADER && found.len() < MOST_NOTES {
        let Some(note) = next(&mut reader) else {
            return (found, false);
        };
        found.push(note);
    }
    (found, true)
}

fn next<'a>(reader: &mut Reader<'a>) -> Option<Note<'a>> {
    let name_size = usize::try_from(reader.word()?).ok()?;
    let size = usize::try_from(reader.word()?).ok()?;
    let number = reader.word()?;
    let name = reader.take(name_size)?;
    skip_padding(reader, name_size)?;
    let description = reader.take(size)?;
    // the very last padding may be missing
    let _ = skip_padding(reader, size);
    let name = name.split(|b| *b == 0).next().unwrap_or_default();
    let kind = match (name, number) {
        (b"CORE", 1) => Kind::Task,
        (b"ESP_CORE_DUMP_INFO", 8266) => Kind::Info,
        (b"ESP_EXTRA_INFO" | b"EXTRA_INFO", 677) => Kind::Extra,
        (b"ESP_PANIC_DETAILS", 679) => Kind::Panic,
        (b"ESP_CHIP_REV", _) => Kind::ChipRevision,
        _ => Kind::Other,
    };
    Some(Note { kind, description })
}

fn skip_padding(reader: &mut Reader<'_>, length: usize) -> Option<()> {
    reader.take((4 - length % 4) % 4).map(|_| ())
}

/// TCB address and registers of a `CORE` note (`prstatus`).
pub(super) fn task(architecture: Architecture, description: &[u8]) -> Option<(u32, Registers)> {
    let tcb = word_at(description, 24)?;
    let word = |index: usize| word_at(description, 72 + index * 4);
    let mut registers = Registers::new(architecture);
    registers.set("pc", Some(word(0)?));
    match architecture {
        Architecture::Xtensa => {
            registers.set("ps", word(1).map(displayed_ps));
            for (index, name) in ["lbeg", "lend", "lcount", "sar"].into_iter().enumerate() {
                registers.set(name, word(2 + index));
            }
            for number in 0..16_u16 {
                registers.set_general(number, word(64 + usize::from(number)));
            }
        }
        Architecture::RiscV => {
            for number in 1..32_u16 {
                registers.set_general(number, word(usize::from(number)));
            }
        }
    }
    Some((tcb, registers))
}

/// Version word and application hash of the info note. An empty hash is none.
pub(super) fn info(description: &[u8]) -> Option<(u32, Option<String>)> {
    let version = word_at(description, 0)?;
    let text = text_until_nul(description.get(4..)?.get(..66).unwrap_or_default());
    let is_hash =
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    Some((version, is_hash.then(|| text.to_ascii_lowercase())))
}

/// The extra info note, and on Xtensa the exception registers in it.
pub(super) fn extra(
    architecture: Architecture,
    description: &[u8],
) -> Option<(ExtraInfo, Option<Exception>)> {
    let crashed = word_at(description, 0)?;
    let (isr_at, exception) = match architecture {
        Architecture::Xtensa => (XTENSA_PAIRS * 8 + 4, Some(xtensa_exception(description))),
        Architecture::RiscV => (4, None),
    };
    let info = ExtraInfo {
        crashed_tcb: (crashed != NO_TASK).then_some(crashed),
        isr_context: word_at(description, isr_at).map(|word| word != 0),
    };
    Some((info, exception))
}

/// Pairs of special register number and value behind the first word.
fn xtensa_exception(description: &[u8]) -> Exception {
    let mut exception = Exception::default();
    for pair in 0..XTENSA_PAIRS {
        let at = 4 + pair * 8;
        let (Some(number), Some(value)) = (word_at(description, at), word_at(description, at + 4))
        else {
            break;
        };
        let name = match number {
            177..=183 => format!("epc{}", number - 176),
            194..=199 => format!("eps{}", number - 192),
            232 => {
                exception.cause = (value != INVALID_CAUSE).then_some(value);
                "exccause".to_owned()
            }
            238 => {
                exception.address = Some(value);
                "excvaddr".to_owned()
            }
            _ => continue,
        };
        if !exception.registers.iter().any(|(known, _)| *known == name) {
            exception.registers.push((name, value));
        }
    }
    exception
}

/// The text of a panic note; control characters at its end are dropped.
pub(super) fn panic_text(description: &[u8]) -> Option<String> {
    let text = text_until_nul(description.get(..LONGEST_TEXT).unwrap_or(description));
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The chip revision that Espressif's host tool writes into a saved core.
pub(super) fn chip_revision(description: &[u8]) -> Option<u32> {
    word_at(description, 0).or_else(|| half_at(description, 0).map(u32::from))
}

const HEADER: usize = 12;
const MOST_NOTES: usize = 4096;
const LONGEST_TEXT: usize = 4096;
/// exccause, excvaddr and sixteen more.
const XTENSA_PAIRS: usize = 18;
/// `COREDUMP_CURR_TASK_MARKER`: the crashed task was left out.
const NO_TASK: u32 = 0xdead_beef;

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], name_size: u32, number: u32, description: &[u8]) -> Vec<u8> {
        let size = u32::try_from(description.len()).unwrap();
        let mut bytes: Vec<u8> = [name_size, size, number]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        bytes.extend(name);
        bytes.extend(description);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn names_are_read_in_both_lengths_and_with_junk_behind() {
        for (name, size) in [
            (&b"CORE\0\0\0\0"[..], 5),
            (b"CORE\0\0\0\0", 8),
            (b"CORE\0xyz", 8),
        ] {
            let bytes = note(name, size, 1, b"abcde");
            let (found, whole) = notes(&bytes);
            assert!(whole);
            assert_eq!(
                found,
                [Note {
                    kind: Kind::Task,
                    description: b"abcde"
                }],
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_note_past_the_end_is_left_out_and_the_ones_before_it_stay() {
        let mut bytes = note(b"CORE\0\0\0\0", 5, 1, b"abcd");
        bytes.extend(note(b"CORE\0\0\0\0", 5, 1, b"efgh"));
        for cut in 1..24 {
            let (found, whole) = notes(&bytes[..bytes.len() - cut]);
            assert_eq!(found.len(), 1, "{cut}");
            assert_eq!(whole, cut > 12, "{cut}");
        }
        let (found, whole) = notes(&[0xff; 64]);
        assert!(found.is_empty() && !whole);
    }

    #[test]
    fn an_empty_or_odd_application_hash_is_none() {
        let mut description = vec![2, 1, 0, 0];
        description.resize(72, 0);
        assert_eq!(info(&description), Some((0x102, None)));
        description[4..8].copy_from_slice(b"1B4c");
        assert_eq!(info(&description), Some((0x102, Some("1b4c".to_owned()))));
        description[5] = b'/';
        assert_eq!(info(&description), Some((0x102, None)));
    }

    #[test]
    fn exception_registers_are_named_and_empty_pairs_skipped() {
        let mut words = vec![0x3ffa_fba0, 232, 0x1d, 238, 4, 194, 7, 177, 8, 0, 0];
        words.resize(37, 0);
        words.push(1);
        let bytes: Vec<u8> = words
            .iter()
            .flat_map(|word: &u32| word.to_le_bytes())
            .collect();
        let (info, exception) = extra(Architecture::Xtensa, &bytes).unwrap();
        assert_eq!(info.isr_context, Some(true));
        let exception = exception.unwrap();
        assert_eq!((exception.cause, exception.address), (Some(0x1d), Some(4)));
        let names: Vec<_> = exception
            .registers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["exccause", "excvaddr", "eps2", "epc1"]);

        let (info, _) = extra(Architecture::Xtensa, &bytes[..148]).unwrap();
        assert_eq!(info.isr_context, None, "before IDF 5.2");
        let (info, exception) = extra(Architecture::RiscV, &0xdead_beef_u32.to_le_bytes()).unwrap();
        assert_eq!(
            (info.crashed_tcb, info.isr_context, exception),
            (None, None, None)
        );
    }
}
