//! Groups from the devices' own records.

use super::*;

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
                .find(|alias| Some(&*alias.value) == member.signature.as_deref());
            let signature = signature.and_then(|alias| alias.signature.clone());
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
        again.take_in_record(record, at(5000).time());
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
        again.take_in_record(record, at(5000).time());
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
        at(5000).time(),
    );
    assert_eq!(again.group_of("f1").unwrap().occurrences, 8);
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
                signature: Some(signature("s1-a")),
                builds: Vec::new(),
            };
            again.take_in_record(&record, at(9999).time());
        }
        assert_eq!(again.get(&id).unwrap().occurrences, 560);
        register = again;
        register.dirty_all();
    }
}

#[test]
fn a_record_in_place_of_another_one_counts_the_crash_once() {
    let mut register = Register::default();
    // the console told it, under the name of the port; the flash has it under the board's
    register.count(&crash("panic", "usb1", 1));
    let told = register.group_of("panic").unwrap().id.clone();
    register.count(&crash("dump", "board1", 2));
    let id = register.group_of("dump").unwrap().id.clone();
    register.uncount("panic", "usb1", &id);
    assert_eq!(register.get(&id).unwrap().occurrences, 1);
    assert_eq!(register.resolve(&told), Some(id.clone()));
    // the same fingerprint under both names
    register.count(&crash("dump", "usb1", 3));
    register.uncount("dump", "usb1", &id);
    let group = register.get(&id).unwrap();
    assert_eq!(
        (group.occurrences, group.fingerprints["dump"].devices.len()),
        (1, 1)
    );
    register.uncount("nosuch", "usb1", &id);
}

#[test]
fn a_fingerprint_by_another_name_is_counted_once_on_each_device() {
    let mut register = Register::default();
    for device in ["board1", "board2", "board2"] {
        register.count(&crash("former", device, 1));
    }
    let id = register.group_of("former").unwrap().id.clone();
    for (device, occurrences) in [("board2", 4), ("board1", 5)] {
        register.rename("former", &crash("now", device, 2));
        register.count(&crash("now", device, 2));
        let group = register.group_of("now").unwrap();
        assert_eq!(
            (&group.id, group.occurrences),
            (&id, occurrences),
            "{device}"
        );
    }
    assert!(register.group_of("former").is_none());
}

fn record(fingerprint: &str, device: &str, occurrences: u64, group: &str) -> rebuild::Record {
    rebuild::Record {
        crash: crash(fingerprint, device, 1),
        seen: Seen {
            occurrences,
            first_seen: at(1),
            last_seen: at(1),
            during_outage: 0,
        },
        group: Some(group.to_owned()),
        signature: None,
        builds: Vec::new(),
    }
}

/// Takes in the records as a start does, each device's at once.
fn complete(register: &mut Register, records: &[rebuild::Record]) {
    let mut by_device: BTreeMap<&str, Vec<rebuild::Record>> = BTreeMap::new();
    for record in records {
        let records = by_device.entry(&record.crash.device).or_default();
        records.push(record.clone());
    }
    let mut completion = completion::Completion::default();
    for (device, records) in by_device {
        completion.take_in(register, device, &records, at(5000).time());
    }
    register.apply_all();
    completion.finish(register);
}

#[test]
fn the_model_s_other_comes_back_as_such_and_is_counted_once() {
    let mut register = Register::default();
    let records: Vec<_> = (0..30)
        .map(|n| {
            let crash = crash(&format!("f{n}"), "bad", 1);
            let group = register.assign(&crash);
            register.count(&crash);
            record(&crash.fingerprint, "bad", 1, &group)
        })
        .collect();
    let other = |register: &Register| {
        let mut others = register.groups.values().filter(|group| group.is_other());
        let other = others.next().unwrap();
        assert!(others.next().is_none());
        (other.id.clone(), other.occurrences, other.rest.clone())
    };
    let before = other(&register);
    assert_eq!(before.1, 10);
    // with its file nothing changes
    let mut again = reloaded(&mut register, &[]);
    complete(&mut again, &records);
    assert_eq!(other(&again), before);
    // without any
    let mut again = Register::default();
    for _ in 0..2 {
        complete(&mut again, &records);
        assert_eq!(other(&again), before);
        assert_eq!(partition(&again), partition(&register));
    }
}

#[test]
fn devices_that_a_group_does_not_name_come_back_in_its_counts() {
    let records: Vec<_> = (0..1200)
        .map(|n| record("f", &format!("board{n}"), 2, "c00000"))
        .collect();
    let mut register = Register::default();
    for _ in 0..2 {
        complete(&mut register, &records);
        let group = register.get("c00000").unwrap();
        assert_eq!(group.occurrences, 2400);
        assert_eq!(group.fingerprints["f"].devices.len(), 500);
        assert_eq!(
            (group.rest.devices.len(), group.rest.occurrences),
            (500, 400)
        );
    }
}

#[test]
fn ids_of_groups_that_ended_lead_to_where_their_crashes_are() {
    let dump = record("f1", "board1", 1, "c00001");
    // this one has crashes of its own still
    let other = record("f2", "board2", 1, "c00003");
    let mut register = Register::default();
    let mut completion = completion::Completion::default();
    for dump in [dump, other] {
        let device = dump.crash.device.clone();
        completion.take_in(&mut register, &device, &[dump], at(5000).time());
    }
    let former = ["c00002", "c00003"].map(|id| (id.into(), "f1".into()));
    completion.remember(&register, former.into());
    completion.finish(&mut register);
    for (id, expected) in [
        ("c00001", "c00001"),
        ("c00002", "c00001"),
        ("c00003", "c00003"),
    ] {
        assert_eq!(register.resolve(id).as_deref(), Some(expected), "{id}");
    }
    // and in the file of that group
    let again = reloaded(&mut register, &[]);
    assert_eq!(again.resolve("c00002").as_deref(), Some("c00001"));
}
