//! Dumps that are stored, counted, put right and removed.

use super::sidecar::tests::sample;
use super::*;
use crate::store::publish::replace;

fn coredumps(root: &Path) -> Coredumps {
    Coredumps::new(root, Sequence::open(root).unwrap())
}

fn store(coredumps: &Coredumps, stem: &str, id: &str) -> Result<()> {
    let key: DeviceKey = "k1".parse().unwrap();
    let mut sidecar = sample(id, coredumps.next_sequence()?);
    sidecar.fingerprint = Some(String::from("f00d"));
    let new = NewDump {
        sidecar,
        dump: b"dump",
        log: None,
    };
    coredumps.with(&key, |folder| folder.store(stem, &new))
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let first = coredumps(root.path());
    store(&first, "coredump_1", "a").unwrap();
    store(&first, "coredump_2", "b").unwrap();
    first.flush().unwrap();
    let second = coredumps(root.path());
    assert_eq!(second.locate("b").unwrap().1, "coredump_2");
    let key: DeviceKey = "k1".parse().unwrap();
    second
        .with(&key, |folder| {
            assert_eq!(folder.crash("f00d").unwrap().occurrences, 2);
            assert_eq!(folder.crash("f00d").unwrap().kept, ["a", "b"]);
            assert!(folder.entries()[0].sequence < folder.entries()[1].sequence);
            Ok(())
        })
        .unwrap();
    assert!(second.next_sequence().unwrap() > 2);
}

#[test]
fn a_crash_that_is_called_otherwise_now_keeps_its_count_and_its_dumps() {
    let root = tempfile::tempdir().unwrap();
    let first = coredumps(root.path());
    store(&first, "coredump_1", "a").unwrap();
    store(&first, "coredump_2", "b").unwrap();
    let key: DeviceKey = "k1".parse().unwrap();
    let rename = |folder: &mut DeviceFolder| folder.rename_crash("f00d", "beef");
    first.with(&key, rename).unwrap();
    // and once more, as after a power cut
    first.with(&key, rename).unwrap();
    drop(first);
    let second = coredumps(root.path());
    second
        .with(&key, |folder| {
            assert_eq!(folder.crash("f00d"), None);
            let crash = folder.crash("beef").unwrap();
            assert_eq!((crash.occurrences, crash.kept.len()), (2, 2));
            assert_eq!(crash.extra[ALIASES], serde_json::json!(["f00d"]));
            let sidecar = folder.sidecar("coredump_1")?;
            assert_eq!(sidecar.fingerprint.as_deref(), Some("beef"));
            assert_eq!(sidecar.fingerprint_algorithm, Some(2));
            assert_eq!(sidecar.extra[ALIASES], serde_json::json!(["f00d"]));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_crash_file_that_was_never_written_is_counted_from_the_dumps() {
    let root = tempfile::tempdir().unwrap();
    let first = coredumps(root.path());
    store(&first, "coredump_1", "a").unwrap();
    store(&first, "coredump_2", "b").unwrap();
    drop(first);
    let key: DeviceKey = "k1".parse().unwrap();
    coredumps(root.path())
        .with(&key, |folder| {
            assert_eq!(folder.crash("f00d").unwrap().occurrences, 2);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_a_crash_left_behind_is_put_right() {
    let root = tempfile::tempdir().unwrap();
    let first = coredumps(root.path());
    for (stem, id) in [
        ("coredump_1", "a"),
        ("coredump_2", "b"),
        ("coredump_3", "c"),
    ] {
        store(&first, stem, id).unwrap();
    }
    drop(first);
    let folder = root.path().join("k1");
    fs::remove_file(folder.join("coredump_1.dmp")).unwrap();
    fs::remove_file(folder.join("coredump_2.json")).unwrap();
    replace(&folder, "coredump_3.json", b"{\"id\":", 0o640).unwrap();
    replace(&folder, ".tmp-1-1", b"half", 0o640).unwrap();
    let second = coredumps(root.path());
    let ids = second.collect(|_, entry| Some((entry.stem.to_string(), entry.sequence)));
    let stems: Vec<_> = ids.iter().map(|(stem, _)| stem.as_str()).collect();
    assert_eq!(stems, ["coredump_2", "coredump_3"]);
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "coredump_2.dmp",
            "coredump_2.json",
            "coredump_3.dmp",
            "coredump_3.json",
            "coredump_3.json.damaged",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_not_damage() {
    let root = tempfile::tempdir().unwrap();
    let key: DeviceKey = "k1".parse().unwrap();
    let first = coredumps(root.path());
    store(&first, "coredump_1", "a").unwrap();
    first.flush().unwrap();
    drop(first);
    for name in ["coredump_1.json", "crash_f00d.json"] {
        let path = root.path().join("k1").join(name);
        let whole = fs::read(&path).unwrap();
        // reading it fails with ELOOP, also for root
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(name, &path).unwrap();
        let mut second = coredumps(root.path());
        second.between_reads = Duration::ZERO;
        assert_eq!(second.locate("a").is_some(), name != "coredump_1.json");
        let names = || fs::read_dir(root.path().join("k1")).unwrap().count();
        assert_eq!(names(), 3, "{name}");
        // the board's next dump is kept all the same, and nothing written over
        store(&second, "coredump_2", "b").unwrap();
        second.flush().unwrap();
        assert!(second.locate("b").is_some(), "{name}");
        assert!(path.is_symlink(), "{name}");
        second
            .with(&key, |folder| folder.remove("coredump_2"))
            .unwrap();
        // read again once that works
        fs::remove_file(&path).unwrap();
        replace(&root.path().join("k1"), name, &whole, 0o640).unwrap();
        assert!(second.locate("a").is_some(), "{name}");
        assert_eq!(fs::read(&path).unwrap(), whole, "{name}");
        assert_eq!(names(), 3, "{name}");
    }
}

#[test]
fn what_a_dump_takes_is_counted_as_its_files_are_written() {
    let root = tempfile::tempdir().unwrap();
    let coredumps = coredumps(root.path());
    store(&coredumps, "coredump_1", "a").unwrap();
    let key: DeviceKey = "k1".parse().unwrap();
    let on_disk = || -> u64 {
        let files = fs::read_dir(root.path().join("k1")).unwrap().flatten();
        let dumps = files.filter(|file| file.file_name().to_string_lossy().contains("dump_"));
        dumps.map(|file| file.metadata().unwrap().len()).sum()
    };
    coredumps
        .with(&key, |folder| {
            assert_eq!(folder.entries()[0].bytes, on_disk());
            folder.store_report("coredump_1", &[b' '; 5000], |_| {})?;
            assert_eq!(folder.entries()[0].bytes, on_disk());
            folder.store_log("coredump_1", &[b' '; 700])?;
            assert_eq!(folder.entries()[0].bytes, on_disk());
            folder.change("coredump_1", |sidecar| {
                sidecar.problems = vec!["x".repeat(99)]
            })?;
            assert_eq!(folder.entries()[0].bytes, on_disk());
            assert!(on_disk() > 5800);
            folder.remove("coredump_1")?;
            assert_eq!(on_disk(), 0);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_crash_that_is_forgotten_is_gone_from_disk_and_memory() {
    let root = tempfile::tempdir().unwrap();
    let coredumps = coredumps(root.path());
    store(&coredumps, "coredump_1", "a").unwrap();
    coredumps.flush().unwrap();
    let key: DeviceKey = "k1".parse().unwrap();
    coredumps
        .with(&key, |folder| {
            folder.remove("coredump_1")?;
            folder.forget_crashes(&["f00d".into(), "unknown".into()])?;
            assert!(folder.crashes().is_empty());
            folder.flush()
        })
        .unwrap();
    assert_eq!(fs::read_dir(root.path().join("k1")).unwrap().count(), 0);
}

#[test]
fn removing_a_dump_leaves_its_crash() {
    let root = tempfile::tempdir().unwrap();
    let coredumps = coredumps(root.path());
    store(&coredumps, "coredump_1", "a").unwrap();
    let key: DeviceKey = "k1".parse().unwrap();
    coredumps
        .with(&key, |folder| folder.remove("coredump_1"))
        .unwrap();
    coredumps.flush().unwrap();
    let names: Vec<_> = fs::read_dir(root.path().join("k1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["crash_f00d.json"]);
}

#[test]
fn a_dump_that_could_not_be_removed_entirely_stands_for_nothing_any_more() {
    let root = tempfile::tempdir().unwrap();
    let coredumps = coredumps(root.path());
    store(&coredumps, "coredump_1", "a").unwrap();
    let in_the_way = root.path().join("k1/coredump_1.log");
    fs::create_dir(&in_the_way).unwrap();
    let key: DeviceKey = "k1".parse().unwrap();
    coredumps
        .with(&key, |folder| {
            folder.remove("coredump_1").unwrap_err();
            assert!(!folder.file("coredump_1", "dmp").exists());
            assert_eq!(folder.find("a"), None);
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_occurrence_that_could_not_be_written_is_not_counted_either() {
    let root = tempfile::tempdir().unwrap();
    let coredumps = coredumps(root.path());
    store(&coredumps, "coredump_1", "a").unwrap();
    let in_the_way = root.path().join("k1/crash_f00d.json");
    fs::create_dir(&in_the_way).unwrap();
    let key: DeviceKey = "k1".parse().unwrap();
    coredumps
        .with(&key, |folder| {
            let again = folder.sidecar("coredump_1")?;
            folder.count_durably(&again).unwrap_err();
            assert_eq!(folder.crash("f00d").unwrap().occurrences, 1);
            fs::remove_dir(&in_the_way).unwrap();
            folder.count_durably(&again)?;
            assert_eq!(folder.crash("f00d").unwrap().occurrences, 2);
            Ok(())
        })
        .unwrap();
}

fn store_at(coredumps: &Coredumps, id: &str, uploaded_at: &str) {
    let key: DeviceKey = "k1".parse().unwrap();
    let mut sidecar = sample(id, coredumps.next_sequence().unwrap());
    sidecar.fingerprint = Some(String::from("f00d"));
    sidecar.uploaded_at = uploaded_at.to_owned();
    let new = NewDump {
        sidecar,
        dump: b"dump",
        log: None,
    };
    let stem = format!("coredump_{id}");
    coredumps
        .with(&key, |folder| folder.store(&stem, &new))
        .unwrap();
}

#[test]
fn a_record_is_read_from_its_file_once_that_is_written() {
    let root = tempfile::tempdir().unwrap();
    let coredumps = coredumps(root.path());
    let key: DeviceKey = "k1".parse().unwrap();
    store_at(&coredumps, "a", "2026-01-01T00:00:01.000000Z");
    let occurrences = || {
        let read = |folder: &mut DeviceFolder| Ok(folder.crash("f00d").unwrap().occurrences);
        coredumps.with(&key, read).unwrap()
    };
    // there is no file yet
    assert_eq!(occurrences(), 1);
    coredumps.flush().unwrap();
    let path = root.path().join("k1/crash_f00d.json");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("\"occurrences\": 1", "\"occurrences\": 7");
    replace(
        &root.path().join("k1"),
        "crash_f00d.json",
        text.as_bytes(),
        0o640,
    )
    .unwrap();
    assert_eq!(occurrences(), 7);
    store_at(&coredumps, "b", "2026-01-01T00:00:02.000000Z");
    assert_eq!(occurrences(), 8);
    let known = coredumps.with(&key, |folder| Ok(folder.crashes().to_vec()));
    let known = known.unwrap();
    assert_eq!((known.len(), known[0].occurrences), (1, 8));
    assert_eq!(known[0].last_seen, *"2026-01-01T00:00:02.000000Z");
}

#[test]
fn a_record_that_cannot_be_read_any_more_is_not_written_over() {
    let root = tempfile::tempdir().unwrap();
    let mut coredumps = coredumps(root.path());
    coredumps.between_reads = Duration::MAX;
    let key: DeviceKey = "k1".parse().unwrap();
    store_at(&coredumps, "a", "2026-01-01T00:00:01.000000Z");
    coredumps.flush().unwrap();
    let path = root.path().join("k1/crash_f00d.json");
    let whole = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("crash_f00d.json", &path).unwrap();
    // the board's next dump is kept and counted all the same
    store_at(&coredumps, "b", "2026-01-01T00:00:02.000000Z");
    coredumps.flush().unwrap();
    assert!(path.is_symlink());
    let occurrences = |coredumps: &Coredumps| {
        let read = |folder: &mut DeviceFolder| Ok(folder.crash("f00d").unwrap().occurrences);
        coredumps.with(&key, read).unwrap()
    };
    assert_eq!(occurrences(&coredumps), 1);
    // read again once that works
    fs::remove_file(&path).unwrap();
    replace(&root.path().join("k1"), "crash_f00d.json", &whole, 0o640).unwrap();
    coredumps.between_reads = Duration::ZERO;
    assert_eq!(occurrences(&coredumps), 2);
}

#[test]
fn new_signatures_are_in_the_records_files_at_once() {
    let root = tempfile::tempdir().unwrap();
    let coredumps = coredumps(root.path());
    let device: DeviceKey = "k1".parse().unwrap();
    store_at(&coredumps, "a", "2026-01-01T00:00:01.000000Z");
    coredumps.flush().unwrap();
    let signature = crate::signature::Signature {
        id: String::from("s1-a"),
        ..Default::default()
    };
    let resigned = |stem: &str| Resigned {
        device: device.clone(),
        stem: stem.to_owned(),
        report: b"{}".to_vec(),
        signature: Some(signature.clone()),
    };
    let stored = coredumps.resign(&[resigned("coredump_a"), resigned("coredump_gone")]);
    assert_eq!(stored.unwrap(), 1);
    let bytes = fs::read(root.path().join("k1/crash_f00d.json")).unwrap();
    let crash: Crash = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(crash.signature, Some(signature));
    assert_eq!((crash.occurrences, crash.kept), (1, vec!["a".to_owned()]));
    let names = fs::read_dir(root.path().join("k1")).unwrap().count();
    assert_eq!(names, 4, "dump, sidecar, report, record");
}
