//! What kind of crash it is, from the dump's own words, the exception and the panic's
//! frames; numbers and addresses removed.

use super::glob::matches;
use super::judge::Judged;
use super::lists::{HEAP_FILES, HEAP_FUNCTIONS};
use super::words::{Assert, Words, base_name, short, without_numbers};
use super::{Crash, names, sdk};

/// A kind of crash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    TaskWatchdog,
    InterruptWatchdog,
    StackOverflow,
    StackGuard,
    HeapCorruption,
    /// One in which the frames say what happened.
    Other,
}

/// How many frames a kind of crash takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Taken {
    pub(super) prefix: bool,
    pub(super) application: usize,
}

/// A crash's class.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Class {
    pub(super) kind: Kind,
    /// As it stands in signatures, such as `exception LoadProhibited`.
    pub(super) text: String,
    /// What is the same where the details differ between releases of the SDK.
    pub(super) coarse: String,
}

impl Class {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            kind,
            coarse: text.clone(),
            text,
        }
    }

    fn other(text: impl Into<String>) -> Self {
        Self::new(Kind::Other, text)
    }

    /// Says that it was in an interrupt handler.
    pub(super) fn in_interrupt(&mut self) {
        self.text.insert_str(0, "isr ");
        self.coarse.insert_str(0, "isr ");
    }

    /// `None` if the class is complete without frames.
    pub(super) fn taken(&self) -> Option<Taken> {
        let taken = |prefix, application| {
            Some(Taken {
                prefix,
                application,
            })
        };
        match self.kind {
            Kind::StackOverflow => None,
            Kind::StackGuard => taken(false, 1),
            Kind::TaskWatchdog | Kind::InterruptWatchdog | Kind::HeapCorruption => taken(true, 1),
            Kind::Other => taken(true, 3),
        }
    }
}

/// The class of `crash`. `thrown` are the panic's own frames of the crashed task.
pub(super) fn class(crash: &Crash<'_>, thrown: &[Judged]) -> Class {
    let words = Words(crash.words);
    let threw = |patterns: &[&str]| {
        let mut names = thrown.iter().map(|frame| frame.name.as_str());
        names.any(|name| patterns.iter().any(|pattern| matches(pattern, name)))
    };
    let named = by_words(crash, words);
    let by_frames = || {
        let found = [
            (&["task_wdt_*"][..], Kind::TaskWatchdog, "task_wdt"),
            (&["__stack_chk_fail"], Kind::Other, "stack_smash"),
            (&["kasan_report"], Kind::Other, "kasan"),
            (&["heap_caps_alloc_failed"], Kind::Other, "alloc_failed"),
            (RUST, Kind::Other, "rust_panic"),
        ];
        let found = found.into_iter().find(|(patterns, ..)| threw(patterns));
        found.map(|(_, kind, text)| Class::new(kind, text))
    };
    if let Some(class) = named.or_else(by_frames) {
        return class;
    }
    if threw(&["vApplicationStackOverflowHook"]) {
        return stack_overflow(crashed_task(crash));
    }
    let ubsan = thrown
        .iter()
        .find_map(|frame| frame.name.strip_prefix("__ubsan_handle_"));
    if let Some(kind) = ubsan {
        return Class::other(format!("ubsan {kind}"));
    }
    let ended_itself = words.has("abort() was called");
    if let Some(class) = crash.cause.filter(|_| !ended_itself).and_then(pseudo) {
        return class;
    }
    let assert = words.assert();
    let asserted_in = assert.as_ref().map_or("", |assert| assert.file.as_str());
    if in_heap(crash, thrown.len()) || is_heap_file(asserted_in) {
        return Class::new(Kind::HeapCorruption, "heap_corruption");
    }
    if threw(&["_esp_error_check_failed"]) || words.has("ESP_ERROR_CHECK failed") {
        return Class::other("esp_error_check");
    }
    if let Some(assert) = assert {
        return asserted(&assert);
    }
    if threw(&["__assert_func", "__assert"]) {
        return Class::other("assert");
    }
    if ended_itself || threw(&["abort", "esp_system_abort", "panic_abort", "std::terminate"]) {
        return Class::other("abort");
    }
    match (crash.cause, crash.printed_only) {
        (Some(cause), _) => Class::other(format!("exception {}", short(cause, WORD_LIMIT))),
        (None, true) => Class::other(format!("no_dump {}", words.reason()).trim_end()),
        (None, false) => Class::other("unknown"),
    }
}

/// Classes that the panic's words alone tell.
fn by_words(crash: &Crash<'_>, words: Words<'_>) -> Option<Class> {
    // on a console, warnings of the watchdog stand before other panics
    let warned_only = crash.printed_only && words.has("Guru Meditation");
    if words.has(WATCHDOG) && !warned_only {
        return Some(Class::new(Kind::TaskWatchdog, "task_wdt"));
    }
    if let Some(rest) = words.after("A stack overflow in task ") {
        let name = rest.split(" has been detected").next();
        return Some(stack_overflow(name));
    }
    if words.has("Stack smashing protect failure") {
        return Some(Class::other("stack_smash"));
    }
    if let Some(rest) = words.after("Undefined behavior of type ") {
        return Some(Class::other(format!("ubsan {}", short(rest, WORD_LIMIT))));
    }
    if let Some(rest) = words.after("KASAN: ") {
        return Some(Class::other(format!("kasan {}", without_numbers(rest))));
    }
    if words.has("Mem alloc fail. size ") {
        return Some(Class::other("alloc_failed"));
    }
    if words.has("Interrupt wdt timeout on CPU") {
        return Some(Class::new(Kind::InterruptWatchdog, "int_wdt"));
    }
    if words.has("(Stack protection fault") {
        return Some(Class::new(Kind::StackGuard, "stack_guard"));
    }
    let panicked = words.0.starts_with("panicked at ") || words.has("' panicked at ");
    panicked.then(|| Class::other("rust_panic"))
}

/// Causes that no CPU has: ESP-IDF's own.
fn pseudo(cause: &str) -> Option<Class> {
    Some(match cause {
        "InterruptWatchdog" | "InterruptWatchdogCpu0" | "InterruptWatchdogCpu1" => {
            Class::new(Kind::InterruptWatchdog, "int_wdt")
        }
        "StackProtection" | "AssistDebug" => Class::new(Kind::StackGuard, "stack_guard"),
        "CacheError" | "CacheDisabled" => Class::other("cache_error"),
        "DoubleException" => Class::other("double_exception"),
        "DebugException" => Class::other("debug_exception"),
        "CoprocessorException" => Class::other("coprocessor"),
        _ => return None,
    })
}

fn stack_overflow(task: Option<&str>) -> Class {
    let text = match task.map(|name| short(name, WORD_LIMIT)) {
        Some(name) if !name.is_empty() => format!("stack_overflow {name}"),
        _ => "stack_overflow".to_owned(),
    };
    Class::new(Kind::StackOverflow, text)
}

fn asserted(assert: &Assert) -> Class {
    let mut text = "assert".to_owned();
    for part in [&assert.function, &assert.file, &assert.expression] {
        if !part.is_empty() {
            text.push(' ');
            text.push_str(part);
        }
    }
    Class {
        coarse: "assert".to_owned(),
        ..Class::other(text)
    }
}

fn crashed_task<'a>(crash: &Crash<'a>) -> Option<&'a str> {
    let crashed = crash.tasks.iter().find(|task| task.crashed)?;
    crashed.name
}

/// Whether the crash was in the heap's own code, going by the first frame behind the
/// `thrown` ones.
fn in_heap(crash: &Crash<'_>, thrown: usize) -> bool {
    let crashed = crash.tasks.iter().find(|task| task.crashed);
    let mut below = crashed
        .iter()
        .flat_map(|task| task.frames.iter().skip(thrown));
    // newer chips have a part of the heap in ROM
    below.find(|frame| !frame.rom).is_some_and(|frame| {
        let sdk = frame.file.map(|file| sdk::is_sdk(file, crash.sdk_root));
        let name = frame.function.map(names::plain).unwrap_or_default();
        let in_file = frame.file.is_some_and(is_heap_file);
        sdk != Some(false) && (in_file || HEAP_FUNCTIONS.iter().any(|it| matches(it, &name)))
    })
}

fn is_heap_file(file: &str) -> bool {
    let name = base_name(file);
    HEAP_FILES.iter().any(|pattern| matches(pattern, name))
}

/// What the task watchdog says first.
pub(super) const WATCHDOG: &str = "Task watchdog got triggered";
#[rustfmt::skip]
const RUST: &[&str] = &[
    "core::panicking::*", "core::result::*", "core::option::*", "alloc::alloc::*",
    "std::panicking::*", "rust_begin_unwind", "esp_backtrace::*",
];
/// Characters of a name that a device gives.
const WORD_LIMIT: usize = 40;

#[cfg(test)]
mod tests;
