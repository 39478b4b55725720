//! Checks verdicts against a folder of real and damaged dumps.
//!
//! `ESPGATE_SHARED_DATA=DIR cargo run --example coredump_cases` walks
//! `DIR/coredumps/cases/VERDICTS.json`, prints a line per disagreement and a
//! closing count, and exits with 1 if there is any.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used)]

use std::path::PathBuf;
use std::process::ExitCode;

use espgate::coredump;

fn main() -> ExitCode {
    let folder = std::env::var_os("ESPGATE_SHARED_DATA").expect("ESPGATE_SHARED_DATA is not set");
    let cases = PathBuf::from(folder).join("coredumps/cases");
    let verdicts = std::fs::read(cases.join("VERDICTS.json")).unwrap();
    let verdicts: serde_json::Value = serde_json::from_slice(&verdicts).unwrap();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in verdicts["files"].as_object().unwrap() {
        let bytes = std::fs::read(cases.join(name)).unwrap();
        let expected = case["verdict"].as_str().unwrap().replace(' ', "-");
        let (found, dump) = coredump::load(&bytes);
        if std::env::var_os("VERBOSE").is_some() {
            let tasks = dump.as_ref().map(|dump| dump.tasks.len());
            let canonical = found.canonical.as_ref().map(Vec::len);
            println!("{name}: {found:?}\n  tasks {tasks:?} canonical {canonical:?}");
        }
        if found.verdict.as_str() == expected {
            passed += 1;
        } else {
            failed += 1;
            println!(
                "{name}: {} instead of {expected}: {:?}",
                found.verdict, found.problems
            );
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
