//! Group commit: while one sync of the whole filesystem (`syncfs`) is running, all
//! further uploads wait for the next one, which makes them durable together. A card
//! does one sync at a time, so this determines how long the last board of a site
//! waits after a power cut.
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

use super::publish::{self, FILE_MODE, Prepared, Temporary, publish_together, sync_folder};
use super::shared_sync::SharedSync;
use super::{Error, Result};

/// So long anybody waits for a shared sync. Devices give up after 15 s, and what
/// follows, syncing what is one's own, needs time as well.
const PATIENCE: Duration = Duration::from_secs(3);

/// A sync waits for the members that are about to need it for as long as the
/// last one took, and at most this long: they come within that, or do not come.
const GATHERING: Duration = Duration::from_millis(5);

/// Takes files of folders of one filesystem.
#[derive(Debug, Default)]
pub struct GroupCommit {
    /// `None`: each member syncs its own files.
    shared: Option<SharedSync>,
    patience: Duration,
    /// The commit in progress.
    members: AtomicUsize,
    turns: Mutex<Turns>,
    /// One has ended.
    turned: Condvar,
    /// All members wait for the next one.
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

/// Result of the sync that a member waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    Done,
    /// It takes too long: sync your own files.
    Late,
    /// One failed since the member began. Whose file it was is not said.
    Failed,
}

/// A commit under way, from before its first write.
struct Member<'a> {
    commits: &'a GroupCommit,
    /// Syncs that had failed by then: the error of a file is reported once, to
    /// whichever sync comes first, though it may not be the one waited for.
    failed: u64,
    is_alone: bool,
}

impl GroupCommit {
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

    /// Puts files that have temporary names onto the disk, with one sync where that
    /// is right: for many files that nobody waits for.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    pub fn sync_all(&self, files: &[Temporary]) -> Result<()> {
        let folder = files.first().and_then(|file| file.path().parent());
        let Some(folder) = folder else {
            return Ok(());
        };
        let shared = self.shared.as_ref().filter(|shared| shared.covers(folder));
        if files.len() > 1
            && let Some(shared) = shared
        {
            let outcome = shared.sync();
            return outcome.map_err(|source| Error::io("sync", folder, source));
        }
        files.iter().try_for_each(Temporary::sync)
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
    let mut temporary = Temporary::new(folder, FILE_MODE)?;
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

    /// Waits for a sync that begins after this call, or does it.
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
            // Later members do not wait for a sync that takes this long.
            let until = until.min(since + self.commits.patience);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Turn::Late;
            }
            let waited = self.commits.turned.wait_timeout(turns, left);
            turns = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Does the next sync for all waiting members.
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
            log::debug!("filesystem sync failed: {error}");
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
mod tests;
