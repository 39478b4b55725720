//! The journal's catalog has a text for every event that may need a person.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use espgate::journal::Event;
use log::Level;

/// The catalog's entries by message id: (subject, body).
fn entries() -> HashMap<&'static str, (&'static str, &'static str)> {
    let catalog = include_str!("../systemd/espgate.catalog");
    let mut found = HashMap::new();
    for entry in catalog.split("\n-- ").skip(1) {
        let (id, rest) = entry.split_once('\n').unwrap();
        let (head, body) = rest.split_once("\n\n").unwrap();
        let subject = head.lines().find_map(|line| line.strip_prefix("Subject: "));
        let subject = subject.unwrap_or_else(|| panic!("{id} has no subject"));
        assert!(head.contains("Defined-By: espgate"), "{id}");
        let twice = found.insert(id, (subject, body));
        assert!(twice.is_none(), "{id} is there twice");
    }
    found
}

#[test]
fn every_event_that_may_need_a_person_is_explained() {
    let entries = entries();
    let missing: Vec<_> = Event::ALL
        .iter()
        .filter(|event| event.level() <= Level::Warn)
        .filter(|event| !entries.contains_key(event.message_id()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_text_belongs_to_an_event() {
    for (id, (subject, _)) in entries() {
        assert!(Event::from_message_id(id).is_some(), "{id} {subject}");
    }
}

#[test]
fn texts_are_short_lines_under_subjects_of_their_own() {
    let mut subjects = HashMap::new();
    for (id, (subject, body)) in entries() {
        assert_eq!(subjects.insert(subject, id), None, "{subject}");
        assert!(!body.trim().is_empty(), "{subject}");
        for line in body.lines() {
            assert!(line.len() <= 80, "{subject}: {line}");
        }
    }
}

#[test]
fn texts_refer_only_to_fields_that_entries_have() {
    let known = [
        "DEVICE_KEY",
        "MODEL_CODE",
        "FIRMWARE_VERSION",
        "COREDUMP_ID",
        "FINGERPRINT",
        "SERIAL_PORT",
        "CORRELATION_ID",
        "ACTOR",
        "CRASH",
        "SIGNATURE",
        "BUILD",
        "ROLLOUT",
    ];
    for (subject, body) in entries().into_values() {
        for field in body.split('@').skip(1).step_by(2) {
            assert!(known.contains(&field), "{subject}: @{field}@");
        }
    }
}

/// What the code says below `folder`, without its tests.
fn code(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            all.push_str(&code(&path));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "event.rs" {
            let text = fs::read_to_string(&path).unwrap();
            // they are the last in a file
            let tests = text.find("#[cfg(test)]\nmod tests {").or_else(|| {
                let tests = text.rfind("#[cfg(test)]\npub")?;
                text[tests..].contains(" mod tests {").then_some(tests)
            });
            all.push_str(&text[..tests.unwrap_or(text.len())]);
        }
    }
    all
}

/// The events that `code` says: `Event::X.entry()`, `entry(Event::X)`, or `Event::X` as the value
/// of an arm or in a tuple, which is handed to whoever says it. A comment, a
/// pattern or a comparison says nothing.
fn said(code: &str) -> HashSet<String> {
    let lines = code.lines().map(|line| match line.trim_start() {
        comment if comment.starts_with("//") => "",
        line => line,
    });
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut said = HashSet::new();
    for (at, begin) in code.match_indices("Event::") {
        let name: String = code[at + begin.len()..]
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        let before = code[..at].trim_end();
        let after = code[at + begin.len() + name.len()..].trim_start();
        let is_value = before.ends_with("=>") || before.ends_with(',');
        let is_entry = before
            .strip_suffix("entry(")
            .is_some_and(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            && after.starts_with(')');
        if after.starts_with(".entry()") || is_entry || is_value && after.starts_with(',') {
            said.insert(name);
        }
    }
    said
}

#[test]
fn an_event_is_said_by_its_entry_or_as_a_value_and_not_by_being_mentioned() {
    let cases = [
        ("Event::DiskFull.entry().say(\"full\")", true),
        ("Event::DiskFull\n    .entry()", true),
        ("Action::Full => entry(Event::DiskFull).say(\"full\")", true),
        ("is_reentry(Event::DiskFull)", false),
        ("Self::Full { .. } => Event::DiskFull,", true),
        ("(State::Busy, Event::DiskFull, note)", true),
        ("/// As [`Event::DiskFull`].", false),
        ("// Event::DiskFull.entry()", false),
        ("Event::DiskFull => SAID.store(true),", false),
        ("Event::Started | Event::DiskFull => {}", false),
        ("if event == Event::DiskFull {", false),
        ("use crate::journal::Event::DiskFull;", false),
    ];
    for (code, expected) in cases {
        assert_eq!(said(code).contains("DiskFull"), expected, "{code}");
    }
}

#[test]
fn every_event_is_said_somewhere() {
    let code = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let said = said(&code);
    let silent: Vec<Event> = Event::ALL
        .iter()
        .copied()
        .filter(|event| !said.contains(event.name()))
        .collect();
    assert_eq!(silent, []);
}
