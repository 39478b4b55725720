//! What kind of frame a frame is, by the lists.

use std::borrow::Cow;

use super::glob::matches;
use super::lists::{BASE, INTERRUPT, PREFIX, SKIP, THROW, is_reserved};
use super::{Frame, Task, names, sdk};

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Throw,
    Interrupt,
    Base,
    Skip,
    Prefix,
    Application,
    Rom,
    /// Found by searching the stack, and not confirmed.
    Guessed,
    Unnamed,
    /// The same function as the frame before: it calls itself.
    Repeated,
}

/// A frame with its kind.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// As it is compared.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The entry or rule that decided.
    pub(super) rule: Option<Cow<'static, str>>,
    pub(super) guessed: bool,
    pub(super) interrupted: bool,
}

impl Judged {
    /// Whether the frame can be in a signature.
    pub(super) fn counts(&self) -> bool {
        matches!(self.kind, Kind::Application | Kind::Prefix)
    }

    /// Whether the frame is the same in every build.
    pub(super) fn is_sure(&self) -> bool {
        !matches!(
            self.kind,
            Kind::Rom | Kind::Guessed | Kind::Unnamed | Kind::Repeated
        )
    }
}

/// The lists in force: the built-in ones, and the site's own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lists {
    skip: Vec<String>,
    prefix: Vec<String>,
    base: Vec<String>,
}

impl Lists {
    /// The built-in lists with the site's additions, which count wherever a function of
    /// that name is defined.
    pub fn with_site(skip: &[String], prefix: &[String], base: &[String]) -> Self {
        Self {
            skip: skip.to_vec(),
            prefix: prefix.to_vec(),
            base: base.to_vec(),
        }
    }

    fn of_site(&self, name: &str) -> Option<(Kind, Cow<'static, str>)> {
        [
            (Kind::Base, "base", &self.base),
            (Kind::Skip, "skip", &self.skip),
            (Kind::Prefix, "prefix", &self.prefix),
        ]
        .into_iter()
        .find_map(|(kind, list, entries)| {
            let entry = entries.iter().find(|entry| matches(entry, name))?;
            Some((kind, format!("crashes.{list}: {entry}").into()))
        })
    }
}

/// Whether `entry` can stand in a site's list; else why not.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn check_entry(entry: &str) -> Result<(), &'static str> {
    if entry.trim_matches('*').is_empty() {
        return Err("a function name is missing");
    }
    if entry.chars().count() > ENTRY_LIMIT {
        return Err("longer than 200 characters");
    }
    if entry.trim() != entry || entry.chars().any(char::is_control) {
        return Err("blanks around it, or control characters in it");
    }
    Ok(())
}

/// The frames of `task`, innermost first, as far as they are looked at.
pub(super) fn judge(task: &Task<'_>, root: Option<&str>, lists: &Lists) -> Vec<Judged> {
    let mut judged: Vec<Judged> = Vec::with_capacity(task.frames.len().min(FRAME_LIMIT));
    let mut last: Option<(&Frame<'_>, Judged)> = None;
    for frame in task.frames.iter().take(FRAME_LIMIT) {
        // of a deep recursion only the first frame is looked at closely
        let mut new = match last.take() {
            Some((before, known)) if is_same_function(before, frame) => known,
            _ => one(frame, root, lists),
        };
        last = Some((frame, new.clone()));
        new.guessed = frame.guessed;
        new.interrupted = frame.interrupted;
        if frame.guessed && !frame.validated {
            new.kind = Kind::Guessed;
            new.rule = None;
        } else if new.counts() && judged.last().is_some_and(|before| calls(&new, before)) {
            new.kind = Kind::Repeated;
            new.rule = Some("calls itself".into());
        }
        judged.push(new);
    }
    judged
}

fn is_same_function(one: &Frame<'_>, other: &Frame<'_>) -> bool {
    one.function == other.function && one.file == other.file && one.rom == other.rom
}

/// Whether `callee`, the frame before `caller`, is the same function.
fn calls(caller: &Judged, callee: &Judged) -> bool {
    callee.name == caller.name
        && callee.interrupted == caller.interrupted
        && (callee.counts() || callee.kind == Kind::Repeated)
}

fn one(frame: &Frame<'_>, root: Option<&str>, lists: &Lists) -> Judged {
    let name = frame.function.map(names::plain).unwrap_or_default();
    let (kind, rule) = match () {
        () if frame.rom => (Kind::Rom, None),
        () if name.is_empty() => (Kind::Unnamed, None),
        () => by_lists(
            &name,
            frame.file.filter(|file| !file.is_empty()),
            root,
            lists,
        ),
    };
    Judged {
        name,
        kind,
        rule,
        guessed: false,
        interrupted: false,
    }
}

fn by_lists(
    name: &str,
    file: Option<&str>,
    root: Option<&str>,
    lists: &Lists,
) -> (Kind, Option<Cow<'static, str>>) {
    let sdk = file.and_then(|file| sdk::rule(file, root));
    let may_be_sdk = sdk.is_some() || file.is_none();
    let built_in = |wanted: &[(Kind, &str, &'static [&'static str])]| {
        wanted.iter().find_map(|(kind, list, entries)| {
            let entry = entries
                .iter()
                .find(|entry| (may_be_sdk || is_reserved(entry)) && matches(entry, name))?;
            Some((*kind, Cow::from(format!("{list}: {entry}"))))
        })
    };
    built_in(&[
        (Kind::Throw, "throw", THROW),
        (Kind::Interrupt, "interrupt", INTERRUPT),
    ])
    .or_else(|| lists.of_site(name))
    .or_else(|| {
        built_in(&[
            (Kind::Base, "base", BASE),
            (Kind::Skip, "skip", SKIP),
            (Kind::Prefix, "prefix", PREFIX),
        ])
    })
    .map(|(kind, rule)| (kind, Some(rule)))
    .unwrap_or(match sdk {
        Some(rule) => (Kind::Prefix, Some(rule.into())),
        None => (Kind::Application, None),
    })
}

/// Frames of a task that are looked at; the decoder finds 100, and more where functions
/// are inlined.
const FRAME_LIMIT: usize = 2000;
/// Characters of a site's entry.
const ENTRY_LIMIT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const IDF: &str = "/opt/esp/idf/components/freertos/tasks.c";
    const APP: &str = "/home/a/pump/main/app.c";

    fn kind(name: &str, file: Option<&str>) -> (Kind, Option<Cow<'static, str>>) {
        by_lists(name, file, Some("/opt/esp/idf"), &Lists::default())
    }

    #[test]
    fn an_entry_counts_where_the_sdk_may_have_defined_the_function() {
        for (name, file, expected) in [
            ("esp_system_abort", Some(IDF), Kind::Throw),
            ("abort", None, Kind::Throw),
            ("abort", Some(APP), Kind::Application),
            ("print_state_machine", Some(APP), Kind::Application),
            ("main_task", Some(IDF), Kind::Base),
            ("main_task", Some(APP), Kind::Application),
            ("memory_task", Some(APP), Kind::Application),
            ("memcpy", None, Kind::Prefix),
            ("free", Some(APP), Kind::Application),
            ("prvIdleTask", Some(IDF), Kind::Base),
            ("prvCopyDataToQueue", Some(IDF), Kind::Skip),
            ("xQueueSemaphoreTake", Some(IDF), Kind::Prefix),
            (
                "cJSON_Print",
                Some("/opt/esp/idf/components/json/cJSON/cJSON.c"),
                Kind::Prefix,
            ),
            ("app_main", Some(APP), Kind::Application),
            ("_xt_lowint1", Some(IDF), Kind::Interrupt),
            ("__cxa_throw", Some(APP), Kind::Throw),
            ("std::terminate", Some(APP), Kind::Throw),
            ("rust_begin_unwind", Some("src/main.rs"), Kind::Throw),
            (
                "core::ops::function::FnOnce::call_once",
                Some(APP),
                Kind::Base,
            ),
        ] {
            assert_eq!(kind(name, file).0, expected, "{name} {file:?}");
        }
        assert_eq!(
            kind("xQueueSend", None).1.as_deref(),
            Some("prefix: xQueue*")
        );
    }

    #[test]
    fn a_site_s_entries_count_everywhere_but_do_not_undo_a_cut() {
        let entry = |text: &str| vec![String::from(text)];
        let lists = Lists::with_site(&entry("log_*"), &entry("db_*"), &entry("run"));
        let judged = |name| by_lists(name, Some(APP), None, &lists);
        assert_eq!(judged("log_line").0, Kind::Skip);
        assert_eq!(judged("log_line").1.as_deref(), Some("crashes.skip: log_*"));
        assert_eq!(judged("db_read").0, Kind::Prefix);
        assert_eq!(judged("run").0, Kind::Base);
        assert_eq!(judged("runner").0, Kind::Application);
        let lists = Lists::with_site(&entry("*"), &[], &[]);
        assert_eq!(by_lists("abort", None, None, &lists).0, Kind::Throw);
    }

    #[test]
    fn a_function_that_calls_itself_is_one_frame() {
        let frame = |function| Frame {
            function: Some(function),
            file: Some(APP),
            ..Frame::default()
        };
        let task = Task {
            frames: ["walk", "walk.part.0", "walk", "go", "walk"]
                .map(frame)
                .to_vec(),
            ..Task::default()
        };
        let judged = judge(&task, None, &Lists::default());
        let kinds: Vec<Kind> = judged.iter().map(|frame| frame.kind).collect();
        use Kind::{Application, Repeated};
        assert_eq!(
            kinds,
            [Application, Repeated, Repeated, Application, Application]
        );
    }

    #[test]
    fn entries_of_a_site_are_checked() {
        for entry in ["log_*", "Display::draw", "operator new", "*::log"] {
            assert_eq!(check_entry(entry), Ok(()), "{entry}");
        }
        for entry in ["", "*", "**", " a", "a\n", &"x".repeat(201)] {
            assert!(check_entry(entry).is_err(), "{entry}");
        }
    }
}
