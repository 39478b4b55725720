//! What people decide, and what ends it.

use super::*;

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
