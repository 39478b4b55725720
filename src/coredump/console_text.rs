//! Text that carries crashes: a console's log, read as a console is, or base64
//! on its own.

use memchr::memmem;

use crate::console::{self, Event, Recording};

use super::base64_text::{self, Decoded};
use super::binary::binary;
use super::found::Found;
use super::wrapping::unwrap;
use super::{Container, Dump, Examination, PayloadFormat, Verdict, panic_text};

/// A log, read piece by piece: its crashes in order, one for each panic and
/// each dump; a panic and the dump that follows it are one.
#[derive(Default)]
pub struct Crashes {
    recording: Recording,
}

impl Crashes {
    /// Takes the next bytes; answers with the crashes that ended in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<(Examination, Option<Dump>)> {
        parts(self.recording.feed(bytes))
    }

    /// The log ends here.
    pub fn finish(self) -> Vec<(Examination, Option<Dump>)> {
        parts(self.recording.finish())
    }
}

fn parts(events: Vec<Event>) -> Vec<(Examination, Option<Dump>)> {
    let found = events.into_iter().filter_map(crash);
    found.map(Found::into_parts).collect()
}

/// Whether the beginning of a long file is a console's log.
pub fn is_log(head: &[u8]) -> bool {
    let sample = head.get(..SAMPLE).unwrap_or(head);
    let decoded = base64_text::decode(sample);
    let is_one_text = decoded.good_lines > FEW * decoded.bad_lines || unwrap(sample).is_some();
    binary(head).verdict == Verdict::NotACoredump && is_text(head) && !is_one_text
}

/// What there is to say of a log without a crash.
pub fn no_crash() -> Examination {
    let (mut examination, _) = Found::nothing("no crash found in this log").into_parts();
    examination.crashes = Some(0);
    examination
}

/// All crashes in a log, in order.
pub(super) fn crashes_in(log: &[u8]) -> Vec<(Examination, Option<Dump>)> {
    found_in(log).into_iter().map(Found::into_parts).collect()
}

fn found_in(log: &[u8]) -> Vec<Found> {
    let mut recording = Recording::default();
    let mut events = recording.feed(log);
    events.extend(recording.finish());
    events.into_iter().filter_map(crash).collect()
}

fn crash(event: Event) -> Option<Found> {
    match event {
        Event::Dump(dump) => Some(captured(&dump)),
        Event::Panic(panic) => Some(printed(&panic)),
        _ => None,
    }
}

/// Base64 on its own, if that is what the text is.
pub(super) fn base64(bytes: &[u8]) -> Option<Found> {
    let marked = memmem::find(bytes, START).is_some();
    (!marked && is_text(bytes)).then(|| base64_alone(bytes, FEW))?
}

/// The crash that a log tells of.
pub(super) fn log(bytes: &[u8]) -> Option<Found> {
    let marked = memmem::find(bytes, START).is_some();
    if !marked && !is_text(bytes) && !has_panic_line(bytes) {
        return None;
    }
    let crashes = found_in(bytes);
    let count = crashes.len();
    let last =
        crashes
            .into_iter()
            .reduce(|held, next| match replaces(next.verdict, held.verdict) {
                true => next,
                false => held,
            });
    if let Some(mut last) = last {
        last.crashes = Some(count);
        return Some(last);
    }
    if marked && begins_a_dump(bytes) {
        let mut found = Found::new(Verdict::Truncated, Container::Console);
        found.problem("start of the dump missing from the log".to_owned());
        return Some(found);
    }
    base64_alone(bytes, 1)
}

/// Whether a log is represented by a crash with verdict `next` rather than by
/// the one before it: by the last one, but by no damaged dump if there is a
/// better one.
pub fn replaces(next: Verdict, held: Verdict) -> bool {
    next.is_whole() || next == Verdict::PanicOnly || next.rank() >= held.rank()
}

/// A dump as the console captured it.
fn captured(dump: &console::Dump) -> Found {
    let mut found = binary(&dump.bytes);
    if found.verdict == Verdict::NotACoredump {
        found.verdict = Verdict::Truncated;
        found.problems = vec!["start of the dump missing from the log".to_owned()];
    }
    found.container = Some(Container::Console);
    if !found.verdict.is_whole() {
        for problem in &dump.problems {
            found.problem(problem.clone());
        }
    }
    let text = dump.panic.as_deref().unwrap_or_default();
    found.beside = Some(panic_text::read(text, &dump.boot));
    found
}

fn printed(panic: &console::Panic) -> Found {
    let printed = panic_text::read(&panic.text, &panic.boot);
    let mut found = Found::new(Verdict::PanicOnly, Container::Console);
    found.format = Some(PayloadFormat::PanicText);
    if panic.text.contains("#CD:") {
        found.format = Some(PayloadFormat::Zephyr);
        found.problem("contains a Zephyr coredump, which is stored but not decoded".to_owned());
    } else {
        found.problem("panic text only, no dump".to_owned());
    }
    for problem in panic.problems.iter().chain(&printed.problems) {
        found.problem(problem.clone());
    }
    found.chip = printed.chip;
    found.dump = Some(printed);
    found
}

/// Whether the marker of ESP-IDF stands in the log, not a title like it.
fn begins_a_dump(log: &[u8]) -> bool {
    let before = |at: usize| log.get(..at).unwrap_or_default();
    memmem::find_iter(log, START).any(|at| before(at).ends_with(b"= "))
}

/// Text that is base64, save for one damaged line in `share` or fewer.
fn base64_alone(bytes: &[u8], share: usize) -> Option<Found> {
    if bytes.contains(&0) {
        return None;
    }
    let decoded = base64_text::decode(bytes);
    if decoded.good_lines <= decoded.bad_lines * share {
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
            1 => "1 line is not base64".to_owned(),
            lines => format!("{lines} lines are not base64"),
        });
    }
}

/// Whether a line begins with a panic's words: frames of a binary log may be
/// most of what a console printed.
fn has_panic_line(bytes: &[u8]) -> bool {
    [
        &b"Guru Meditation Error: Core "[..],
        b"====================== PANIC ",
        b"abort() was called at PC 0x",
    ]
    .iter()
    .flat_map(|words| memmem::find_iter(bytes, words))
    .any(|at| {
        at.checked_sub(1)
            .is_some_and(|before| bytes.get(before) == Some(&b'\n'))
    })
}

/// Consoles are text in some script, save for some noise; panic texts also lie
/// in memory dumps.
fn is_text(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    if zeros * 5 > bytes.len() * 2 && zeros * 2 <= bytes.len() + 2 {
        // UTF-16 without its mark
        return bytes.len() >= 16;
    }
    let control = |b: &&u8| matches!(**b, 0..0x20 | 0x7f) && !b"\t\r\n\x1b".contains(b);
    let odd = bytes.iter().filter(control).count();
    let invalid: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    odd + invalid <= bytes.len() / 8 || zeros > 0 && console::is_utf16(bytes)
}

const START: &[u8] = b"CORE DUMP START";
/// So much of a long file tells what it is.
const SAMPLE: usize = 64 << 10;
/// One damaged line in so many does not make base64 a log.
const FEW: usize = 8;
