//! Stored coredumps: a folder a device, four files a dump, an index in memory
//! that is built from the sidecars a folder at a time.

mod counting;
mod crash;
mod decoding;
mod entry;
mod folder;
mod records;
mod renamed;
mod repair;
mod resign;
pub mod sidecar;

pub use crash::Crash;
pub use decoding::MAX_ATTEMPTS;
pub use entry::{DumpOrigin, Entry};
pub use folder::{DeviceFolder, NewDump};
pub use records::KnownCrash;
pub use renamed::ALIASES;
pub use resign::{BATCH, Resigned};
#[cfg(test)]
pub(crate) use sidecar::tests::sample as sample_sidecar;
pub use sidecar::{CLAIMED_KEY, DecodeState, Decoding, REBUILT, Sidecar, Sighting, Source};

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::group_commit::GroupCommit;
use super::sequence::Sequence;
use super::{Error, Result};
use crate::device::DeviceKey;
use crate::digest::Sha256;
use crate::journal::{Event, chain};
use crate::store::compact::DumpId;

/// The id of a dump: the first 12 hex digits of SHA-256(device key, NUL,
/// canonical payload).
pub fn id(device_key: &str, payload: &[u8]) -> String {
    Sha256::of_parts(&[device_key.as_bytes(), &[0], payload]).short(12)
}

/// All devices' dumps.
#[derive(Debug)]
pub struct Coredumps {
    root: PathBuf,
    sequence: Sequence,
    commits: Arc<GroupCommit>,
    folders: Mutex<BTreeMap<DeviceKey, Arc<Mutex<Slot>>>>,
    between_reads: Duration,
    /// Ids of the dumps that must not be removed by the rules now.
    held: Mutex<HashSet<DumpId>>,
}

/// A device's folder, read when it is first needed.
#[derive(Debug, Default)]
struct Slot(Option<(DeviceFolder, Instant)>);

/// Time between two readings of a folder with files that cannot be read.
const BETWEEN_READS: Duration = Duration::from_secs(60);

impl Coredumps {
    /// Dumps below `root`; nothing is read yet.
    pub fn new(root: &Path, sequence: Sequence) -> Self {
        Self {
            root: root.to_owned(),
            sequence,
            commits: Arc::new(GroupCommit::below(root)),
            folders: Mutex::default(),
            between_reads: BETWEEN_READS,
            held: Mutex::default(),
        }
    }

    /// Where they are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Never gives a number up to `used` again.
    pub fn skip_past(&self, used: u64) {
        self.sequence.skip_past(used);
    }

    /// The next number of the data directory's count.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`] while reserving more numbers.
    pub fn next_sequence(&self) -> Result<u64> {
        self.sequence.next()
    }

    /// The newest number of the data directory's count: every dump that is stored already
    /// has one up to it.
    pub fn last_sequence(&self) -> u64 {
        self.sequence.last()
    }

    /// Does something with one device's folder, as its only user meanwhile.
    /// The folder is read first if necessary.
    ///
    /// # Errors
    /// What `work` says, or what reading the folder says.
    pub fn with<R>(
        &self,
        device: &DeviceKey,
        work: impl FnOnce(&mut DeviceFolder) -> Result<R>,
    ) -> Result<R> {
        let slot = Arc::clone(lock(&self.folders).entry(device.clone()).or_default());
        let mut slot = lock(&slot);
        let folder = self.folder(device, &mut slot)?;
        let outcome = work(folder);
        folder.records.close();
        outcome
    }

    /// The folder in a slot, read if it was not yet, or not all of it. Apart from
    /// [`Self::with`], which there are many of in the program.
    fn folder<'a>(&self, device: &DeviceKey, slot: &'a mut Slot) -> Result<&'a mut DeviceFolder> {
        if let Slot(Some((folder, read_at))) = slot
            && !folder.records.unread.is_empty()
            && read_at.elapsed() >= self.between_reads
            && folder.flush().is_ok()
        {
            slot.0 = None;
        }
        match &mut slot.0 {
            Some((folder, _)) => Ok(folder),
            empty => {
                let folder = self.read(device)?;
                Ok(&mut empty.insert((folder, Instant::now())).0)
            }
        }
    }

    fn read(&self, device: &DeviceKey) -> Result<DeviceFolder> {
        let path = self.root.join(device.as_str());
        let mut mended = Vec::new();
        let read = repair::load(&path, &mut || self.sequence.next(), &mut mended);
        for what in mended {
            Event::StoreRepaired
                .entry()
                .device(device)
                .say(format_args!("{device}: {what}"));
        }
        let mut folder = read?;
        folder.commits = Arc::clone(&self.commits);
        for error in &folder.records.unread {
            error
                .event()
                .entry()
                .device(device)
                .say(format_args!("file of {device} skipped: {}", chain(error)));
        }
        Ok(folder)
    }

    /// Removes what is left of a device without dumps; does nothing while it has some.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn forget(&self, device: &DeviceKey) -> Result<()> {
        self.with(device, DeviceFolder::forget)?;
        let mut folders = lock(&self.folders);
        // a dump may have come meanwhile, or be on its way
        let is_unused = folders.get(device).is_some_and(|slot| {
            Arc::strong_count(slot) == 1
                && matches!(&*lock(slot), Slot(Some((folder, _))) if folder.entries.is_empty())
        });
        if is_unused {
            folders.remove(device);
        }
        Ok(())
    }

    /// The devices that have a folder, read or not.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn devices(&self) -> Result<Vec<DeviceKey>> {
        let listing =
            fs::read_dir(&self.root).map_err(|source| Error::io("list", &self.root, source))?;
        let mut devices: Vec<DeviceKey> = listing
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        devices.sort();
        Ok(devices)
    }

    /// Every dump of every device with something made from it; folders that
    /// cannot be read now are journalled and passed over.
    pub fn collect<R>(&self, mut each: impl FnMut(&DeviceKey, &Entry) -> Option<R>) -> Vec<R> {
        let mut found = Vec::new();
        for device in self.devices().unwrap_or_default() {
            let outcome = self.with(&device, |folder| {
                found.extend(
                    folder
                        .entries
                        .iter()
                        .filter_map(|entry| each(&device, entry)),
                );
                Ok(())
            });
            if let Err(error) = outcome {
                let entry = error.event().entry().device(&device);
                entry.say(format_args!(
                    "cannot read the coredumps of {device}: {}",
                    chain(&error)
                ));
            }
        }
        found
    }

    /// Which device holds the dump with this id, and under which name.
    pub fn locate(&self, id: &str) -> Option<(DeviceKey, String)> {
        let id = DumpId::from(id);
        let place = |device: &DeviceKey, entry: &Entry| (device.clone(), entry.stem.to_string());
        self.collect(|device, entry| (entry.id == id).then(|| place(device, entry)))
            .pop()
    }

    /// Keeps the rules from removing the dump with this id while the answer lives.
    pub fn hold(&self, id: &str) -> Hold<'_> {
        let id = DumpId::from(id);
        lock(&self.held).insert(id.clone());
        Hold {
            held: &self.held,
            id,
        }
    }

    /// Whether the dump with this id is held.
    pub fn is_held(&self, id: &DumpId) -> bool {
        lock(&self.held).contains(id)
    }

    /// Writes the crash files that are behind, of all folders that were read.
    ///
    /// # Errors
    /// The first failure; the others are tried all the same.
    pub fn flush(&self) -> Result<()> {
        let slots: Vec<_> = lock(&self.folders).values().cloned().collect();
        slots
            .iter()
            .map(|slot| {
                let mut slot = lock(slot);
                slot.0.as_mut().map_or(Ok(()), |(folder, _)| {
                    let outcome = folder.flush();
                    folder.records.close();
                    outcome
                })
            })
            .fold(Ok(()), Result::and)
    }
}

/// A dump that the rules do not remove.
#[derive(Debug)]
#[must_use = "the dump is held while this lives"]
pub struct Hold<'a> {
    held: &'a Mutex<HashSet<DumpId>>,
    id: DumpId,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        lock(self.held).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
