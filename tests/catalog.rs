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
            let tests = text.find("#[cfg(test)]\nmod tests {");
            all.push_str(&text[..tests.unwrap_or(text.len())]);
        }
    }
    all
}

#[test]
fn every_event_is_said_somewhere() {
    let code = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let words: HashSet<&str> = code
        .split("Event::")
        .skip(1)
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric());
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect();
    let silent: Vec<Event> = Event::ALL
        .iter()
        .copied()
        .filter(|event| !words.contains(event.name()))
        .collect();
    assert_eq!(silent, []);
}
