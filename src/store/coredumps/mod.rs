//! Stored coredumps: a folder a device, four files a dump, an index in memory
//! that is built from the sidecars a folder at a time.

mod crash;
mod decoding;
mod folder;
mod mending;
pub mod sidecar;

pub use crash::Crash;
pub use decoding::MAX_ATTEMPTS;
pub use folder::{DeviceFolder, Entry, NewDump};
#[cfg(test)]
pub(super) use sidecar::tests::sample as sample_sidecar;
pub use sidecar::{DecodeState, Decoding, REBUILT, Sidecar, Sighting, Source};

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::commit::Commits;
use super::sequence::Sequence;
use super::{Error, Result};
use crate::device::DeviceKey;
use crate::digest::Sha256;
use crate::journal::{Event, chain};

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
    commits: Arc<Commits>,
    folders: Mutex<BTreeMap<DeviceKey, Arc<Mutex<Slot>>>>,
    between_reads: Duration,
    /// Ids of the dumps that must not be removed by the rules now.
    held: Mutex<HashSet<String>>,
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
            commits: Arc::new(Commits::below(root)),
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

    /// Does something with one device's folder, as its only user meanwhile.
    /// The folder is read first if nobody did yet.
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
        if let Slot(Some((folder, read_at))) = &mut *slot
            && !folder.unread.is_empty()
            && read_at.elapsed() >= self.between_reads
            && folder.flush().is_ok()
        {
            slot.0 = None;
        }
        let folder = match &mut slot.0 {
            Some((folder, _)) => folder,
            empty => {
                let path = self.root.join(device.as_str());
                let mut mended = Vec::new();
                let read = mending::load(&path, &mut || self.sequence.next(), &mut mended);
                for what in mended {
                    Event::StoreRepaired
                        .entry()
                        .device(device)
                        .say(format_args!("{device}: {what}"));
                }
                let mut folder = read?;
                folder.commits = Arc::clone(&self.commits);
                for error in &folder.unread {
                    error.event().entry().device(device).say(format_args!(
                        "a file of {device} is left out: {}",
                        chain(error)
                    ));
                }
                &mut empty.insert((folder, Instant::now())).0
            }
        };
        work(folder)
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
                    "the coredumps of {device} cannot be read now: {}",
                    chain(&error)
                ));
            }
        }
        found
    }

    /// Which device holds the dump with this id, and under which name.
    pub fn locate(&self, id: &str) -> Option<(DeviceKey, String)> {
        self.collect(|device, entry| (entry.id == id).then(|| (device.clone(), entry.stem.clone())))
            .pop()
    }

    /// Keeps the rules from removing the dump with this id while the answer lives.
    pub fn hold(&self, id: &str) -> Hold<'_> {
        lock(&self.held).insert(id.to_owned());
        Hold {
            held: &self.held,
            id: id.to_owned(),
        }
    }

    /// Whether somebody holds the dump with this id.
    pub fn is_held(&self, id: &str) -> bool {
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
                slot.0.as_mut().map_or(Ok(()), |(folder, _)| folder.flush())
            })
            .fold(Ok(()), Result::and)
    }
}

/// A dump that the rules do not remove.
#[derive(Debug)]
#[must_use = "the dump is held while this lives"]
pub struct Hold<'a> {
    held: &'a Mutex<HashSet<String>>,
    id: String,
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
mod tests {
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
        let ids = second.collect(|_, entry| Some((entry.stem.clone(), entry.sequence)));
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
                folder.forget_crashes(&[String::from("f00d"), String::from("unknown")])?;
                assert_eq!(folder.crashes().count(), 0);
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
}
