//! Text that carries dumps: base64 on its own, or a console log in which
//! dumps stand between ESP-IDF's two marker lines.

use std::ops::Range;

use memchr::memmem;

use super::base64_text::{self, Decoded};
use super::binary::binary;
use super::found::Found;
use super::{Container, Dump, Examination, Verdict, panic_text};

/// Every dump in a console log, in order of appearance, also those that are
/// damaged or cut off. Nothing, if there is no marker line.
pub fn dumps_in_log(log: &[u8]) -> impl Iterator<Item = (Examination, Option<Dump>)> + '_ {
    captures(log)
        .into_iter()
        .map(|capture| between_markers(log, &capture).into_parts())
}

/// The best that text gives: the last whole dump of a log, else its least
/// damaged one, else base64 alone, else a printed panic.
pub(super) fn text(bytes: &[u8]) -> Option<Found> {
    let captures = captures(bytes);
    if captures.is_empty() {
        return base64_alone(bytes).or_else(|| panic(bytes));
    }
    let mut best: Option<Found> = None;
    for capture in captures.iter().rev() {
        let found = between_markers(bytes, capture);
        let better = best
            .as_ref()
            .is_none_or(|best| found.verdict.rank() > best.verdict.rank());
        let whole = found.verdict.is_whole();
        if better {
            best = Some(found);
        }
        if whole {
            break;
        }
    }
    best
}

/// What lies between a START line and the END line (or next START, or end of
/// the log) that follows it.
struct Capture {
    lines: Range<usize>,
    ended: bool,
}

fn captures(log: &[u8]) -> Vec<Capture> {
    // most bodies are no text at all, and need not be cut into lines
    if memmem::find(log, b"CORE DUMP").is_none() {
        return Vec::new();
    }
    let mut captures = Vec::new();
    let mut open: Option<usize> = None;
    let mut at = 0;
    for line in log.split_inclusive(|b| *b == b'\n') {
        let after = at + line.len();
        let start = contains(line, START);
        let end = contains(line, END);
        if start || end {
            captures.extend(open.take().map(|from| Capture {
                lines: from..at,
                ended: end,
            }));
        }
        if start {
            open = Some(after);
        }
        at = after;
    }
    captures.extend(open.map(|from| Capture {
        lines: from..log.len(),
        ended: false,
    }));
    captures
}

fn contains(line: &[u8], marker: &[u8]) -> bool {
    memmem::find(line, marker).is_some()
}

fn between_markers(log: &[u8], capture: &Capture) -> Found {
    let lines = log.get(capture.lines.clone()).unwrap_or_default();
    let decoded = base64_text::decode(lines);
    let mut found = binary(&decoded.bytes);
    if found.verdict == Verdict::NotACoredump {
        found.verdict = Verdict::Truncated;
        found.problems = vec!["the dump's beginning is not in the log".to_owned()];
    }
    found.container = Some(Container::Console);
    note_damage(&mut found, &decoded);
    if !found.verdict.is_whole() && !capture.ended {
        found.problem("the log does not go on to the dump's end".to_owned());
    }
    found
}

/// Text that is nothing but base64, save for some damaged lines.
fn base64_alone(bytes: &[u8]) -> Option<Found> {
    if bytes.contains(&0) {
        return None;
    }
    let decoded = base64_text::decode(bytes);
    if decoded.good_lines <= decoded.bad_lines {
        return None;
    }
    let mut found = binary(&decoded.bytes);
    if found.verdict == Verdict::NotACoredump {
        return None;
    }
    found.container = Some(Container::Base64);
    note_damage(&mut found, &decoded);
    Some(found)
}

fn note_damage(found: &mut Found, decoded: &Decoded) {
    if decoded.bad_lines > 0 && !found.verdict.is_whole() {
        found.problem(match decoded.bad_lines {
            1 => "a line is not base64".to_owned(),
            lines => format!("{lines} lines are not base64"),
        });
    }
}

fn panic(bytes: &[u8]) -> Option<Found> {
    if !is_text(bytes) {
        return None;
    }
    let printed = panic_text::parse(bytes)?;
    let mut found = Found::new(Verdict::PanicOnly, Container::Console);
    found.format = Some(super::PayloadFormat::PanicText);
    found.problem("there is a printed panic and no dump".to_owned());
    for problem in &printed.problems {
        found.problem(problem.clone());
    }
    found.chip = printed.chip;
    found.dump = Some(printed);
    Some(found)
}

/// Consoles are text, save for some noise; panic texts also lie in memory dumps.
fn is_text(bytes: &[u8]) -> bool {
    let odd = |b: &&u8| !matches!(**b, b'\t' | b'\r' | b'\n' | 0x1b | b' '..=b'~');
    bytes.iter().filter(odd).count() <= bytes.len() / 8
}

const START: &[u8] = b"CORE DUMP START";
const END: &[u8] = b"CORE DUMP END";
