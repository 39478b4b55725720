//! Reports that somebody made to cost time and memory, or to look like another crash.

use espgate::decode::report::{Frame, Report, Task};
use espgate::decode::signature::of_report;
use espgate::signature::{Lists, Outcome};
use proptest::prelude::*;

fn frame(function: impl Into<String>, file: impl Into<String>) -> Frame {
    Frame {
        function: Some(function.into()),
        file: Some(file.into()),
        ..Frame::default()
    }
}

fn report(words: &str, backtrace: Vec<Frame>) -> Report {
    let mut report = Report {
        tasks: vec![Task {
            name: Some("main".into()),
            crashed: true,
            backtrace,
            ..Task::default()
        }],
        ..Report::default()
    };
    report.panic.reason = Some(words.into());
    report
}

fn sign(report: &Report) -> Outcome {
    of_report(report, "pump", &Lists::default())
}

fn is_bounded(outcome: &Outcome) {
    assert!(
        outcome.class.chars().count() <= 300,
        "{}",
        outcome.class.len()
    );
    assert!(outcome.explanation.frames.len() <= 2000);
    if let Some(signature) = &outcome.signature {
        assert!(signature.text.chars().count() <= 255);
        assert!(
            !signature.text.contains(char::is_control),
            "{:?}",
            signature.text
        );
        assert!(signature.frames.len() <= 6);
        for name in &signature.frames {
            assert!(name.chars().count() <= 200);
        }
        assert!(signature.id.starts_with("s1-") && signature.id.len() == 19);
        assert_eq!((signature.coarse.len(), signature.variant.len()), (16, 16));
    }
}

#[test]
fn names_of_a_hundred_thousand_characters_are_cut() {
    for piece in [
        "a",
        "a<",
        "(",
        "é",
        "a::",
        "*",
        ".isra.0",
        "operator<",
        "\u{0}",
        "std::function",
    ] {
        let name = piece.repeat(100_000);
        let frames = vec![
            frame(&*name, "/home/a/x.c"),
            frame("app_main", &*name),
            frame(&*name, &*name),
        ];
        is_bounded(&sign(&report("abort() was called at PC 0x1", frames)));
    }
}

#[test]
fn a_recursion_of_ten_thousand_frames_is_one_frame() {
    let mut frames: Vec<Frame> = (0..10_000)
        .map(|_| frame("walk", "/home/a/tree.c"))
        .collect();
    let endless = sign(&report("", frames.clone()));
    is_bounded(&endless);
    assert_eq!(endless.signature.unwrap().frames, ["walk"]);
    // two that call each other
    for (number, frame) in frames.iter_mut().enumerate() {
        frame.function = Some(if number % 2 == 0 { "visit" } else { "walk" }.into());
    }
    let outcome = sign(&report("", frames));
    is_bounded(&outcome);
    assert_eq!(
        outcome.signature.unwrap().frames,
        ["visit", "walk", "visit"]
    );
}

#[test]
fn a_name_cannot_pass_for_two() {
    let one = sign(&report(
        "abort() was called at",
        vec![frame("f\ng", "/home/a/x.c")],
    ));
    let two = sign(&report(
        "abort() was called at",
        vec![frame("f", "/home/a/x.c"), frame("g", "/home/a/x.c")],
    ));
    assert_ne!(one.signature.unwrap().id, two.signature.unwrap().id);
}

#[test]
fn nothing_at_all_is_no_signature_with_a_reason() {
    let outcome = sign(&Report::default());
    assert_eq!(outcome.signature, None);
    assert!(outcome.why_none.is_some_and(|why| !why.is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_report_gives_a_bounded_answer(
        words in ".{0,300}",
        names in prop::collection::vec(("[a-z_<>(){}:*&,.$#'\\[\\] ~-]{0,60}", "[a-zA-Z/_.-]{0,40}", any::<[bool; 4]>()), 0..40),
    ) {
        let frames = names.into_iter().map(|(function, file, [rom, guessed, interrupted, named])| Frame {
            function: named.then_some(function),
            file: named.then_some(file),
            rom,
            guessed,
            interrupted,
            ..Frame::default()
        });
        let report = report(&words, frames.collect());
        let outcome = sign(&report);
        is_bounded(&outcome);
        prop_assert_eq!(outcome.signature.is_some(), outcome.why_none.is_none());
        prop_assert_eq!(sign(&report), outcome);
    }

    #[test]
    fn a_task_watchdog_s_list_of_any_names_is_read(names in prop::collection::vec(".{0,40}", 0..300)) {
        let words = names.iter().fold(String::from("Task watchdog got triggered."), |words, name| format!("{words}\n - {name}"));
        is_bounded(&sign(&report(&words, vec![frame("app_main", "/home/a/x.c")])));
    }
}
