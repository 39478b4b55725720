//! Members that share a sync, alone, together, and when it fails.

use std::fs;
use std::io;
use std::sync::Arc;

use super::*;
use crate::store::Error;

/// A group commit with `sync` for its syncs, called with the number of earlier ones.
fn commits(
    root: &Path,
    sync: impl Fn(usize) -> io::Result<()> + Send + Sync + 'static,
) -> GroupCommit {
    let count = AtomicUsize::new(0);
    let sync = move || sync(count.fetch_add(1, Ordering::Relaxed));
    GroupCommit {
        shared: Some(SharedSync::with(root, sync)),
        patience: 100 * PATIENCE,
        ..GroupCommit::default()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const FILES: [(&str, &[u8]); 2] = [("a.json", b"{}"), ("a.dmp", b"dump")];

#[test]
fn names_are_given_after_one_sync_and_it_returns_after_another() {
    let root = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (place, log) = (root.path().to_owned(), Arc::clone(&seen));
    let commits = commits(root.path(), move |_| {
        log.lock().unwrap().push(names(&place));
        Ok(())
    });
    let _other = commits.begin();
    commits.publish(root.path(), None, &FILES).unwrap();
    let seen = seen.lock().unwrap();
    let [before, after] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert!(before.iter().all(|name| name.starts_with(".tmp-")));
    assert_eq!(before.len(), 2);
    assert_eq!(after, &["a.dmp", "a.json"]);
}

#[test]
fn whoever_is_alone_syncs_its_own_files() {
    let root = tempfile::tempdir().unwrap();
    let commits = commits(root.path(), |_| panic!("the filesystem was synced"));
    commits.publish(root.path(), None, &FILES).unwrap();
    commits.replace(root.path(), "a.json", b"new").unwrap();
    assert_eq!(fs::read(root.path().join("a.json")).unwrap(), b"new");
}

#[test]
fn after_a_failed_sync_a_member_is_written_again_alone() {
    for failing in [0, 1] {
        let root = tempfile::tempdir().unwrap();
        let commits = commits(root.path(), move |nth| match nth {
            nth if nth == failing => Err(io::Error::other("EIO")),
            _ => Ok(()),
        });
        let _other = commits.begin();
        commits.publish(root.path(), None, &FILES).unwrap();
        assert_eq!(names(root.path()), ["a.dmp", "a.json"], "sync {failing}");
        assert_eq!(fs::read(root.path().join("a.dmp")).unwrap(), b"dump");
        let commits = self::commits(root.path(), |_| Err(io::Error::other("EIO")));
        let _other = commits.begin();
        commits.replace(root.path(), "a.dmp", b"new").unwrap();
        assert_eq!(fs::read(root.path().join("a.dmp")).unwrap(), b"new");
        assert_eq!(names(root.path()).len(), 2, "no temporary files");
    }
}

#[test]
fn who_began_before_a_sync_failed_does_not_rely_on_a_later_one() {
    let root = tempfile::tempdir().unwrap();
    let commits = commits(root.path(), |nth| match nth {
        0 => Err(io::Error::other("EIO")),
        _ => Ok(()),
    });
    let early = commits.begin();
    assert_eq!(commits.begin().turn(), Turn::Failed);
    assert_eq!(commits.begin().turn(), Turn::Done);
    assert_eq!(early.turn(), Turn::Failed);
}

#[test]
fn whoever_waits_too_long_syncs_its_own_files() {
    let root = tempfile::tempdir().unwrap();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (end, may_end) = std::sync::mpsc::channel::<()>();
    let may_end = Mutex::new(may_end);
    let mut commits = commits(root.path(), move |_| {
        begun.send(()).unwrap();
        // until the other end is dropped
        let _ = may_end.lock().unwrap().recv();
        Ok(())
    });
    commits.patience = Duration::ZERO;
    let folder = root.path().join("k1");
    fs::create_dir(&folder).unwrap();
    let _other = commits.begin();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| commits.begin().turn());
        has_begun.recv().unwrap();
        commits.publish(&folder, Some(root.path()), &FILES).unwrap();
        commits.replace(&folder, "a.json", b"new").unwrap();
        assert_eq!(names(&folder), ["a.dmp", "a.json"]);
        assert_eq!(commits.turns().ended, 0);
        drop(end);
        assert_eq!(first.join().unwrap(), Turn::Done);
    });
}

#[test]
fn whoever_comes_after_a_sync_began_waits_for_a_later_one() {
    const WAITING: usize = 8;
    let root = tempfile::tempdir().unwrap();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (end, may_end) = std::sync::mpsc::channel::<()>();
    let may_end = Mutex::new(may_end);
    let commits = commits(root.path(), move |_| {
        begun.send(()).unwrap();
        let _ = may_end.lock().unwrap().recv();
        Ok(())
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| commits.begin().turn());
        has_begun.recv().unwrap();
        let others: Vec<_> = (0..WAITING)
            .map(|_| {
                let member = commits.begin();
                scope.spawn(move || member.turn())
            })
            .collect();
        drop(end);
        assert_eq!(first.join().unwrap(), Turn::Done);
        for other in others {
            assert_eq!(other.join().unwrap(), Turn::Done);
        }
    });
    let turns = commits.turns();
    assert_eq!(turns.begun, turns.ended);
    assert!((2..=1 + WAITING as u64).contains(&turns.ended));
}

#[test]
fn many_at_once_are_all_kept_though_syncs_fail() {
    const MEMBERS: usize = 16;
    let root = tempfile::tempdir().unwrap();
    let commits = commits(root.path(), |nth| match nth % 3 {
        2 => Err(io::Error::other("EIO")),
        _ => Ok(()),
    });
    std::thread::scope(|scope| {
        for member in 0..MEMBERS {
            let (commits, root) = (&commits, root.path());
            scope.spawn(move || {
                let folder = root.join(member.to_string());
                fs::create_dir(&folder).unwrap();
                for n in 0..20 {
                    let (json, dmp) = (format!("{n}.json"), format!("{n}.dmp"));
                    let files = [(json.as_str(), &b"{}"[..]), (dmp.as_str(), b"dump")];
                    commits.publish(&folder, Some(root), &files).unwrap();
                    for (name, bytes) in files {
                        assert_eq!(fs::read(folder.join(name)).unwrap(), bytes);
                    }
                }
            });
        }
    });
    for member in 0..MEMBERS {
        let names = names(&root.path().join(member.to_string()));
        assert_eq!(names.len(), 40, "{names:?}");
    }
    assert_eq!(commits.members.load(Ordering::Relaxed), 0);
}

#[test]
fn a_name_that_is_taken_is_left_alone_and_costs_the_others_nothing() {
    let root = tempfile::tempdir().unwrap();
    let commits = commits(root.path(), |_| Ok(()));
    let _other = commits.begin();
    fs::create_dir(root.path().join("a.dmp")).unwrap();
    let taken = commits.publish(root.path(), None, &FILES);
    assert!(matches!(taken, Err(Error::Exists { .. })), "{taken:?}");
    assert_eq!(names(root.path()), ["a.dmp"]);
    let files = [("b.json", &b"{}"[..]), ("b.dmp", b"dump")];
    commits.publish(root.path(), None, &files).unwrap();
    assert_eq!(names(root.path()), ["a.dmp", "b.dmp", "b.json"]);
}
