//! The signature of a crash: what stays the same across builds, boards and chips
//! of a model, so that one bug is one line.
//!
//! [`sign`] goes through the steps below, each a file and a pure function. The lists
//! that it consults are in [`lists`]; what it decided about each frame, and by which
//! entry, is the [`Explanation`].
//!
//! ```text
//! names     a frame's function without arguments, templates, clone suffixes
//! judge     what kind of frame it is: throw, interrupt, base, skip, prefix, application
//! words     what a panic said, taken apart
//! class     what kind of crash it is
//! blame     which task's frames count
//! cut       away with the panic's own frames and, if so, what an interrupt broke into
//! take      the frames that count
//! text      one line, and the hashes
//! explain   what became of each frame
//! ```

mod blame;
mod class;
mod cut;
mod explain;
mod glob;
mod judge;
pub mod lists;
mod names;
mod outcome;
mod sdk;
mod take;
#[cfg(test)]
mod tests;
mod text;
mod words;

pub use judge::{Lists, check_entry};
pub use outcome::{Explanation, FrameVerdict, Outcome, Quality, Signature, Verdict};
pub use sdk::{is_sdk, root_in};

use std::ptr;

use blame::Blame;
use class::Class;
use cut::Part;
use judge::Judged;

/// The name of the algorithm.
pub const ALGORITHM: &str = "s1";

/// A crash as far as its signature needs it.
#[derive(Clone, Debug, Default)]
pub struct Crash<'a> {
    /// The device's model; empty if it is not known.
    pub model: &'a str,
    /// The panic's words as the dump itself has them; of a panic that was only printed,
    /// those of the console.
    pub words: &'a str,
    /// The exception's name, such as `LoadProhibited`.
    pub cause: Option<&'a str>,
    /// The dump says that the crash was in an interrupt handler.
    pub in_interrupt: bool,
    /// There is no dump, only a panic that was printed.
    pub printed_only: bool,
    /// What stands before `/components/` in the SDK's files, if that is known.
    pub sdk_root: Option<&'a str>,
    pub tasks: Vec<Task<'a>>,
    /// Why functions have no names, if they have none.
    pub no_symbols: Option<&'a str>,
    /// Why there are no tasks, if there are none.
    pub no_tasks: Option<&'a str>,
}

/// One task.
#[derive(Clone, Debug, Default)]
pub struct Task<'a> {
    pub name: Option<&'a str>,
    pub crashed: bool,
    /// Innermost first.
    pub frames: Vec<Frame<'a>>,
}

/// One frame; a function that is inlined has one of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame<'a> {
    /// Demangled.
    pub function: Option<&'a str>,
    pub file: Option<&'a str>,
    pub rom: bool,
    /// Found by searching the stack.
    pub guessed: bool,
    /// A call stands before the return address; means something for guessed frames.
    pub validated: bool,
    /// Of the task that an interrupt handler broke into.
    pub interrupted: bool,
}

/// The signature of `crash`, or why it has none; in either case how that came about.
///
/// Takes time in proportion to the crashed and the blamed task's frames.
pub fn sign(crash: &Crash<'_>, lists: &Lists) -> Outcome {
    let judged = |task: Option<&Task<'_>>| match task {
        Some(task) => judge::judge(task, crash.sdk_root, lists),
        None => Vec::new(),
    };
    let crashed = crash.tasks.iter().find(|task| task.crashed);
    let mut frames = judged(crashed);
    let mut class = class::class(crash, cut::thrown(&frames));
    let blame = blame::blame(crash, &class);
    if !blame
        .task
        .zip(crashed)
        .is_some_and(|(one, other)| ptr::eq(one, other))
    {
        frames = judged(blame.task);
    }
    let of_task = class.kind == class::Kind::TaskWatchdog;
    let part = cut::part(&frames, of_task, crash.in_interrupt);
    if part.in_interrupt && class.taken().is_some() {
        class.in_interrupt();
    }
    let left = frames.get(part.frames.clone()).unwrap_or_default();
    let taken: Vec<usize> = match class.taken() {
        Some(taken) => take::take(left, taken),
        None => Vec::new(),
    };
    let complete = class.taken().is_none() || !taken.is_empty();
    let chosen: Vec<usize> = taken
        .iter()
        .map(|number| part.frames.start + number)
        .collect();
    let explained = blame
        .task
        .map(|task| explain::explain(task, &frames, &part, &chosen));
    Outcome {
        signature: complete.then(|| signature(crash, &class, &blame, &frames, &part, &chosen)),
        why_none: (!complete).then(|| explain::why_none(crash, &blame, &frames)),
        explanation: Explanation {
            task: blame.task.and_then(|task| task.name).map(str::to_owned),
            task_rule: blame.rule,
            frames: explained.unwrap_or_default(),
        },
        class: class.text,
    }
}

fn signature(
    crash: &Crash<'_>,
    class: &Class,
    blame: &Blame<'_, '_>,
    frames: &[Judged],
    part: &Part,
    chosen: &[usize],
) -> Signature {
    let taken = || chosen.iter().filter_map(|number| frames.get(*number));
    let names: Vec<String> = taken().map(|frame| frame.name.clone()).collect();
    let own = taken().find(|frame| frame.kind == judge::Kind::Application);
    let first = own
        .or_else(|| taken().next())
        .map(|frame| frame.name.as_str());
    let left = frames.get(part.frames.clone()).unwrap_or_default();
    let whole = left.iter().filter(|frame| frame.is_sure());
    let victim = (class.kind == class::Kind::HeapCorruption).then(|| VICTIM.to_owned());
    Signature {
        algorithm: ALGORITHM.to_owned(),
        lists: lists::VERSION,
        id: format!(
            "{ALGORITHM}-{}",
            text::hash(crash.model, &class.text, names.iter().map(String::as_str))
        ),
        text: text::text(&class.text, &names),
        class: class.text.clone(),
        coarse: text::hash(crash.model, &class.coarse, first),
        variant: text::hash(
            crash.model,
            &class.text,
            whole.map(|frame| frame.name.as_str()),
        ),
        frames: names,
        task: blame.task.and_then(|task| task.name).map(str::to_owned),
        quality: match () {
            () if blame.unsure => Quality::Unsure,
            () if taken().any(|frame| frame.guessed) => Quality::Guessed,
            () => Quality::Good,
        },
        notes: victim.into_iter().chain(blame.note.clone()).collect(),
    }
}

/// What a heap's crash says of the frames in it.
const VICTIM: &str = "victim: the writer is elsewhere";
