//! What the worker needs of a report, and says of it.

use crate::crashes::has_gateway_client;
use crate::decode::child::is_elf_not_used;
use crate::decode::report::{Match, Report, Task};
use crate::decode::text::is_system;
use crate::signature::Signature;

/// The fields of a report needed here.
pub(super) struct Summary {
    /// How sure it is that the ELF fits: 2 exact, 1 unverified, 0 without.
    pub(super) strength: u8,
    pub(super) has_tasks: bool,
    pub(super) words: String,
    /// The first place in the application's own code.
    pub(super) place: Option<String>,
    pub(super) signature: Option<Signature>,
    /// Whether the blamed stack has functions of the client that talks to the gateway.
    pub(super) gateway_client: bool,
}

impl Summary {
    pub(super) fn of(report: &Report) -> Self {
        Self {
            strength: match report.app.matched {
                Match::Exact => 2,
                Match::Unverified => 1,
                Match::Mismatch | Match::None => 0,
            },
            has_tasks: !report.tasks.is_empty(),
            words: words(report),
            place: place(report),
            signature: report.signature.clone(),
            gateway_client: has_gateway_client(blamed_functions(report)),
        }
    }
}

/// The functions of the stack that the signature blames, else of the crashed task.
fn blamed_functions(report: &Report) -> impl Iterator<Item = &str> {
    let blamed = report
        .signature
        .as_ref()
        .and_then(|signature| signature.task.as_deref());
    let is_blamed = |task: &&Task| blamed.is_some() && task.name.as_deref() == blamed;
    let tasks = || report.tasks.iter();
    let task = tasks()
        .find(is_blamed)
        .or_else(|| tasks().find(|task| task.crashed));
    let frames = task.into_iter().flat_map(|task| &task.backtrace);
    frames.filter_map(|frame| frame.function.as_deref())
}

/// A report in one line: the reason, and the first place in the application's
/// own code.
fn words(report: &Report) -> String {
    if report.tasks.is_empty() {
        let problem = report.problems.first().map_or("", String::as_str);
        return format!("unreadable ({}): {problem}", report.verdict);
    }
    let reason = [&report.panic.reason, &report.panic.cause]
        .into_iter()
        .find_map(|reason| reason.as_deref())
        .unwrap_or("unknown reason");
    let Some(place) = place(report) else {
        let problem = report.problems.iter().find(|why| is_elf_not_used(why));
        let why = problem.map_or("no ELF of this build stored", String::as_str);
        return format!("{reason} ({why})");
    };
    let unverified = match report.app.matched {
        Match::Unverified => " (unverified ELF)",
        _ => "",
    };
    format!("{reason}, in {place}{unverified}")
}

/// The first frame in the application's own code, else the first that is known:
/// `fail_once at main.c:42`.
fn place(report: &Report) -> Option<String> {
    let frames = report.tasks.iter().take(1).flat_map(|task| &task.backtrace);
    let named = || {
        frames
            .clone()
            .filter(|frame| frame.function.is_some() && frame.file.is_some())
    };
    let place = named()
        .find(|frame| !is_system(frame, report.app.sdk_root.as_deref()))
        .or_else(|| named().next())?;
    let file = place.file.as_deref().unwrap_or_default();
    Some(format!(
        "{} at {}:{}",
        place.function.as_deref().unwrap_or_default(),
        file.rsplit('/').next().unwrap_or(file),
        place.line.unwrap_or(0),
    ))
}
