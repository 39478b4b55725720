//! The signature of a report: a report holds all that it takes, so that signatures
//! can be made anew without the dump.

use crate::device::{Architecture, Chip};
use crate::signature::{self, Crash, Frame, Lists, Outcome, Task};

use super::causes;
use super::child::is_elf_not_used;
use super::report::{self, Match, Report};

/// The signature of the crash that `report` is of. `model` is the device's, or empty.
pub fn of_report(report: &Report, model: &str, lists: &Lists) -> Outcome {
    let root = match &report.app.sdk_root {
        Some(root) => Some(root.clone()),
        None => root_by_frames(report),
    };
    let printed_only = report.image.format.as_deref() == Some(PRINTED);
    let from_console = !printed_only && is_from_console(report);
    let panic = &report.panic;
    let words = panic.reason.as_deref().unwrap_or_default();
    let no_symbols = no_symbols(report);
    let no_tasks = format!("unreadable ({})", report.verdict);
    let crash = Crash {
        model,
        words: if from_console { "" } else { words },
        cause: match from_console {
            true => cause_by_number(report),
            false => panic.cause.as_deref(),
        },
        in_interrupt: panic.in_isr == Some(true) && !from_console,
        printed_only,
        sdk_root: root.as_deref(),
        tasks: report.tasks.iter().map(task).collect(),
        no_symbols: no_symbols.as_deref(),
        no_tasks: Some(&no_tasks),
    };
    signature::sign(&crash, lists)
}

/// Makes the signature of `report` and puts it there.
pub fn put(report: &mut Report, model: &str, lists: &Lists) {
    let outcome = of_report(report, model, lists);
    report.signature = outcome.signature;
    report.signature_reason = outcome.why_none;
}

/// Whether the panic's words are not the dump's own: with a cable they are there, without
/// one they are not, which must not make two crashes of one.
fn is_from_console(report: &Report) -> bool {
    match report.panic.reason_source.as_deref() {
        Some(source) => source == CONSOLE,
        // an older report does not say, but dumps never hold this line
        None => {
            let words = report.panic.reason.as_deref();
            words.is_some_and(|words| words.contains("Guru Meditation"))
        }
    }
}

fn cause_by_number(report: &Report) -> Option<&'static str> {
    let name = report.image.chip.as_deref()?;
    let chip = Chip::ALL.iter().find(|chip| chip.name() == name)?;
    let architecture: Architecture = chip.architecture();
    Some(causes::cause(architecture, report.panic.cause_number?)?.name)
}

fn task(task: &report::Task) -> Task<'_> {
    Task {
        name: task.name.as_deref(),
        crashed: task.crashed,
        frames: task.backtrace.iter().map(frame).collect(),
    }
}

fn frame(frame: &report::Frame) -> Frame<'_> {
    Frame {
        function: frame.function.as_deref(),
        file: frame.file.as_deref(),
        rom: frame.rom,
        guessed: frame.guessed,
        // older reports do not say: with an ELF only confirmed frames were kept
        validated: frame.validated.unwrap_or(frame.function.is_some()),
        interrupted: frame.interrupted,
    }
}

/// The SDK's folder as the frames of older reports show it.
fn root_by_frames(report: &Report) -> Option<String> {
    let frames = report.tasks.iter().flat_map(|task| &task.backtrace);
    let mut files = frames.filter_map(|frame| frame.file.as_deref());
    files.find_map(signature::root_in)
}

fn no_symbols(report: &Report) -> Option<String> {
    let unused = report
        .problems
        .iter()
        .find(|problem| is_elf_not_used(problem));
    Some(match (report.app.matched, unused) {
        (Match::None, Some(problem)) => problem.clone(),
        (Match::None, None) => "no ELF of this build".to_owned(),
        (Match::Mismatch, _) => "the ELF is of another build".to_owned(),
        (Match::Exact | Match::Unverified, _) => return None,
    })
}

/// Where a panic's words come from.
pub(super) const CONSOLE: &str = "console";
pub(super) const DUMP: &str = "dump";
/// The format of a panic that was printed, without a dump.
const PRINTED: &str = "panic-text";
