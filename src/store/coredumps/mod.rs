//! Stored coredumps: a folder a device, four files a dump, an index in memory
//! that is built from the sidecars a folder at a time.

mod crash;
mod folder;
mod mending;
pub mod sidecar;

pub use crash::Crash;
pub use folder::{DeviceFolder, Entry, NewDump};
pub use sidecar::{DecodeState, REBUILT, Sidecar, Source};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
}

/// A device's folder, read when it is first needed.
#[derive(Debug, Default)]
struct Slot(Option<DeviceFolder>);

impl Coredumps {
    /// Dumps below `root`; nothing is read yet.
    pub fn new(root: &Path, sequence: Sequence) -> Self {
        Self {
            root: root.to_owned(),
            sequence,
            commits: Arc::new(Commits::below(root)),
            folders: Mutex::default(),
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
        let folder = match &mut slot.0 {
            Some(folder) => folder,
            empty => {
                let path = self.root.join(device.as_str());
                let (mut folder, mended) = mending::load(&path, &mut || self.sequence.next())?;
                for what in mended {
                    Event::StoreRepaired
                        .entry()
                        .device(device)
                        .say(format_args!("{device}: {what}"));
                }
                folder.commits = Arc::clone(&self.commits);
                empty.insert(folder)
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
    /// cannot be read are journalled and passed over.
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
                Event::StoreRepaired
                    .entry()
                    .device(&device)
                    .say(format_args!(
                        "dumps of {device} are left out: {}",
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

    /// Writes the crash files that are behind, of all folders that were read.
    ///
    /// # Errors
    /// The first failure; the others are tried all the same.
    pub fn flush(&self) -> Result<()> {
        let slots: Vec<_> = lock(&self.folders).values().cloned().collect();
        slots
            .iter()
            .map(|slot| lock(slot).0.as_mut().map_or(Ok(()), DeviceFolder::flush))
            .fold(Ok(()), Result::and)
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
