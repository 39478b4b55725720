//! Checks verdicts against a folder of real and damaged dumps.
//!
//! `ESPGATE_SHARED_DATA=DIR cargo run --example coredump_cases` walks
//! `DIR/coredumps/cases/VERDICTS.json`, prints a line per disagreement and a
//! closing count, and exits with 1 if there is any. Every case and every console
//! recording also goes through all fuzz targets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::HashSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use espgate::coredump;

#[path = "../fuzz/src/targets/mod.rs"]
#[expect(unreachable_pub, reason = "it is public in the fuzz crate")]
mod targets;

fn main() -> ExitCode {
    let folder = std::env::var_os("ESPGATE_SHARED_DATA").expect("ESPGATE_SHARED_DATA is not set");
    let folder = PathBuf::from(folder);
    let mut failures = verdicts(&folder.join("coredumps/cases"));
    let mut passed = failures.0;
    for inputs in [folder.join("coredumps/cases"), folder.join("console")] {
        let (held, broken) = through_all_targets(&inputs);
        passed += held;
        failures.1.extend(broken);
    }
    let (fine, broken) = crash_loops(&folder.join("console"));
    passed += fine;
    failures.1.extend(broken);
    for failure in &failures.1 {
        println!("{failure}");
    }
    println!("{passed} passed, {} failed", failures.1.len());
    if failures.1.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How many cases got their verdict, and a line for each that did not.
fn verdicts(cases: &Path) -> (usize, Vec<String>) {
    let verdicts = std::fs::read(cases.join("VERDICTS.json")).unwrap();
    let verdicts: serde_json::Value = serde_json::from_slice(&verdicts).unwrap();
    let files = verdicts.get("files").and_then(|files| files.as_object());
    let mut failures = Vec::new();
    let mut passed = 0;
    for (name, case) in files.unwrap() {
        let bytes = std::fs::read(cases.join(name)).unwrap();
        let expected = case.get("verdict").and_then(|verdict| verdict.as_str());
        let expected = expected.unwrap().replace(' ', "-");
        let found = coredump::examine(&bytes);
        if found.verdict.as_str() == expected {
            passed += 1;
        } else {
            failures.push(format!(
                "{name}: {} instead of {expected}: {:?}",
                found.verdict, found.problems
            ));
        }
    }
    (passed, failures)
}

fn through_all_targets(folder: &Path) -> (usize, Vec<String>) {
    let mut failures = Vec::new();
    let mut passed = 0;
    for path in files(folder) {
        let bytes = std::fs::read(&path).unwrap();
        for (name, target) in targets::ALL {
            if catch_unwind(|| target(&bytes)).is_ok() {
                passed += 1;
            } else {
                failures.push(format!("{}: target {name} panicked", path.display()));
            }
        }
    }
    (passed, failures)
}

/// All whole dumps of one recording are of one crash.
fn crash_loops(folder: &Path) -> (usize, Vec<String>) {
    let mut failures = Vec::new();
    let mut passed = 0;
    for path in files(folder).filter(|path| path.extension().is_some_and(|e| e == "log")) {
        let log = std::fs::read(&path).unwrap();
        let dumps: Vec<_> = coredump::load_all(&log)
            .into_iter()
            .map(|(found, _)| found)
            .filter(|found| found.verdict.is_whole())
            .collect();
        let prints: HashSet<_> = dumps.iter().map(|found| &found.fingerprint).collect();
        if dumps.len() > 1 && prints.len() == 1 {
            passed += 1;
        } else {
            let (dumps, prints) = (dumps.len(), prints.len());
            failures.push(format!(
                "{}: {prints} fingerprints in {dumps} dumps",
                path.display()
            ));
        }
    }
    (passed, failures)
}

/// The files in `folder` and its folders.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let mut open = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found.into_iter()
}
