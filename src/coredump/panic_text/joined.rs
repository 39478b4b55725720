//! Lines that a terminal broke at its edge, put together again.
//!
//! A broken line shows by what it lacks: an address has eight digits, a
//! register its value, a backtrace its next pair.

use super::fields::{self, is_address};

/// The lines of a panic's text, those that belong together as one.
pub(super) fn joined(text: &str) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        match whole
            .last_mut()
            .and_then(|last| glue(last, line).map(|glue| (last, glue)))
        {
            Some((last, glue)) if last.len() + line.len() <= LONGEST => {
                last.push_str(glue);
                last.push_str(line);
            }
            _ => whole.push(line.to_owned()),
        }
    }
    whole
}

/// What belongs between a line and the next one, if they are one.
fn glue(last: &str, next: &str) -> Option<&'static str> {
    let (held, wanted) = open_number(last);
    if let Some(wanted) = wanted {
        let digits = next.bytes().take_while(u8::is_ascii_hexdigit).count();
        let behind = next.get(digits..).unwrap_or_default();
        let ends = behind.is_empty() || behind.starts_with([' ', ':', '|']);
        // two frames without a blank between them
        let glued = digits == wanted + 1 && next.get(wanted..).is_some_and(|s| s.starts_with("0x"));
        return (digits == wanted && ends || glued).then_some("");
    }
    if held && next.starts_with('x') && last.ends_with('0') && !last.ends_with("0x") {
        let digits = next
            .bytes()
            .skip(1)
            .take_while(u8::is_ascii_hexdigit)
            .count();
        return (digits == ADDRESS).then_some("");
    }
    if last.starts_with("Backtrace:") {
        return backtrace(last, next);
    }
    let is_value = is_address(next.split_whitespace().next().unwrap_or_default());
    // a register's value, or the rest of a row of the stack
    if is_value && (last.ends_with(" :") || is_register(last) && last.ends_with(':')) {
        return Some(" ");
    }
    if is_value && row_words(last).is_some_and(|words| words < WORDS_IN_ROW) {
        return Some(" ");
    }
    // a register's name
    let first = next.split([' ', ':']).next().unwrap_or_default();
    let name = last.rsplit(' ').next().unwrap_or_default();
    if is_register(last) && is_register(next) && fields::is_register(&format!("{name}{first}")) {
        return Some("");
    }
    let first = next.split_once(' ').map_or(next, |(first, _)| first);
    if matches!(first, ":") && last.contains(": 0x") {
        return Some(" ");
    }
    None
}

fn backtrace(last: &str, next: &str) -> Option<&'static str> {
    let first = next.split_whitespace().next().unwrap_or_default();
    if last.ends_with(':') {
        let alone = last == "Backtrace:";
        return (is_address(first.split(':').next().unwrap_or_default())
            && (!alone || first.contains(':')))
        .then_some(if alone { " " } else { "" });
    }
    if let Some(second) = next.strip_prefix(":0x") {
        return second
            .starts_with(|c: char| c.is_ascii_hexdigit())
            .then_some("");
    }
    if first
        .split_once(':')
        .is_some_and(|(pc, sp)| is_address(pc) && sp.starts_with("0x"))
    {
        return Some(" ");
    }
    if let Some(at) = last.rfind('|') {
        let begun = last.get(at..)?;
        let goes_on = |mark: &str| mark.strip_prefix(begun) == Some(next) && !next.is_empty();
        return (goes_on(CORRUPTED) || goes_on(CONTINUES)).then_some("");
    }
    (next == CORRUPTED || next == CONTINUES).then_some(" ")
}

/// Whether `last` may end in a broken number; and how many digits it lacks, if
/// it certainly does.
fn open_number(last: &str) -> (bool, Option<usize>) {
    let Some(at) = last.rfind("0x") else {
        return (last.ends_with([' ', '0']), None);
    };
    let digits = last.get(at + 2..).unwrap_or_default();
    let is_open = digits.len() < ADDRESS && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_open {
        return (last.ends_with(" 0") || last.ends_with(":0"), None);
    }
    (true, Some(ADDRESS - digits.len()))
}

fn is_register(line: &str) -> bool {
    line.contains(" : 0x") || line.contains(": 0x")
}

/// How many words a row of stack memory has.
fn row_words(line: &str) -> Option<usize> {
    let (address, words) = line.split_once(": 0x")?;
    let hex = address.len() == ADDRESS && address.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| 1 + words.matches("0x").count())
}

/// How the device marks a backtrace that it could not finish.
pub(super) const CORRUPTED: &str = "|<-CORRUPTED";
pub(super) const CONTINUES: &str = "|<-CONTINUES";
const ADDRESS: usize = 8;
const WORDS_IN_ROW: usize = 8;
const LONGEST: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 6] = [
        "Guru Meditation Error: Core  1 panic'ed (StoreProhibited). Exception was unhandled.",
        "PC      : 0x400d1a3f  PS      : 0x00060b30  A0      : 0x800d66d1  A1      : 0x3ffb4f70",
        "EXCVADDR: 0x00000004  LBEG    : 0x4000c2e0  LEND    : 0x4000c2f6  LCOUNT  : 0x00000000",
        "3fc94a30: 0x42001640 0x00000000 0x42001640 0x00000000 0x42001640 0x00000000 0x3fc94a50 0xa5a5a5a5",
        "Backtrace: 0x400d14fd:0x3ffb4f70 0x400d66ce:0x3ffb4f90 0x400d7a12:0x3ffb4fb0 |<-CORRUPTED",
        "ELF file SHA256: 1b43c5e74",
    ];

    fn same_words(one: &[String], other: &[&str]) -> bool {
        let words = |line: &str| line.replace(' ', "");
        // the first line has no addresses that would show where it was broken
        let one: String = one.iter().map(|line| words(line) + "\n").collect();
        let other: String = other.iter().map(|line| words(line) + "\n").collect();
        one.ends_with(&other)
    }

    #[test]
    fn lines_that_were_broken_at_any_width_are_one_again() {
        for width in 40..110 {
            let broken: Vec<String> = LINES
                .iter()
                .flat_map(|line| line.as_bytes().chunks(width))
                .map(|piece| String::from_utf8(piece.to_vec()).unwrap())
                .collect();
            let whole = joined(&broken.join("\n"));
            assert!(same_words(&whole, &LINES[3..]), "{width}: {whole:#?}");
        }
    }

    #[test]
    fn whole_lines_stay_apart() {
        let text = LINES.join("\n");
        assert_eq!(joined(&text), LINES);
        for text in [
            "Backtrace: 0x400d14fd:0x3ffb4f70\n0x400d1500: app_main at main.c:3",
            "Backtrace:\n0x42001234\n0x42005678",
            "A10     : 0x3ffb9980\nCore 1",
            "abort() was called at PC 0x400d1234 on core 0\nRebooting...",
        ] {
            assert_eq!(joined(text), text.lines().collect::<Vec<_>>(), "{text}");
        }
    }
}
