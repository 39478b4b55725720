//! What became of each frame, and why there is no signature if there is none.

use std::borrow::Cow;

use super::blame::{Blame, is_idle};
use super::cut::Part;
use super::judge::{Judged, Kind};
use super::{Crash, FrameVerdict, Task, Verdict};

type Rule = Option<Cow<'static, str>>;

/// The verdict on each frame of `task`. `chosen` are the numbers of those in the
/// signature.
pub(super) fn explain(
    task: &Task<'_>,
    frames: &[Judged],
    part: &Part,
    chosen: &[usize],
) -> Vec<FrameVerdict> {
    let cut = cut_away(frames);
    let all = frames.iter().zip(&task.frames).zip(cut).enumerate();
    let verdicts = all.map(|(number, ((frame, source), cut))| {
        let (verdict, rule) = match chosen.contains(&number) {
            true => (in_signature(frame), frame.rule.clone()),
            false if part.frames.contains(&number) => left_out(frame),
            false if cut => (Verdict::Cut, Some(cut_rule(frame))),
            false => not_looked_at(frame, number < part.frames.start),
        };
        FrameVerdict {
            function: (!frame.name.is_empty()).then(|| frame.name.clone()),
            file: source.file.map(str::to_owned),
            verdict,
            rule: rule.map(Cow::into_owned),
        }
    });
    verdicts.collect()
}

/// Which frames are of a panic itself: throw frames, and what they called.
fn cut_away(frames: &[Judged]) -> Vec<bool> {
    let mut cut = vec![false; frames.len()];
    let mut thrown = false;
    let mut below: Option<&Judged> = None;
    for (frame, cut) in frames.iter().zip(&mut cut).rev() {
        let other_context = below.is_some_and(|below| below.interrupted != frame.interrupted);
        thrown &= !other_context && frame.kind != Kind::Interrupt;
        thrown |= frame.kind == Kind::Throw;
        *cut = thrown;
        below = Some(frame);
    }
    cut
}

fn in_signature(frame: &Judged) -> Verdict {
    match frame.kind {
        Kind::Prefix => Verdict::Prefix,
        _ => Verdict::Application,
    }
}

fn cut_rule(frame: &Judged) -> Cow<'static, str> {
    match (&frame.rule, frame.kind) {
        (Some(rule), Kind::Throw) => rule.clone(),
        _ => "called by a frame of the panic".into(),
    }
}

/// A frame of the part that counts which is not in the signature.
fn left_out(frame: &Judged) -> (Verdict, Rule) {
    match frame.kind {
        Kind::Application => (Verdict::NotTaken, Some("the class takes no more".into())),
        _ => by_kind(frame),
    }
}

/// A frame outside the part that counts.
fn not_looked_at(frame: &Judged, above: bool) -> (Verdict, Rule) {
    match (frame.kind, above) {
        (Kind::Interrupt | Kind::Rom | Kind::Guessed | Kind::Unnamed, _) => by_kind(frame),
        (_, true) => (Verdict::NotTaken, Some("of the interrupt".into())),
        (_, false) => (
            Verdict::NotTaken,
            Some("the interrupt broke into it".into()),
        ),
    }
}

fn by_kind(frame: &Judged) -> (Verdict, Rule) {
    let verdict = match frame.kind {
        Kind::Base => Verdict::Base,
        Kind::Skip | Kind::Interrupt => Verdict::Skipped,
        Kind::Throw => Verdict::Cut,
        Kind::Rom => Verdict::Rom,
        Kind::Guessed => Verdict::Guessed,
        Kind::Unnamed => Verdict::Unnamed,
        Kind::Prefix | Kind::Application | Kind::Repeated => Verdict::NotTaken,
    };
    (verdict, frame.rule.clone())
}

/// Why a crash with these frames of the blamed task has no signature.
pub(super) fn why_none(crash: &Crash<'_>, blame: &Blame<'_, '_>, frames: &[Judged]) -> String {
    if let Some(why) = crash.no_tasks.filter(|_| crash.tasks.is_empty()) {
        return why.to_owned();
    }
    let name = blame.task.and_then(|task| task.name);
    let task = match name {
        Some(name) => format!("task {name}"),
        None => "the crashed task".to_owned(),
    };
    if frames.is_empty() {
        return format!("no backtrace of {task}");
    }
    let nameless = |frame: &Judged| frame.name.is_empty() || frame.kind == Kind::Rom;
    if let Some(why) = crash.no_symbols.filter(|_| frames.iter().all(nameless)) {
        return format!("no symbols ({why})");
    }
    if name.is_some_and(is_idle) {
        return "idle: nothing to blame here".to_owned();
    }
    format!("no function of the application or the SDK in the backtrace of {task}")
}
