//! What devices can make a gateway remember.

use super::*;

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
    assert_eq!(other.rest.devices.get("bad").unwrap().occurrences, 980);
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
