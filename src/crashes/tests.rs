//! Groups under any order of events, and through files.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use time::Duration;

use super::news::News;
use super::*;
use crate::signature::Signature;
use crate::store::crashes::{At, Loaded, Seen, State};

fn at(minute: i64) -> At {
    let start = At::parse("2026-01-01T00:00:00Z").unwrap();
    At(start.0 + Duration::minutes(minute))
}

fn crash(fingerprint: &str, device: &str, minute: i64) -> Occurrence {
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

fn signature(id: &str) -> Signature {
    Signature {
        id: id.to_owned(),
        text: format!("abort | {id}"),
        class: String::from("abort"),
        variant: format!("variant of {id}"),
        ..Signature::default()
    }
}

fn signed(id: &str, builds: &[&str]) -> Decoded {
    Decoded {
        signature: Some(signature(id)),
        builds: builds.iter().map(|build| (*build).to_owned()).collect(),
        model: None,
        gateway_client: false,
    }
}

/// Decides and carries out; the decision is also noted in `log`.
fn decide(
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
fn told(register: &mut Register, overdue: bool) -> Vec<News> {
    let news = register.news(|_| overdue);
    for event in &news {
        register.told(event);
    }
    news
}

/// Who is with whom, and how often each was seen.
fn partition(register: &Register) -> BTreeSet<BTreeMap<String, u64>> {
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
                    (member.fingerprint.clone(), seen)
                })
                .collect()
        })
        .collect()
}

/// Through the disk and back.
fn reloaded(register: &mut Register, log: &[store::crashes::Decision]) -> Register {
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

#[derive(Clone, Debug)]
enum Step {
    /// A crash with this fingerprint, on this device.
    Crash(usize, usize),
    /// Its ELF arrives.
    Decode(usize),
    /// A person says that these two are one.
    Merge(usize, usize),
}

const FINGERPRINTS: usize = 8;

fn take(
    register: &mut Register,
    log: &mut Vec<store::crashes::Decision>,
    signatures: &[usize],
    step: &Step,
) {
    let name = |n: usize| format!("f{n}");
    match step {
        Step::Crash(n, device) => {
            register.count(&crash(&name(*n), &format!("board{device}"), 0));
        }
        Step::Decode(n) => {
            register.decoded(
                &crash(&name(*n), "board0", 0),
                signed(&format!("s1-{}", signatures[*n]), &[]),
            );
        }
        Step::Merge(a, b) => {
            let id = |n: usize| register.group_of(&name(n)).unwrap().id.clone();
            let choice = register.merge(&id(*a), &id(*b));
            decide(register, log, choice);
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_dumps_elfs_and_merges_does_not_change_who_is_together(
        signatures in prop::collection::vec(0_usize..5, FINGERPRINTS),
        merges in prop::collection::vec((0..FINGERPRINTS, 0..FINGERPRINTS), 0..4),
        crashes in prop::collection::vec((0..FINGERPRINTS, 0_usize..3), 0..20),
        orders in prop::collection::vec(any::<u64>(), 3),
    ) {
        let mut outcomes = Vec::new();
        for order in orders {
            // each fingerprint has crashed once before anything is decided about it
            let mut steps: Vec<Step> = crashes.iter().map(|(n, device)| Step::Crash(*n, *device)).collect();
            steps.extend((0..FINGERPRINTS).map(Step::Decode));
            let mut state = order;
            for last in (1..steps.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                steps.swap(last, usize::try_from(state >> 33).unwrap() % (last + 1));
            }
            // decisions keep their order among each other
            for (a, b) in merges.iter().rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let place = steps.iter().position(|step| matches!(step, Step::Merge(..))).unwrap_or(steps.len());
                steps.insert(usize::try_from(state >> 33).unwrap() % (place + 1), Step::Merge(*a, *b));
            }
            let (mut register, mut log) = (Register::default(), Vec::new());
            for n in 0..FINGERPRINTS {
                register.count(&crash(&format!("f{n}"), &format!("first{n}"), 0));
            }
            for step in &steps {
                take(&mut register, &mut log, &signatures, step);
            }
            let before = partition(&register);
            let again = reloaded(&mut register, &log);
            prop_assert_eq!(&partition(&again), &before, "after a restart");
            outcomes.push(before);
        }
        prop_assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:#?}");
    }
}

#[test]
fn one_bug_in_two_builds_is_one_group_once_the_elfs_are_there() {
    let mut register = Register::default();
    register.count(&crash("f1", "board1", 1));
    register.count(&crash("f2", "board2", 2));
    let provisional = register.group_of("f2").unwrap().id.clone();
    assert_eq!(register.groups.len(), 2);
    let first = register
        .decoded(&crash("f1", "board1", 1), signed("s1-a", &["b1"]))
        .unwrap();
    let second = register
        .decoded(&crash("f2", "board2", 2), signed("s1-a", &["b2"]))
        .unwrap();
    assert_eq!(first, second);
    let group = register.get(&provisional).unwrap();
    assert_eq!((group.id.as_str(), group.occurrences), (first.as_str(), 2));
    assert_eq!(group.signature, "abort | s1-a");
    assert_eq!(group.merged_from, [provisional]);
    // told once
    let news = told(&mut register, false);
    assert_eq!(news.len(), 1);
    assert_eq!(news[0].device.as_deref(), Some("board1"));
    assert!(told(&mut register, true).is_empty());
}

#[test]
fn a_resolved_group_is_back_only_in_a_build_that_was_not_known() {
    let mut register = Register::default();
    let mut log = Vec::new();
    register.count(&crash("old", "board1", 1));
    let id = register
        .decoded(&crash("old", "board1", 1), signed("s1-a", &["b1"]))
        .unwrap();
    told(&mut register, false);
    let known = vec![String::from("b1"), String::from("b2")];
    let wish = Wish {
        state: State::Resolved,
        known,
        fixed: Vec::new(),
        until: None,
    };
    let choice = register.wish(&id, wish);
    decide(&mut register, &mut log, choice);
    let state = |register: &Register| state_of(register.get(&id).unwrap(), at(9999));
    assert_eq!(state(&register), State::Resolved);
    // the old build, and one that was there already, only count
    register.count(&crash("old", "board2", 2000));
    register.count(&crash("other", "board1", 2000));
    register.decoded(&crash("other", "board1", 2000), signed("s1-a", &["b2"]));
    // and one without a bundle
    register.count(&crash("local", "board1", 2000));
    register.decoded(&crash("local", "board1", 2000), signed("s1-a", &[]));
    assert_eq!(state(&register), State::Resolved);
    assert!(told(&mut register, false).is_empty());
    register.count(&crash("new", "board3", 2001));
    register.decoded(&crash("new", "board3", 2001), signed("s1-a", &["b3"]));
    assert_eq!(state(&register), State::Regressed);
    let news = told(&mut register, false);
    assert_eq!(news.len(), 1, "{news:#?}");
    assert!(news[0].is_back);
    assert_eq!(
        (news[0].device.as_deref(), news[0].build.as_deref()),
        (Some("board3"), Some("b3"))
    );
    register.count(&crash("new", "board4", 2002));
    assert!(told(&mut register, false).is_empty());
    let again = reloaded(&mut register, &log);
    assert_eq!(state(&again), State::Regressed);
}

#[test]
fn ignored_until_a_count_days_or_a_build() {
    let ignore = |until: &str, fixed: &[&str]| {
        let mut register = Register::default();
        register.count(&crash("f", "board1", 1));
        let id = register
            .decoded(&crash("f", "board1", 1), signed("s1-a", &["b1"]))
            .unwrap();
        let wish = Wish {
            state: State::Ignored,
            known: vec![String::from("b1"), String::from("b2")],
            fixed: fixed.iter().map(|build| (*build).to_owned()).collect(),
            until: Some(until.to_owned()),
        };
        let choice = register.wish(&id, wish)?;
        decide(&mut register, &mut Vec::new(), Ok(choice));
        Ok::<_, Impossible>((register, id))
    };
    let state =
        |register: &Register, id: &str, minute| state_of(register.get(id).unwrap(), at(minute));
    let (mut register, id) = ignore("3x", &[]).unwrap();
    for n in 0..3 {
        assert_eq!(state(&register, &id, 2000), State::Ignored, "{n}");
        register.count(&crash("f", "board1", 2000 + n));
    }
    assert_eq!(state(&register, &id, 2000), State::Open);
    let (register, id) = ignore("2d", &[]).unwrap();
    assert_eq!(state(&register, &id, 1000 + 2879), State::Ignored);
    assert_eq!(state(&register, &id, 1000 + 2880), State::Open);
    let (mut register, id) = ignore("b2", &["b2"]).unwrap();
    register.count(&crash("f", "board1", 2000));
    assert_eq!(state(&register, &id, 2000), State::Ignored);
    register.count(&crash("g", "board1", 2001));
    register.decoded(&crash("g", "board1", 2001), signed("s1-a", &["b2"]));
    assert_eq!(state(&register, &id, 2002), State::Open);
    assert!(matches!(ignore("soon", &[]), Err(Impossible::Until(_))));
}

#[test]
fn a_merged_group_redirects_and_a_split_one_is_apart_for_good() {
    let (mut register, mut log) = (Register::default(), Vec::new());
    for (f, s) in [("f1", "s1-a"), ("f2", "s1-b")] {
        register.count(&crash(f, "board1", 1));
        register.decoded(&crash(f, "board1", 1), signed(s, &[]));
    }
    let id = |register: &Register, f: &str| register.group_of(f).unwrap().id.clone();
    let (a, b) = (id(&register, "f1"), id(&register, "f2"));
    let choice = register.merge(&a, &b);
    decide(&mut register, &mut log, choice);
    assert_eq!(id(&register, "f1"), b);
    assert_eq!(register.resolve(&a).as_ref(), Some(&b));
    // a dump to come with the merged signature
    register.count(&crash("f3", "board2", 2));
    register.decoded(&crash("f3", "board2", 2), signed("s1-a", &[]));
    assert_eq!(id(&register, "f3"), b);
    assert_eq!(register.merge(&a, &b), Err(Impossible::Itself));
    let choice = register.split(&b, "f1", "dump1");
    decide(&mut register, &mut log, choice);
    let c = id(&register, "f1");
    assert_ne!(c, b);
    assert_eq!(
        (id(&register, "f3"), id(&register, "f2")),
        (c.clone(), b.clone())
    );
    let choice = register.split(&c, "f1", "dump1");
    assert!(
        matches!(choice, Ok(Choice::Split { ref alias, .. }) if alias.value == "f1"),
        "{choice:?}"
    );
    let mut again = reloaded(&mut register, &log);
    assert_eq!((id(&again, "f1"), id(&again, "f2")), (c.clone(), b));
    again.count(&crash("f4", "board2", 3));
    again.decoded(&crash("f4", "board2", 3), signed("s1-a", &[]));
    assert_eq!(id(&again, "f4"), c);
}

#[test]
fn a_device_makes_twenty_groups_a_day_and_the_rest_is_counted() {
    let mut register = Register::default();
    for n in 0..1000 {
        register.count(&crash(&format!("f{n}"), "bad", 1));
    }
    register.count(&crash("good", "board1", 1));
    assert_eq!(register.groups.len(), 22);
    let other = register
        .groups
        .values()
        .find(|group| group.is_other())
        .unwrap();
    assert_eq!((other.occurrences, other.fingerprints.len()), (980, 0));
    assert_eq!(other.rest.devices["bad"].occurrences, 980);
    register.count(&crash("next day", "bad", 24 * 60 + 2));
    assert_eq!(register.groups.len(), 23);
    // a known bug is found all the same
    register.decoded(&crash("good", "board1", 1), signed("s1-a", &[]));
    let id = register.decoded(&crash("f999", "bad", 1), signed("s1-a", &[]));
    assert_eq!(id, register.group_of("good").map(|group| group.id.clone()));
}

#[test]
fn what_a_group_names_is_bounded() {
    let mut register = Register::default();
    for n in 0..600 {
        register.count(&crash("f", &format!("board{n}"), n));
    }
    let group = register.group_of("f").unwrap();
    let member = &group.fingerprints["f"];
    assert_eq!((member.devices.len(), group.rest.devices.len()), (500, 100));
    assert_eq!(group.occurrences, 600);
    register.decoded(&crash("f", "board0", 1), signed("s1-a", &[]));
    for n in 0..600 {
        let f = format!("g{n}");
        register.count(&crash(&f, &format!("board{n}"), 1000 + n));
        register.decoded(
            &crash(&f, &format!("board{n}"), 1000 + n),
            signed("s1-a", &[]),
        );
    }
    let group = register.group_of("g599").unwrap();
    assert!(
        group.fingerprints.len() <= 501,
        "{}",
        group.fingerprints.len()
    );
    assert_eq!(group.occurrences, 1200);
}

#[test]
fn groups_come_back_from_the_devices_records() {
    let (mut register, mut log) = (Register::default(), Vec::new());
    for (f, s) in [("f1", "s1-a"), ("f2", "s1-b"), ("f3", "s1-b")] {
        register.count(&crash(f, "board1", 1));
        register.count(&crash(f, "board2", 2));
        register.decoded(&crash(f, "board1", 1), signed(s, &[]));
    }
    let id = |register: &Register, f: &str| register.group_of(f).unwrap().id.clone();
    let wish = Wish {
        state: State::Ignored,
        known: Vec::new(),
        fixed: Vec::new(),
        until: None,
    };
    let choice = register.wish(&id(&register, "f1"), wish);
    decide(&mut register, &mut log, choice);
    let records: Vec<rebuild::Record> = ["f1", "f2", "f3"]
        .iter()
        .flat_map(|f| {
            let group = register.group_of(f).unwrap();
            let member = &group.fingerprints[*f];
            let signature = group
                .aliases
                .iter()
                .find(|alias| Some(&alias.value) == member.signature.as_ref());
            let signature = signature.and_then(|alias| alias.signature.clone());
            let signature = signature.map(Arc::new);
            let records = member
                .devices
                .iter()
                .map(move |(device, seen)| rebuild::Record {
                    crash: crash(f, device, 1),
                    seen: *seen,
                    group: Some(group.id.clone()),
                    signature: signature.clone(),
                    builds: Vec::new(),
                });
            records.collect::<Vec<_>>()
        })
        .collect();
    let mut again = Register::load(Loaded {
        files: Vec::new(),
        decisions: log.clone(),
    });
    for record in &records {
        again.take_in_record(record, at(5000).0);
    }
    again.apply_all();
    assert_eq!(partition(&again), partition(&register));
    for f in ["f1", "f2", "f3"] {
        assert_eq!(id(&again, f), id(&register, f));
    }
    let state = |register: &Register| state_of(register.group_of("f1").unwrap(), at(9999));
    assert_eq!(
        (state(&again), state(&register)),
        (State::Ignored, State::Ignored)
    );
    assert!(told(&mut again, true).is_empty(), "old crashes are no news");
    // a second time changes nothing
    for record in &records {
        again.take_in_record(record, at(5000).0);
    }
    assert_eq!(partition(&again), partition(&register));
    let more = Seen {
        occurrences: 7,
        ..records[0].seen
    };
    again.take_in_record(
        &rebuild::Record {
            seen: more,
            ..records[0].clone()
        },
        at(5000).0,
    );
    assert_eq!(again.group_of("f1").unwrap().occurrences, 8);
}

/// A register with these fingerprints and signatures, `(fingerprint, signature, crashes)`.
fn with_signatures(crashes: &[(&str, &str, usize)]) -> Register {
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

#[test]
fn new_lists_split_and_merge_groups_and_people_s_decisions_hold() {
    let mut register = with_signatures(&[
        ("f1", "s1-a", 7),
        ("f2", "s1-a", 3),
        ("f3", "s1-b", 2),
        ("f4", "s1-c", 1),
        ("f5", "s1-d", 1),
    ]);
    let id = |register: &Register, f: &str| register.group_of(f).unwrap().id.clone();
    let ids: Vec<String> = ["f1", "f3", "f4", "f5"]
        .iter()
        .map(|f| id(&register, f))
        .collect();
    // a person says that d is c
    let choice = register.merge(&ids[3], &ids[2]);
    decide(&mut register, &mut Vec::new(), choice);
    let new: HashMap<String, Option<Signature>> = [
        ("f1", "s1-x"),
        ("f2", "s1-y"),
        ("f3", "s1-x"),
        ("f4", "s1-c"),
        ("f5", "s1-z"),
    ]
    .iter()
    .map(|(f, s)| ((*f).to_owned(), Some(signature(s))))
    .collect();
    // a dry run
    let changes = register.clone().resign(&new);
    assert_eq!(id(&register, "f2"), ids[0]);
    assert_eq!(register.resign(&new).merged, changes.merged);
    assert_eq!(id(&register, "f1"), ids[0]);
    assert_eq!(id(&register, "f3"), ids[0]);
    assert_ne!(id(&register, "f2"), ids[0]);
    assert_eq!(id(&register, "f5"), ids[2]);
    assert_eq!(id(&register, "f4"), ids[2]);
    assert_eq!(register.resolve(&ids[1]), Some(ids[0].clone()));
    assert_eq!(changes.merged, [(ids[1].clone(), ids[0].clone())]);
    assert_eq!(changes.split.len(), 1);
    assert_eq!(changes.split[0].1, ids[0]);
    assert_eq!(changes.fingerprints, 4);
    assert_eq!(register.get(&ids[0]).unwrap().occurrences, 9);
    assert!(told(&mut register, true).is_empty(), "nothing is new by it");
    // a second time there is nothing to do
    assert_eq!(register.resign(&new), Changes::default());
    // and a later dump with the merged signature is where the person wants it
    register.count(&crash("f6", "board1", 2));
    let at = register.decoded(&crash("f6", "board1", 2), signed("s1-z", &[]));
    assert_eq!(at, Some(ids[2].clone()));
}

#[test]
fn a_restart_counts_nothing_twice() {
    let mut register = Register::default();
    for n in 0..560 {
        let f = format!("f{n}");
        register.count(&crash(&f, &format!("board{}", n % 40), n));
        register.decoded(
            &crash(&f, &format!("board{}", n % 40), n),
            signed("s1-a", &[]),
        );
    }
    let id = register.group_of("f559").unwrap().id.clone();
    assert_eq!(register.get(&id).unwrap().occurrences, 560);
    for _ in 0..2 {
        let mut again = reloaded(&mut register, &[]);
        for n in 0..560 {
            let record = rebuild::Record {
                crash: crash(&format!("f{n}"), &format!("board{}", n % 40), n),
                seen: Seen {
                    occurrences: 1,
                    first_seen: at(n),
                    last_seen: at(n),
                    during_outage: 0,
                },
                group: Some(id.clone()),
                signature: Some(Arc::new(signature("s1-a"))),
                builds: Vec::new(),
            };
            again.take_in_record(&record, at(9999).0);
        }
        assert_eq!(again.get(&id).unwrap().occurrences, 560);
        register = again;
        register.dirty_all();
    }
}

#[test]
fn a_lost_end_of_the_log_does_not_make_a_decision_void() {
    let (mut register, mut log) = (with_signatures(&[("f1", "s1-a", 1)]), Vec::new());
    let id = register.group_of("f1").unwrap().id.clone();
    let wish = |state| Wish {
        state,
        known: Vec::new(),
        fixed: Vec::new(),
        until: None,
    };
    for state in [State::Ignored, State::Resolved] {
        let choice = register.wish(&id, wish(state));
        decide(&mut register, &mut log, choice);
    }
    log.truncate(1);
    let mut again = reloaded(&mut register, &log);
    let choice = again.wish(&id, wish(State::Open));
    decide(&mut again, &mut log, choice);
    assert_eq!(state_of(again.get(&id).unwrap(), at(9999)), State::Open);
    assert_eq!(log[1].number, 3);
}

#[test]
fn a_chain_of_merges_is_followed_to_its_end() {
    let names: Vec<String> = (0..100).map(|n| format!("f{n}")).collect();
    let signatures: Vec<String> = (0..100).map(|n| format!("s1-{n}")).collect();
    let crashes: Vec<(&str, &str, usize)> = names
        .iter()
        .zip(&signatures)
        .map(|(name, signature)| (name.as_str(), signature.as_str(), 1))
        .collect();
    let mut register = Register::default();
    for (n, (f, s, _)) in crashes.iter().enumerate() {
        let device = format!("board{n}");
        register.count(&crash(f, &device, 1));
        register.decoded(&crash(f, &device, 1), signed(s, &[]));
    }
    let ids: Vec<String> = names
        .iter()
        .map(|f| register.group_of(f).unwrap().id.clone())
        .collect();
    for pair in ids.windows(2) {
        let choice = register.merge(&pair[0], &pair[1]);
        decide(&mut register, &mut Vec::new(), choice);
    }
    assert_eq!(register.resolve(&ids[0]), Some(ids[99].clone()));
}

#[test]
fn lists_that_leave_no_frame_leave_the_group_without_a_signature() {
    let mut register = with_signatures(&[("f1", "s1-a", 2), ("f2", "s1-a", 1)]);
    let id = register.group_of("f1").unwrap().id.clone();
    let none = ["f1", "f2"].map(|f| (f.to_owned(), None)).into();
    let changes = register.resign(&none);
    assert_eq!(changes.fingerprints, 2);
    assert_eq!(changes.renamed.len(), 1);
    let group = register.get(&id).unwrap();
    assert_eq!((group.fingerprints.len(), group.aliases.len()), (2, 0));
    assert!(!group.signature.contains("s1-a"), "{}", group.signature);
    // and back
    let both = ["f1", "f2"]
        .map(|f| (f.to_owned(), Some(signature("s1-a"))))
        .into();
    register.resign(&both);
    assert_eq!(register.group_of("f2").unwrap().id, id);
    assert_eq!(register.get(&id).unwrap().signature, "abort | s1-a");
}

#[test]
fn a_dump_that_a_full_group_only_counts_is_decoded_again_without_counting() {
    let mut register = Register::default();
    for n in 0..520 {
        let crash = crash(&format!("f{n}"), &format!("board{}", n % 40), n);
        register.count(&crash);
        register.decoded(&crash, signed("s1-a", &[]));
    }
    let id = register.group_of("f519").unwrap().id.clone();
    let folded = crash("f0", "board0", 0);
    assert!(register.group_of("f0").is_none());
    for _ in 0..3 {
        assert_eq!(
            register.decoded(&folded, signed("s1-a", &[])),
            Some(id.clone())
        );
    }
    assert_eq!(register.get(&id).unwrap().occurrences, 520);
}

#[test]
fn what_the_model_s_other_counted_goes_to_its_group_once() {
    let mut register = Register::default();
    let crashes: Vec<Occurrence> = (0..30)
        .map(|n| crash(&format!("f{n}"), "board", 1))
        .collect();
    for crash in &crashes {
        register.count(crash);
    }
    for crash in &crashes {
        register.decoded(crash, signed("s1-a", &[]));
    }
    let counts: u64 = register
        .groups
        .values()
        .map(|group| group.occurrences)
        .sum();
    assert_eq!(counts, 30);
    assert_eq!(register.group_of("f29").unwrap().occurrences, 30);
}
