//! What does not change a signature, and what does.

use espgate::decode::report::{Frame, Match, Region, Report, Variable};
use espgate::decode::signature::of_report;
use espgate::signature::{Lists, Signature};
use proptest::prelude::*;

use crate::fixtures::{Fixture, all};

fn signature(report: &Report) -> Option<Signature> {
    of_report(report, "pump", &Lists::default()).signature
}

/// Everything of a signature that other crashes of the same bug have too.
fn identity(report: &Report) -> Option<[String; 4]> {
    signature(report).map(|it| [it.id, it.text, it.coarse, it.variant])
}

fn frames(report: &mut Report) -> impl Iterator<Item = &mut Frame> {
    report.tasks.iter_mut().flat_map(|task| &mut task.backtrace)
}

/// The same crash of another build on another board: `seeds` say what is different.
fn elsewhere(report: &Report, seeds: &[u32]) -> Report {
    let mut seeds = seeds.iter().copied().cycle();
    let mut seed = || seeds.next().unwrap_or_default();
    let mut report = report.clone();
    for frame in frames(&mut report) {
        frame.pc = format!("{:#x}", seed());
        frame.line = Some(seed() % 5000);
        frame.inlined = seed() % 2 == 0;
        frame.args = vec![Variable {
            name: "level".into(),
            value: Some(seed().to_string()),
            ..Variable::default()
        }];
        // the compiler makes another clone
        if let Some(function) = frame
            .function
            .as_mut()
            .filter(|name| !name.contains(['(', '{']))
            && seed() % 4 == 0
        {
            function.push_str([".isra.0", ".constprop.1", ".part.0", ".cold"][seed() as usize % 4]);
        }
    }
    for task in &mut report.tasks {
        task.tcb = format!("{:#x}", seed());
        task.core = Some(seed() % 2);
        task.priority = Some(seed() % 25);
    }
    report.memory = vec![Region {
        start: format!("{:#x}", seed()),
        size: seed(),
        kind: "data".into(),
    }];
    report.app.version = Some(seed().to_string());
    report.fingerprint = Some(format!("{:016x}", seed()));
    report.panic.address = Some(format!("{:#x}", seed()));
    if let Some(words) = &mut report.panic.reason {
        *words = renumbered(words, &mut seed);
    }
    report
}

/// A panic's words with other addresses, sizes, lines and cores; names keep their digits.
fn renumbered(words: &str, seed: &mut impl FnMut() -> u32) -> String {
    let words = words.split(' ').map(|word| {
        let digits = word.trim_start_matches("0x");
        let whole_number = !digits.is_empty()
            && digits.chars().all(|c| c.is_ascii_hexdigit())
            && word.starts_with(|c: char| c.is_ascii_digit());
        match word.rsplit_once(':') {
            _ if whole_number && word.starts_with("0x") => format!("0x{:08x}", seed()),
            _ if whole_number => (seed() % 2).to_string(),
            Some((file, line)) if !line.is_empty() && line.chars().all(|c| c.is_ascii_digit()) => {
                format!("{file}:{}", seed() % 5000)
            }
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn addresses_lines_cores_heap_clones_and_inlining_change_nothing(
        seeds in prop::collection::vec(any::<u32>(), 1..200),
    ) {
        for fixture in all() {
            let other = elsewhere(&fixture.report, &seeds);
            prop_assert_eq!(identity(&other), identity(&fixture.report), "{}", fixture.name);
        }
    }

    #[test]
    fn rom_and_nameless_frames_anywhere_change_nothing(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..10),
    ) {
        for mut fixture in all().into_iter().filter(is_symbolized) {
            let before = signature(&fixture.report);
            for task in &mut fixture.report.tasks {
                for (place, rom) in &places {
                    let at = place.index(task.backtrace.len() + 1);
                    let neighbours = [at.checked_sub(1), Some(at)].map(|at| {
                        task.backtrace.get(at?).and_then(|frame| frame.function.as_ref()?.split('.').next())
                    });
                    // between two frames of a recursion it would be something else
                    if neighbours[0] == neighbours[1] && neighbours[0].is_some() {
                        continue;
                    }
                    // an interrupted task does not go on in the interrupt
                    let interrupted = at.checked_sub(1).is_some_and(|at| task.backtrace[at].interrupted);
                    task.backtrace.insert(at, Frame {
                        function: rom.then(|| "ets_printf".into()),
                        rom: *rom,
                        interrupted,
                        ..Frame::default()
                    });
                }
            }
            // without a heap's frame in front, the class of its exceptions is another one
            if fixture.name == "heap-corruption-exception" {
                continue;
            }
            let after = signature(&fixture.report);
            prop_assert_eq!(after.map(|it| it.id), before.map(|it| it.id), "{}", fixture.name);
        }
    }

    #[test]
    fn the_place_of_the_sdk_changes_nothing(folder in "/[a-z]{1,8}(/[a-z0-9.-]{1,8}){0,3}") {
        for fixture in all() {
            let Some(root) = fixture.report.app.sdk_root.clone() else {
                continue;
            };
            let mut moved = fixture.report.clone();
            moved.app.sdk_root = Some(folder.clone());
            for frame in frames(&mut moved) {
                if let Some(file) = &mut frame.file {
                    *file = file.replace(&format!("{root}/components/"), &format!("{folder}/components/"));
                }
            }
            prop_assert_eq!(identity(&moved), identity(&fixture.report), "{}", fixture.name);
        }
    }
}

fn is_symbolized(fixture: &Fixture) -> bool {
    fixture.report.app.matched == Match::Exact
}

#[test]
fn two_callers_of_one_failing_helper_are_two_bugs() {
    let mut checked = 0;
    for fixture in all() {
        let Some(before) = signature(&fixture.report) else {
            continue;
        };
        // the frames that are taken, and among them each one renamed
        for (place, name) in before.frames.iter().enumerate() {
            let mut other = fixture.report.clone();
            let renamed = frames(&mut other).find(|frame| {
                let function = frame.function.as_deref().unwrap_or_default();
                function == name
                    && frame
                        .file
                        .as_deref()
                        .is_some_and(|file| !file.contains("/components/freertos/"))
            });
            let Some(frame) = renamed else {
                continue;
            };
            frame.function = Some("another_caller".into());
            frame.file = Some("/home/a/other/main/other.c".into());
            let after = signature(&other).unwrap();
            assert_ne!(after.id, before.id, "{} {place}", fixture.name);
            assert_ne!(after.text, before.text, "{} {place}", fixture.name);
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn another_model_is_another_bug() {
    for fixture in all() {
        let id = |model| {
            of_report(&fixture.report, model, &Lists::default())
                .signature
                .map(|it| it.id)
        };
        let text = |model| {
            of_report(&fixture.report, model, &Lists::default())
                .signature
                .map(|it| it.text)
        };
        assert_eq!(text("pump"), text("lamp"));
        assert!(
            id("pump").is_none() || id("pump") != id("lamp"),
            "{}",
            fixture.name
        );
    }
}

#[test]
fn a_dump_says_the_same_with_and_without_a_cable() {
    for fixture in all() {
        if fixture.report.image.format.as_deref() != Some("elf")
            || fixture.report.panic.reason.is_some()
        {
            continue;
        }
        let mut told = fixture.report.clone();
        told.image.chip = Some("esp32".into());
        let alone = identity(&told);
        told.panic.reason =
            Some("assert failed: f a.c:1 (x)\nTask watchdog got triggered.\n - x (CPU 0)".into());
        told.panic.reason_source = Some("console".into());
        told.panic.cause_number = match told.panic.cause.as_deref() {
            Some("LoadProhibited") => Some(28),
            Some("IllegalInstruction") => Some(0),
            Some("DebugException") => Some(65),
            Some("InterruptWatchdogCpu0") => Some(69),
            Some("InterruptWatchdogCpu1") => Some(70),
            Some("CacheDisabled") => Some(71),
            Some("InstrFetchProhibited") => Some(20),
            _ => continue,
        };
        told.panic.cause = Some("InterruptWatchdogCpu0".into());
        assert_eq!(identity(&told), alone, "{}", fixture.name);
    }
}

#[test]
fn reports_of_older_releases_have_the_same_signature() {
    for fixture in all()
        .into_iter()
        .filter(|fixture| fixture.name != "unconfirmed-frames")
    {
        let mut value = serde_json::to_value(&fixture.report).unwrap();
        let report = value.as_object_mut().unwrap();
        for newer in ["signature", "signature_reason"] {
            report.remove(newer);
        }
        report["app"].as_object_mut().unwrap().remove("sdk_root");
        report["panic"]
            .as_object_mut()
            .unwrap()
            .remove("reason_source");
        for task in report["tasks"].as_array_mut().unwrap() {
            for frame in task["backtrace"].as_array_mut().unwrap() {
                frame.as_object_mut().unwrap().remove("validated");
            }
        }
        let older: Report = serde_json::from_value(value).unwrap();
        assert_eq!(
            identity(&older),
            identity(&fixture.report),
            "{}",
            fixture.name
        );
    }
}

#[test]
fn a_site_s_lists_change_what_is_taken() {
    let fixture = all()
        .into_iter()
        .find(|fixture| fixture.name == "abort")
        .unwrap();
    let lists = Lists::with_site(&["config_*".into()], &[], &["app_main".into()]);
    let signature = of_report(&fixture.report, "", &lists).signature.unwrap();
    assert_eq!(signature.text, "abort | pump_start");
    let lists = Lists::with_site(&[], &["config_load".into()], &[]);
    let signature = of_report(&fixture.report, "", &lists).signature.unwrap();
    assert_eq!(
        signature.text,
        "abort | config_load | pump_start | app_main"
    );
}
