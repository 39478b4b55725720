//! Logs without a crash: whoever reads them, from a file or over a port, finds
//! none.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use espgate::console::{Console, Event, Settings};
use espgate::coredump::{Verdict, load_all};

fn logs() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ordinary");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect()
}

#[test]
fn ordinary_logs_have_no_crash() {
    let logs = logs();
    assert!(logs.len() >= 50);
    for (name, log) in &logs {
        let found = load_all(log);
        let verdicts: Vec<Verdict> = found.iter().map(|(found, _)| found.verdict).collect();
        assert_eq!(verdicts, [Verdict::NotACoredump], "{name}: {found:?}");
    }
    // nor do all of them one after the other, whatever they were cut into
    let all: Vec<u8> = logs.iter().flat_map(|(_, log)| log.clone()).collect();
    assert_eq!(load_all(&all)[0].0.verdict, Verdict::NotACoredump);
}

#[test]
fn ordinary_logs_leave_no_record_of_a_port() {
    for (name, log) in logs() {
        for size in [1, 17, 4096] {
            let mut console = Console::new(Settings::default());
            let mut events = Vec::new();
            for piece in log.chunks(size) {
                events.extend(console.feed(piece, Duration::ZERO));
            }
            events.extend(console.finish());
            let crash = events.iter().find(|event| {
                matches!(
                    event,
                    Event::Panic(_) | Event::Dump(_) | Event::PanicBegan(_)
                )
            });
            assert_eq!(crash, None, "{name} in {size}");
        }
    }
}
