//! Signatures made anew.

use super::*;

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
    let new: NewSignatures = [
        ("f1", "s1-x"),
        ("f2", "s1-y"),
        ("f3", "s1-x"),
        ("f4", "s1-c"),
        ("f5", "s1-z"),
    ]
    .iter()
    .map(|(f, s)| ((*f).into(), Some(Arc::new(signature(s)))))
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
fn lists_that_leave_no_frame_leave_the_group_without_a_signature() {
    let mut register = with_signatures(&[("f1", "s1-a", 2), ("f2", "s1-a", 1)]);
    let id = register.group_of("f1").unwrap().id.clone();
    let none = ["f1", "f2"].map(|f| (f.into(), None)).into();
    let changes = register.resign(&none);
    assert_eq!(changes.fingerprints, 2);
    assert_eq!(changes.renamed.len(), 1);
    let group = register.get(&id).unwrap();
    assert_eq!((group.fingerprints.len(), group.aliases.len()), (2, 0));
    assert!(!group.signature.contains("s1-a"), "{}", group.signature);
    // and back
    let both = ["f1", "f2"]
        .map(|f| (f.into(), Some(Arc::new(signature("s1-a")))))
        .into();
    register.resign(&both);
    assert_eq!(register.group_of("f2").unwrap().id, id);
    assert_eq!(register.get(&id).unwrap().signature, "abort | s1-a");
}
