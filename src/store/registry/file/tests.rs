//! A register on the disk and in memory.

use std::convert::Infallible;

use serde_json::{Map, Value};

use super::*;

fn open(folder: &Path) -> StateFile<Map<String, Value>> {
    StateFile::open(folder, "x.json").unwrap()
}

#[test]
fn a_change_is_on_disk_and_a_refused_one_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path());
    file.change(|map| Ok::<_, Infallible>(map.insert("a".into(), 1.into())))
        .unwrap()
        .unwrap();
    let refused = file.change(|map| {
        map.clear();
        Err::<(), _>("no")
    });
    assert_eq!(refused.unwrap(), Err("no"));
    assert_eq!(file.read()["a"], 1);
    assert_eq!(open(folder.path()).read()["a"], 1);
}

#[test]
fn what_was_noted_is_written_once_and_nothing_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path());
    let path = folder.path().join("x.json");
    file.flush().unwrap();
    assert!(!path.exists());
    file.note(|map| drop(map.insert("a".into(), 1.into())));
    file.flush().unwrap();
    assert_eq!(open(folder.path()).read()["a"], 1);
    fs::remove_file(&path).unwrap();
    file.flush().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_write_for_a_lasting_note_has_the_passing_ones_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path());
    let path = folder.path().join("x.json");
    file.note_passing(|map| drop(map.insert("seen".into(), 1.into())));
    file.flush_lasting().unwrap();
    assert!(!path.exists());
    file.note(|map| drop(map.insert("made".into(), 1.into())));
    file.flush_lasting().unwrap();
    assert_eq!(open_without_repair(folder.path()).len(), 2);
    fs::remove_file(&path).unwrap();
    file.note_passing(|map| drop(map.insert("seen".into(), 2.into())));
    file.flush().unwrap();
    assert_eq!(open_without_repair(folder.path())["seen"], 2);
}

#[test]
fn what_is_noted_while_a_change_is_made_is_in_the_state_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path());
    let changed = file.change(|map| {
        // another thread would find the register as it was, and not wait
        file.note(|map| drop(map.insert("noted".into(), 1.into())));
        assert_eq!(file.read()["noted"], 1);
        Ok::<_, Infallible>(map.insert("changed".into(), 1.into()))
    });
    changed.unwrap().unwrap();
    let now = file.read();
    assert!(now.contains_key("noted") && now.contains_key("changed"));
    assert!(!open(folder.path()).read().contains_key("noted"));
    file.flush().unwrap();
    assert!(open(folder.path()).read().contains_key("noted"));
}

#[test]
fn what_was_only_noted_is_written_once_and_not_into_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path());
    put(&file, "a");
    let copy = fs::read(folder.path().join("x.json.copy")).unwrap();
    file.note(|map| drop(map.insert("b".into(), 1.into())));
    file.flush().unwrap();
    assert!(open_without_repair(folder.path()).contains_key("b"));
    assert_eq!(fs::read(folder.path().join("x.json.copy")).unwrap(), copy);
}

fn open_without_repair(folder: &Path) -> Map<String, Value> {
    serde_json::from_slice(&fs::read(folder.join("x.json")).unwrap()).unwrap()
}

fn put(file: &StateFile<Map<String, Value>>, key: &str) {
    file.change(|map| Ok::<_, Infallible>(map.insert(key.into(), 1.into())))
        .unwrap()
        .unwrap();
}

#[test]
fn a_damaged_register_without_a_copy_is_set_aside_and_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    replace(folder.path(), "x.json", b"{\"a\":", SECRET_MODE).unwrap();
    let file = open(folder.path());
    assert!(file.is_lost());
    assert!(file.read().is_empty());
    assert!(folder.path().join("x.json.damaged").exists());
}

#[test]
fn a_damaged_or_missing_register_comes_back_as_it_was_at_its_last_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    put(&open(folder.path()), "a");
    replace(folder.path(), "x.json", b"\0\0\0", SECRET_MODE).unwrap();
    let file = open(folder.path());
    assert!(!file.is_lost());
    assert_eq!(file.read()["a"], 1);
    assert!(folder.path().join("x.json.damaged").exists());
    fs::remove_file(&path).unwrap();
    assert_eq!(open(folder.path()).read()["a"], 1);
    assert!(path.exists());
}

#[test]
fn what_was_taken_out_of_a_register_does_not_come_back_by_its_copy() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(folder.path());
    put(&file, "a");
    put(&file, "b");
    let copy = folder.path().join("x.json.copy");
    let whole = fs::read(folder.path().join("x.json")).unwrap();
    file.change(|map| Ok::<_, Infallible>(map.remove("a")))
        .unwrap()
        .unwrap();
    assert!(fs::read(&copy).unwrap() != whole);
    replace(folder.path(), "x.json", b"", SECRET_MODE).unwrap();
    let again = open(folder.path());
    assert!(!again.read().contains_key("a") && again.read().contains_key("b"));
    // an older release, which keeps no copy, changed the file
    replace(folder.path(), "x.json", b"{}", SECRET_MODE).unwrap();
    open(folder.path());
    assert_eq!(fs::read(&copy).unwrap(), b"{}");
}
