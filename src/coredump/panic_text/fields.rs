//! The fields of a panic's lines, one form at a time.

/// Pairs of a backtrace: program counter, and stack pointer where it is printed.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Frames {
    pub(super) pairs: Vec<(u32, Option<u32>)>,
    /// The text ends in the middle of an address.
    pub(super) is_cut: bool,
}

impl Frames {
    /// Reads `0x400d2e3a:0x3ffb12c0 0x400d6f01:0x3ffb1300`. The blank between
    /// two of them may be missing: an address has at most eight digits.
    pub(super) fn of(text: &str) -> Self {
        let mut frames = Self::default();
        let mut rest = text.trim();
        while let Some((pc, after)) = address(rest) {
            let (sp, after) = match after.strip_prefix(':').map(address) {
                Some(Some((sp, after))) => (Some(sp), after),
                Some(None) => {
                    frames.is_cut = true;
                    break;
                }
                None => (None, after),
            };
            frames.pairs.push((pc, sp));
            rest = after.trim_start();
        }
        let paired = frames.pairs.iter().any(|(_, sp)| sp.is_some());
        if paired && frames.pairs.last().is_some_and(|(_, sp)| sp.is_none()) {
            frames.pairs.pop();
            frames.is_cut = true;
        }
        frames.is_cut |= paired && (rest == "0" || rest == "0x");
        frames
    }
}

fn address(text: &str) -> Option<(u32, &str)> {
    let digits = text.strip_prefix("0x")?;
    let count = digits
        .bytes()
        .take_while(u8::is_ascii_hexdigit)
        .count()
        .min(8);
    let (number, rest) = digits.split_at_checked(count)?;
    Some((u32::from_str_radix(number, 16).ok()?, rest))
}

/// A number such as `0x3fc8ea70`, perhaps with a comma or a colon behind it.
pub(super) fn hex(word: &str) -> Option<u32> {
    let digits = word.trim_end_matches([',', ':']).strip_prefix("0x")?;
    u32::from_str_radix(digits, 16).ok()
}

/// Whether `word` is an address, all eight digits of it.
pub(super) fn is_address(word: &str) -> bool {
    word.strip_prefix("0x")
        .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The application's ELF hash, as far as a line gives it.
pub(super) fn hash(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("ELF file SHA256:")?;
    let digits = rest.trim_start();
    let end = digits
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(digits.len());
    let digits = digits.get(..end.min(64))?;
    (!digits.is_empty()).then(|| digits.to_ascii_lowercase())
}

/// Whether a hash says that there is none.
pub(in crate::coredump) fn is_no_hash(hash: &str) -> bool {
    hash.bytes().all(|digit| digit == b'0')
}

/// `Core  0 register dump:` and `Register dump:`; which core, if that is told.
pub(super) fn register_heading(line: &str) -> Option<Option<u32>> {
    if line == "Register dump:" {
        return Some(None);
    }
    let (core, rest) = line.strip_prefix("Core ")?.trim_start().split_once(' ')?;
    rest.starts_with("register dump:")
        .then(|| core.parse().ok())
}

/// Names and values such as `PC      : 0x400d1500  PS      : 0x00060b30`.
pub(super) fn registers(line: &str) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut name = "";
    for word in line
        .split([' ', '\t', '=', ',', '{', '}'])
        .filter(|word| !word.is_empty())
    {
        let (word, value) = match word.split_once(":0x") {
            Some((word, digits)) => (word, u32::from_str_radix(digits, 16).ok()),
            None => (word, hex(word)),
        };
        if let Some(value) = value {
            let before = if word.starts_with("0x") { name } else { word };
            let upper = before.trim_end_matches(':').to_ascii_uppercase();
            if is_register(&upper) {
                found.push((upper, value));
            }
            name = "";
        } else if word != ":" {
            name = word;
        }
    }
    found
}

/// Whether a panic prints a register of this name.
pub(super) fn is_register(name: &str) -> bool {
    NAMES.contains(&name) || is_numbered(name)
}

/// `A0`, `S11`, `T6`, `EPC4`.
fn is_numbered(name: &str) -> bool {
    ["A", "S", "T", "EPC", "EPS"].iter().any(|letter| {
        let digits = name.strip_prefix(letter).unwrap_or_default();
        !digits.is_empty() && digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

/// The core that a panic names: `Core  1 panic'ed`, `on core 0`, `CPU 1`.
pub(super) fn core(words: &str) -> Option<u32> {
    let after = |text: &str| {
        let (_, rest) = words.split_once(text)?;
        let digits = rest.trim_start();
        let one = digits.chars().next()?.to_digit(10)?;
        let more = digits.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
        (!more).then_some(one)
    };
    if words.starts_with("Guru Meditation Error: Core ") {
        return after("Core ");
    }
    let rust = || match words {
        _ if words.contains("ProCpu '") => Some(0),
        _ if words.contains("AppCpu '") => Some(1),
        _ => None,
    };
    after(" on core ")
        .or_else(|| after("CPU exception on CPU "))
        .or_else(rust)
}

/// The task that a line names.
pub(super) fn task(line: &str) -> Option<String> {
    let from = |before: &str, after: &str| {
        let (_, rest) = line.split_once(before)?;
        let (name, _) = rest.split_once(after)?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty() && name.len() <= 32)
    };
    from("stack overflow in task ", " has been detected")
        .or_else(|| {
            // a name may have parentheses itself
            let (_, rest) = line.split_once("Stack canary watchpoint triggered (")?;
            let (name, _) = rest.rsplit_once(')')?;
            Some(name.trim().to_owned()).filter(|name| !name.is_empty() && name.len() <= 32)
        })
        .or_else(|| from("Detected in task \"", "\""))
        .or_else(|| {
            let (_, thread) = line.split_once("Current thread: ")?;
            let (_, name) = thread.split_once('(')?;
            let name = name.trim().strip_suffix(')')?;
            (!name.is_empty() && name != "unknown").then(|| name.to_owned())
        })
        .or_else(|| {
            let (name, behind) = line.strip_prefix("thread '")?.split_once('\'')?;
            let named = behind.contains(" panicked at ") && name != "<unnamed>";
            (named && !name.is_empty() && name.len() <= 32).then(|| name.to_owned())
        })
}

const NAMES: &[&str] = &[
    "PC", "PS", "SAR", "EXCCAUSE", "EXCVADDR", "LBEG", "LEND", "LCOUNT", "MEPC", "RA", "SP", "GP",
    "TP", "S0/FP", "MSTATUS", "MTVEC", "MCAUSE", "MTVAL", "MHARTID",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_with_and_without_blanks_and_stack_pointers() {
        let both = vec![
            (0x400d_2e3a, Some(0x3ffb_12c0)),
            (0x400d_6f01, Some(0x3ffb_1300)),
        ];
        for (text, pairs, is_cut) in [
            (
                " 0x400d2e3a:0x3ffb12c0 0x400d6f01:0x3ffb1300",
                both.clone(),
                false,
            ),
            (
                "0x400d2e3a:0x3ffb12c00x400d6f01:0x3ffb1300",
                both.clone(),
                false,
            ),
            (
                "0x400D2E3A:0x3FFB12C0 0x400D6F01:0x3FFB1300 |<-CORRUPTED",
                both.clone(),
                false,
            ),
            (
                "0x400d2e3a:0x3ffb12c0 0x400d6f01:0x3ffb1300 0x4",
                both.clone(),
                true,
            ),
            (
                "0x400d2e3a:0x3ffb12c0 0x400d6f01:0x3ffb1300 0x400d7a12:",
                both,
                true,
            ),
            (
                "0x42001234 0x42005678",
                vec![(0x4200_1234, None), (0x4200_5678, None)],
                false,
            ),
            ("0x1:0x2", vec![(1, Some(2))], false),
            ("soon", vec![], false),
        ] {
            assert_eq!(Frames::of(text), Frames { pairs, is_cut }, "{text}");
        }
    }

    #[test]
    fn registers_are_read_in_every_form() {
        for (line, expected) in [
            (
                "PC      : 0x400d1500  A10     : 0x00000001",
                vec![("PC", 0x400d_1500), ("A10", 1)],
            ),
            (
                "S0/FP   : 0x00000004  T3: 0x00000002",
                vec![("S0/FP", 4), ("T3", 2)],
            ),
            (
                "PC=0x400d1500       PS=0x00060530",
                vec![("PC", 0x400d_1500), ("PS", 0x60530)],
            ),
            (
                "TrapFrame { ra: 0x42001234, t0: 0x1 }",
                vec![("RA", 0x4200_1234), ("T0", 1)],
            ),
            ("height : 0x12  PC", vec![]),
        ] {
            let found = registers(line);
            let found: Vec<(&str, u32)> = found.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn the_core_and_the_task_are_named_in_many_ways() {
        for (line, expected) in [
            (
                "Guru Meditation Error: Core  1 panic'ed (Interrupt wdt timeout on CPU0)",
                Some(1),
            ),
            (
                "Guru Meditation Error: Core  / panic'ed (Cache error)",
                None,
            ),
            (
                "Guru Meditation Error of type LoadProhibited occurred on core  1. X",
                Some(1),
            ),
            ("abort() was called at PC 0x400d1234 on core 0", Some(0)),
            ("Exception occurred on AppCpu 'LoadProhibited'", Some(1)),
        ] {
            assert_eq!(core(line), expected, "{line}");
        }
        for (line, expected) in [
            (
                "***ERROR*** A stack overflow in task main has been detected.",
                "main",
            ),
            (
                "Debug exception reason: Stack canary watchpoint triggered (ipc0) ",
                "ipc0",
            ),
            (
                "Debug exception reason: Stack canary watchpoint triggered (net(2)) ",
                "net(2)",
            ),
            ("Detected in task \"mqtt pump\" at 0x4200c4a2", "mqtt pump"),
            ("Current thread: 0x3ffb1d10 (shell_uart)", "shell_uart"),
            ("thread 'pump' panicked at src/main.rs:1:2:", "pump"),
            (
                "thread 'pump' (1073490112) panicked at src/main.rs:1:2:",
                "pump",
            ),
        ] {
            assert_eq!(task(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn hashes_end_where_their_digits_do() {
        for (line, expected) in [
            ("ELF file SHA256: 1b43c5e74", Some("1b43c5e74")),
            (
                "I (3009) cpu_start: ELF file SHA256:  1B43c5e74...",
                Some("1b43c5e74"),
            ),
            ("ELF file SHA256: ", None),
        ] {
            assert_eq!(hash(line).as_deref(), expected, "{line}");
        }
    }
}
