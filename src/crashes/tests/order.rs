//! Who is together, in whatever order dumps, ELFs and merges come.

use super::*;

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
