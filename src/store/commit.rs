//! Makes the files of many devices durable together: while one sync of the
//! whole filesystem (`syncfs`) is under way, everybody who comes waits for the
//! next one, which is for all of them. A card does one sync at a time, so after
//! a power cut at a site this is what decides how long the last board waits.
//!
//! Steps of one member: files under temporary names, a sync, renames, a sync,
//! answer. Whoever is alone syncs its own files and folder instead, and so does
//! everybody where `syncfs` is not known to be right. It also writes out what
//! other programs left in memory; if that takes too long, the others do not wait
//! for it any longer.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Result;
use super::publish::{self, FILE_MODE, Prepared, publish_together, sync_folder};
use super::shared_sync::SharedSync;

/// So long anybody waits for a shared sync. Devices give up after 15 s, and what
/// follows, syncing what is one's own, needs time as well.
const PATIENCE: Duration = Duration::from_secs(3);

/// A sync waits for the members that are about to need it for as long as the
/// last one took, and at most this long: they come within that, or do not come.
const GATHERING: Duration = Duration::from_millis(5);

/// Takes files of folders of one filesystem.
#[derive(Debug, Default)]
pub struct Commits {
    /// `None`: everybody syncs its own files.
    shared: Option<SharedSync>,
    patience: Duration,
    /// Commits under way.
    members: AtomicUsize,
    turns: Mutex<Turns>,
    /// One has ended.
    turned: Condvar,
    /// Everybody waits for the next.
    gathered: Condvar,
}

/// Syncs are counted; the next begins when the one under way ended.
#[derive(Debug, Default)]
struct Turns {
    under_way_since: Option<Instant>,
    /// What the last one took.
    last: Duration,
    /// Members that wait for the next.
    waiting: usize,
    begun: u64,
    ended: u64,
    failed: u64,
}

/// What became of the sync that a member waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    Done,
    /// It takes too long: sync what is yours.
    Late,
    /// One failed since the member began. Whose file it was is not said.
    Failed,
}

/// A commit under way, from before its first write.
struct Member<'a> {
    commits: &'a Commits,
    /// Syncs that had failed by then: the error of a file is reported once, to
    /// whichever sync comes first, though it may not be the one waited for.
    failed: u64,
    is_alone: bool,
}

impl Commits {
    /// For folders below `root`, which exists.
    pub fn below(root: &Path) -> Self {
        Self {
            shared: SharedSync::of(root),
            patience: PATIENCE,
            ..Self::default()
        }
    }

    /// Writes new files of one folder durably, as [`publish_together`] does.
    /// `parent` is where the folder's own entry is not durable yet.
    ///
    /// # Errors
    /// As [`publish_together`].
    pub fn publish(
        &self,
        folder: &Path,
        parent: Option<&Path>,
        files: &[(&str, &[u8])],
    ) -> Result<()> {
        let member = self.begin();
        if member.shares(folder) && publish_shared(&member, folder, parent, files)? {
            return Ok(());
        }
        parent.map_or(Ok(()), sync_folder)?;
        publish_together(folder, files)
    }

    /// Writes `folder/name` durably in place of what was there.
    ///
    /// # Errors
    /// As [`publish::replace`].
    pub fn replace(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
        let member = self.begin();
        if member.shares(folder) && replace_shared(&member, folder, name, bytes)? {
            return Ok(());
        }
        publish::replace(folder, name, bytes, FILE_MODE)
    }

    fn begin(&self) -> Member<'_> {
        Member {
            failed: self.turns().failed,
            is_alone: self.members.fetch_add(1, Ordering::Relaxed) == 0,
            commits: self,
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The steps with others. `false`: do it again, alone; nothing of it is visible.
fn publish_shared(
    member: &Member<'_>,
    folder: &Path,
    parent: Option<&Path>,
    files: &[(&str, &[u8])],
) -> Result<bool> {
    let prepared = Prepared::write(folder, files)?;
    match member.turn() {
        Turn::Done => {}
        Turn::Late => {
            parent.map_or(Ok(()), sync_folder)?;
            prepared.sync()?;
        }
        Turn::Failed => return Ok(false),
    }
    let visible = prepared.make_visible()?;
    match member.turn() {
        Turn::Done => Ok(true),
        Turn::Late => visible.sync(folder).map(|()| true),
        Turn::Failed => {
            visible.withdraw();
            Ok(false)
        }
    }
}

fn replace_shared(member: &Member<'_>, folder: &Path, name: &str, bytes: &[u8]) -> Result<bool> {
    let mut temporary = publish::Temporary::new(folder, FILE_MODE)?;
    temporary.write(bytes)?;
    match member.turn() {
        Turn::Done => {}
        Turn::Late => temporary.sync()?,
        Turn::Failed => return Ok(false),
    }
    temporary.rename_over(&folder.join(name))?;
    match member.turn() {
        Turn::Done => Ok(true),
        Turn::Late => sync_folder(folder).map(|()| true),
        Turn::Failed => Ok(false),
    }
}

impl Member<'_> {
    /// Whether this one waits for syncs with others.
    fn shares(&self, folder: &Path) -> bool {
        let shared = self.commits.shared.as_ref();
        !self.is_alone && shared.is_some_and(|shared| shared.covers(folder))
    }

    /// Waits for a sync that begins after this call; does it if nobody else does.
    fn turn(&self) -> Turn {
        let Some(shared) = &self.commits.shared else {
            return Turn::Late;
        };
        let until = Instant::now() + self.commits.patience;
        let mut turns = self.commits.turns();
        let mine = turns.begun + 1;
        turns.waiting += 1;
        if turns.waiting >= self.commits.members.load(Ordering::Relaxed) {
            self.commits.gathered.notify_one();
        }
        loop {
            if turns.failed != self.failed {
                return Turn::Failed;
            }
            if turns.ended >= mine {
                return Turn::Done;
            }
            let Some(since) = turns.under_way_since else {
                turns = self.sync(shared, turns);
                continue;
            };
            // One that takes that long is waited for by nobody who comes later.
            let until = until.min(since + self.commits.patience);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Turn::Late;
            }
            let waited = self.commits.turned.wait_timeout(turns, left);
            turns = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Does the next sync for all who wait for it.
    fn sync<'a>(
        &'a self,
        shared: &SharedSync,
        mut turns: MutexGuard<'a, Turns>,
    ) -> MutexGuard<'a, Turns> {
        turns.under_way_since = Some(Instant::now());
        let gathering = turns.last.min(GATHERING);
        let on_the_way =
            |turns: &mut Turns| turns.waiting < self.commits.members.load(Ordering::Relaxed);
        let gathered = &self.commits.gathered;
        turns = match gathered.wait_timeout_while(turns, gathering, on_the_way) {
            Ok((turns, _)) => turns,
            Err(poisoned) => poisoned.into_inner().0,
        };
        turns.waiting = 0;
        turns.begun += 1;
        let turn = turns.begun;
        drop(turns);
        let began = Instant::now();
        let outcome = shared.sync();
        let mut turns = self.commits.turns();
        turns.last = began.elapsed();
        turns.under_way_since = None;
        turns.ended = turn;
        if let Err(error) = outcome {
            log::debug!("a sync of the filesystem failed: {error}");
            turns.failed += 1;
        }
        self.commits.turned.notify_all();
        turns
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.commits.members.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::sync::Arc;

    use super::*;
    use crate::store::Error;

    /// Commits whose syncs are `sync`, told how many there were before.
    fn commits(
        root: &Path,
        sync: impl Fn(usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Commits {
        let count = AtomicUsize::new(0);
        let sync = move || sync(count.fetch_add(1, Ordering::Relaxed));
        Commits {
            shared: Some(SharedSync::with(root, sync)),
            patience: 100 * PATIENCE,
            ..Commits::default()
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
}
