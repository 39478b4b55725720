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
