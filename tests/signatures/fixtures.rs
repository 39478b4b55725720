//! The crashes in `tests/data/signatures`, as reports, and the texts they must have.

use std::fs;
use std::path::Path;

use espgate::decode::report::{App, Frame, Image, Match, Panic, Report, Task};
use espgate::decode::signature::of_report;
use espgate::signature::{Lists, Quality, Verdict};

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) report: Report,
    /// The text, or why there is none.
    expected: Result<String, String>,
    quality: Quality,
}

/// All files, sorted by name.
pub(crate) fn all() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/signatures");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    files.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Fixture {
    let mut report = Report {
        verdict: "valid".into(),
        image: Image {
            format: Some("elf".into()),
            ..Image::default()
        },
        app: App {
            matched: Match::Exact,
            ..App::default()
        },
        panic: Panic {
            reason_source: Some("dump".into()),
            ..Panic::default()
        },
        ..Report::default()
    };
    let mut expected = None;
    let mut quality = Quality::Good;
    let mut words: Vec<&str> = Vec::new();
    let text = fs::read_to_string(path).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(frame) = line.strip_prefix("  ") {
            let task = report.tasks.last_mut().unwrap();
            let number = task.backtrace.len();
            task.backtrace.push(read_frame(frame, number));
            continue;
        }
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        match key {
            "words" => words.push(value),
            "cause" => report.panic.cause = Some(value.into()),
            "root" => report.app.sdk_root = Some(value.into()),
            "printed" => report.image.format = Some("panic-text".into()),
            "text" => expected = Some(Ok(value.to_owned())),
            "none" => expected = Some(Err(value.to_owned())),
            "quality" => quality = value.to_owned().into(),
            "task" => {
                let name = value.strip_suffix(" *").unwrap_or(value);
                report.tasks.push(Task {
                    name: (name != "-").then(|| name.into()),
                    crashed: value.ends_with(" *"),
                    ..Task::default()
                });
            }
            _ => panic!("{}: {line}", path.display()),
        }
    }
    report.panic.reason = (!words.is_empty()).then(|| words.join("\n"));
    let frames = report.tasks.iter().flat_map(|task| &task.backtrace);
    if frames.clone().all(|frame| frame.function.is_none()) {
        report.app.matched = Match::None;
    }
    Fixture {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        report,
        expected: expected.unwrap(),
        quality,
    }
}

fn read_frame(line: &str, number: usize) -> Frame {
    let (function, rest) = line.split_once(" @ ").unwrap();
    let (file, mark) = match rest.strip_suffix(']') {
        Some(rest) => rest.rsplit_once(" [").unwrap(),
        None => (rest, ""),
    };
    assert!(
        ["", "rom", "guessed", "unconfirmed", "interrupted"].contains(&mark),
        "{line}"
    );
    let known = |text: &str| (text != "-").then(|| text.to_owned());
    let guessed = ["guessed", "unconfirmed"].contains(&mark);
    Frame {
        pc: format!("{:#x}", 0x4200_0000 + number * 64),
        function: known(function),
        file: known(file),
        rom: mark == "rom",
        guessed,
        validated: guessed.then_some(mark == "guessed"),
        interrupted: mark == "interrupted",
        ..Frame::default()
    }
}

#[test]
fn each_class_of_crash_has_its_text() {
    let fixtures = all();
    assert!(fixtures.len() >= 35, "{}", fixtures.len());
    for fixture in fixtures {
        let outcome = of_report(&fixture.report, "pump", &Lists::default());
        let name = &fixture.name;
        match (&fixture.expected, &outcome.signature) {
            (Ok(text), Some(signature)) => {
                assert_eq!(signature.text, *text, "{name}");
                assert_eq!(signature.quality, fixture.quality, "{name}");
                assert_eq!(outcome.why_none, None, "{name}");
            }
            (Err(why), None) => assert_eq!(outcome.why_none.as_ref(), Some(why), "{name}"),
            (expected, found) => panic!("{name}: {expected:?}, {found:?}"),
        }
    }
}

#[test]
fn every_frame_of_the_blamed_task_is_explained() {
    for fixture in all() {
        let outcome = of_report(&fixture.report, "", &Lists::default());
        let explanation = outcome.explanation;
        let blamed = fixture
            .report
            .tasks
            .iter()
            .find(|task| task.name == explanation.task);
        assert_eq!(
            explanation.frames.len(),
            blamed.unwrap().backtrace.len(),
            "{}",
            fixture.name
        );
        let taken = explanation
            .frames
            .iter()
            .filter(|frame| [Verdict::Application, Verdict::Prefix].contains(&frame.verdict));
        let taken: Vec<&str> = taken
            .filter_map(|frame| frame.function.as_deref())
            .collect();
        let frames = outcome.signature.map(|signature| signature.frames);
        assert_eq!(taken, frames.unwrap_or_default(), "{}", fixture.name);
    }
}

#[test]
fn the_explanation_names_the_entries_that_decided() {
    let fixture = all()
        .into_iter()
        .find(|fixture| fixture.name == "task-wdt-user")
        .unwrap();
    let explanation = of_report(&fixture.report, "", &Lists::default()).explanation;
    assert_eq!(
        explanation.task_rule,
        "task uplink, which the watchdog names"
    );
    let verdicts = explanation.frames.iter().map(|frame| {
        format!(
            "{} {} {}",
            frame.function.as_deref().unwrap_or("-"),
            frame.verdict.as_str(),
            frame.rule.as_deref().unwrap_or("-")
        )
    });
    assert_eq!(
        verdicts.collect::<Vec<_>>(),
        [
            "_xtos_set_intlevel rom -",
            "vPortClearInterruptMaskFromISR skipped skip: vPortClearInterruptMask*",
            "vPortExitCritical skipped skip: vPortExitCritical*",
            "prvUnlockQueue skipped skip: prv*",
            "xQueueSemaphoreTake prefix prefix: xQueue*",
            "modem_lock application -",
            "uplink_task not taken the class takes no more",
            "vPortTaskWrapper base base: vPortTaskWrapper",
        ]
    );
}

#[test]
fn what_an_interrupt_broke_into_is_explained_as_such() {
    let fixture = all()
        .into_iter()
        .find(|fixture| fixture.name == "cache-error")
        .unwrap();
    let explanation = of_report(&fixture.report, "", &Lists::default()).explanation;
    let verdicts: Vec<&str> = explanation
        .frames
        .iter()
        .map(|frame| frame.verdict.as_str())
        .collect();
    assert_eq!(
        verdicts,
        [
            "application",
            "skipped",
            "not taken",
            "not taken",
            "not taken"
        ]
    );
    assert_eq!(
        explanation.frames[4].rule.as_deref(),
        Some("the interrupt broke into it")
    );
}
