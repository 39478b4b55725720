//! Groups under any order of events, and through files.

mod bounds;
mod decisions;
mod order;
mod rebuilt;
mod resigned;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use time::Duration;

use super::news::News;
use super::*;
use crate::signature::Signature;
use crate::store::crashes::{At, Loaded, Seen, State};

pub(super) fn at(minute: i64) -> At {
    let start = At::parse("2026-01-01T00:00:00Z").unwrap();
    At::of(start.time() + Duration::minutes(minute))
}

pub(super) fn crash(fingerprint: &str, device: &str, minute: i64) -> Occurrence {
    Occurrence {
        fingerprint: fingerprint.to_owned(),
        algorithm: Some(1),
        device: device.to_owned(),
        model: Some(String::from("kitchen")),
        app_elf_sha256: Some(format!("elf of {fingerprint}")),
        version: Some(String::from("1.0")),
        panic_reason: Some(format!("reason of {fingerprint}")),
        task: Some(String::from("main")),
        at: at(minute),
        during_outage: false,
    }
}

pub(super) fn signature(id: &str) -> Signature {
    Signature {
        id: id.to_owned(),
        text: format!("abort | {id}"),
        class: String::from("abort"),
        variant: format!("variant of {id}"),
        ..Signature::default()
    }
}

pub(super) fn signed(id: &str, builds: &[&str]) -> Decoded {
    Decoded {
        signature: Some(signature(id)),
        builds: builds.iter().map(|build| (*build).to_owned()).collect(),
        model: None,
        gateway_client: false,
    }
}

/// Decides and carries out; the decision is also noted in `log`.
pub(super) fn decide(
    register: &mut Register,
    log: &mut Vec<store::crashes::Decision>,
    choice: Result<Choice, Impossible>,
) {
    let Ok(choice) = choice else {
        return;
    };
    let decision = register.decide(
        choice,
        "uid 0",
        at(1000 + i64::try_from(log.len()).unwrap()),
    );
    register.apply(&decision);
    log.push(decision);
}

/// What is told now, with everything as overdue or not.
pub(super) fn told(register: &mut Register, overdue: bool) -> Vec<News> {
    let news = register.news(|_| overdue);
    for event in &news {
        register.told(event);
    }
    news
}

/// Who is with whom, and how often each was seen.
pub(super) fn partition(register: &Register) -> BTreeSet<BTreeMap<String, u64>> {
    let groups = register
        .groups
        .values()
        .filter(|group| !group.fingerprints.is_empty());
    groups
        .map(|group| {
            let members = group.fingerprints.values();
            members
                .map(|member| {
                    let seen = member.devices.values().map(|seen| seen.occurrences).sum();
                    (member.fingerprint.to_string(), seen)
                })
                .collect()
        })
        .collect()
}

/// Through the disk and back.
pub(super) fn reloaded(register: &mut Register, log: &[store::crashes::Decision]) -> Register {
    let mut files = Vec::new();
    for file in register.take_dirty(usize::MAX) {
        let text = serde_json::to_string(&file.1).unwrap();
        files.push(serde_json::from_str(&text).unwrap());
    }
    Register::load(Loaded {
        files,
        decisions: log.to_vec(),
    })
}

/// A register with these fingerprints and signatures, `(fingerprint, signature, crashes)`.
pub(super) fn with_signatures(crashes: &[(&str, &str, usize)]) -> Register {
    let mut register = Register::default();
    for (f, s, count) in crashes {
        for n in 0..*count {
            register.count(&crash(f, &format!("board{n}"), 1));
        }
        register.decoded(&crash(f, "board0", 1), signed(s, &[]));
    }
    told(&mut register, true);
    register
}
