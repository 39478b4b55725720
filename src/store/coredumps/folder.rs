//! One device's folder: its dumps, indexed from their sidecars, and all changes to
//! it. The holder is the only writer.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

use super::super::group_commit::GroupCommit;
use super::super::publish::{FOLDER_MODE, make_folder_unsynced, sync_folder};
use super::super::registry::Gateway;
use super::super::{Error, Result};
use super::crash::Crash;
use super::sidecar::{DecodeState, Decoding, Sidecar, Source};
use crate::clock;
use crate::coredump::Verdict;
use crate::store::open_enum::OpenEnum;

/// What the index holds of one dump.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// File name without extension.
    pub stem: String,
    pub id: String,
    pub sequence: u64,
    pub source: OpenEnum<Source>,
    /// Whether a person asked for it.
    pub requested: bool,
    /// Whether the device showed a fleet's token and none of its own.
    pub by_fleet_token: bool,
    /// Bytes of the dump and of the files beside it.
    pub bytes: u64,
    pub fingerprint: Option<String>,
    pub verdict: Verdict,
    pub decode: OpenEnum<DecodeState>,
    pub decoding: Decoding,
    pub counted: u64,
    /// Id of its crash group when it was written.
    pub crash: Option<String>,
    pub app_elf_sha256: Option<String>,
    pub model_code: Option<String>,
    pub firmware_version: Option<String>,
    pub uploaded_at: String,
    pub boot_id: Option<String>,
    pub monotonic_us: Option<u64>,
    /// Whether it came after a time in which the gateway was not reachable.
    pub during_outage: bool,
}

impl Entry {
    /// The index entry of a sidecar; `bytes` is what all its files take.
    pub fn of(stem: &str, sidecar: &Sidecar, bytes: u64) -> Self {
        Self {
            stem: stem.to_owned(),
            id: sidecar.id.clone(),
            sequence: sidecar.sequence,
            source: sidecar.source.clone(),
            requested: sidecar.requested,
            by_fleet_token: sidecar.identity == "fleet-token",
            bytes,
            fingerprint: sidecar.fingerprint.clone(),
            verdict: Verdict::from_word(&sidecar.verdict).unwrap_or(Verdict::NotACoredump),
            decode: sidecar.decode.clone(),
            decoding: sidecar.decoding.clone(),
            counted: sidecar.counted,
            crash: sidecar.crash.clone(),
            app_elf_sha256: sidecar.app_elf_sha256.clone(),
            model_code: sidecar.model_code.clone(),
            firmware_version: sidecar.firmware_version.clone(),
            uploaded_at: sidecar.uploaded_at.clone(),
            boot_id: sidecar.boot_id.clone(),
            monotonic_us: sidecar.monotonic_us,
            during_outage: sidecar.gateway_unreachable_s.is_some(),
        }
    }

    /// When the dump came: by what is known of its boot since, else as the clock
    /// said then.
    pub fn came_at(&self, gateway: &Gateway) -> Option<OffsetDateTime> {
        let known = self.boot_id.as_deref().zip(self.monotonic_us);
        known
            .and_then(|(boot, since)| gateway.time_of(boot, since))
            .or_else(|| clock::parse(&self.uploaded_at))
    }
}

/// One device's dumps, oldest first.
#[derive(Debug, Default)]
pub struct DeviceFolder {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
    pub(super) crashes: BTreeMap<String, Crash>,
    /// Crash files that are older than what is in memory.
    pub(super) stale: std::collections::BTreeSet<String>,
    /// Files that could not be read, and why; they are not in the index.
    pub(super) unread: Vec<Error>,
    /// Names of crash files among them: what they hold is not written over.
    pub(super) unread_crashes: std::collections::BTreeSet<String>,
    pub(super) commits: Arc<GroupCommit>,
    /// It was made here, and no sync of its parent is known to have succeeded.
    pub(super) is_new: bool,
}

/// The files of one new dump.
#[derive(Debug)]
pub struct NewDump<'a> {
    pub sidecar: Sidecar,
    pub dump: &'a [u8],
    pub log: Option<&'a [u8]>,
}

impl DeviceFolder {
    /// All dumps, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The crashes known of this device.
    pub fn crashes(&self) -> impl Iterator<Item = &Crash> {
        self.crashes.values()
    }

    /// The crash with this fingerprint.
    pub fn crash(&self, fingerprint: &str) -> Option<&Crash> {
        self.crashes.get(fingerprint)
    }

    /// The dump with this id.
    pub fn find(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// The path of one of a dump's files, such as `dmp` or `report.json`.
    pub fn file(&self, stem: &str, extension: &str) -> PathBuf {
        self.path.join(format!("{stem}.{extension}"))
    }

    /// Puts a dump and its sidecar onto the disk, the sidecar first; the folder
    /// is synced once. Its crash is counted in memory (see [`Self::flush`]).
    ///
    /// # Errors
    /// [`Error::Exists`] if the stem is taken, [`Error::Full`], [`Error::Io`].
    pub fn store(&mut self, stem: &str, new: &NewDump<'_>) -> Result<()> {
        self.put(stem, new)?;
        self.count(&new.sidecar);
        Ok(())
    }

    /// The same for a dump of a crash that was counted before.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub fn store_counted(&mut self, stem: &str, new: &NewDump<'_>) -> Result<()> {
        self.put(stem, new)?;
        match &new.sidecar.fingerprint {
            Some(fingerprint) if self.crashes.contains_key(fingerprint) => {
                self.stale.insert(fingerprint.clone());
            }
            _ => self.count(&new.sidecar),
        }
        Ok(())
    }

    fn put(&mut self, stem: &str, new: &NewDump<'_>) -> Result<()> {
        self.is_new |= make_folder_unsynced(&self.path, FOLDER_MODE)?;
        let sidecar = new.sidecar.to_bytes();
        let names = [
            format!("{stem}.log"),
            format!("{stem}.json"),
            format!("{stem}.dmp"),
        ];
        let [log_name, sidecar_name, dump_name] = &names;
        let mut files: Vec<(&str, &[u8])> = Vec::with_capacity(3);
        if let Some(log) = new.log {
            files.push((log_name, log));
        }
        files.push((sidecar_name, &sidecar));
        files.push((dump_name, new.dump));
        if self.file(stem, "dmp").exists() {
            return Err(Error::Exists {
                path: self.file(stem, "dmp"),
            });
        }
        let parent = self.path.parent().filter(|_| self.is_new);
        self.commits.publish(&self.path, parent, &files)?;
        self.is_new = false;
        let bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let at = self
            .entries
            .partition_point(|entry| entry.sequence < new.sidecar.sequence);
        self.entries
            .insert(at, Entry::of(stem, &new.sidecar, bytes));
        Ok(())
    }

    /// Writes the crash files that are behind.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]; what was not written stays due.
    pub fn flush(&mut self) -> Result<()> {
        while let Some(fingerprint) = self.stale.first().cloned() {
            let crash = self.crashes.get_mut(&fingerprint);
            let crash = crash.filter(|crash| !self.unread_crashes.contains(&crash.file_name()));
            if let Some(crash) = crash {
                crash.kept = self
                    .entries
                    .iter()
                    .filter(|entry| entry.fingerprint.as_ref() == Some(&fingerprint))
                    .map(|entry| entry.id.clone())
                    .collect();
                self.commits
                    .replace(&self.path, &crash.file_name(), &crash.to_bytes())?;
            }
            self.stale.remove(&fingerprint);
        }
        Ok(())
    }

    /// Reads a dump's sidecar.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Damaged`] if it does not parse.
    pub fn sidecar(&self, stem: &str) -> Result<Sidecar> {
        read_sidecar(&self.file(stem, "json"))
    }

    /// Changes a dump's sidecar durably.
    ///
    /// # Errors
    /// As [`Self::sidecar`], and [`Error::Full`].
    pub fn change(&mut self, stem: &str, change: impl FnOnce(&mut Sidecar)) -> Result<Sidecar> {
        let mut sidecar = self.sidecar(stem)?;
        change(&mut sidecar);
        self.commits
            .replace(&self.path, &format!("{stem}.json"), &sidecar.to_bytes())?;
        let bytes = self.measure(stem);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.stem == stem) {
            *entry = Entry::of(stem, &sidecar, bytes);
        }
        Ok(sidecar)
    }

    /// Stores a dump's report and its new state.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    pub fn store_report(
        &mut self,
        stem: &str,
        report: &[u8],
        change: impl FnOnce(&mut Sidecar),
    ) -> Result<Sidecar> {
        self.commits
            .replace(&self.path, &format!("{stem}.report.json"), report)?;
        self.count_bytes(stem);
        self.change(stem, change)
    }

    /// Adds console lines to a dump that has none yet.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    pub fn store_log(&mut self, stem: &str, log: &[u8]) -> Result<()> {
        self.commits
            .replace(&self.path, &format!("{stem}.log"), log)?;
        self.count_bytes(stem);
        Ok(())
    }

    /// Brings the index up to date with what a dump's files take.
    pub(super) fn count_bytes(&mut self, stem: &str) {
        let bytes = self.measure(stem);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.stem == stem) {
            entry.bytes = bytes;
        }
    }

    fn measure(&self, stem: &str) -> u64 {
        FILES
            .iter()
            .filter_map(|extension| fs::metadata(self.file(stem, extension)).ok())
            .map(|data| data.len())
            .sum()
    }

    /// Removes a dump and what is beside it; the dump goes first, so that what
    /// a crash leaves behind is recognised at the next start.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&mut self, stem: &str) -> Result<Option<Entry>> {
        let [dump, beside @ ..] = FILES;
        self.unlink(stem, dump)?;
        // Whatever fails from here on: nothing may be answered with this dump any more.
        let at = self.entries.iter().position(|entry| entry.stem == stem);
        let removed = at.map(|at| self.entries.remove(at));
        if let Some(fingerprint) = removed.as_ref().and_then(|entry| entry.fingerprint.clone()) {
            self.stale.insert(fingerprint);
        }
        for extension in beside {
            self.unlink(stem, extension)?;
        }
        sync_folder(&self.path)?;
        Ok(removed)
    }

    /// Forgets crashes with all that was counted of them.
    ///
    /// # Errors
    /// [`Error::Io`]; those that were not removed are still known.
    pub fn forget_crashes(&mut self, fingerprints: &[String]) -> Result<()> {
        for fingerprint in fingerprints {
            let Some(crash) = self.crashes.get(fingerprint) else {
                continue;
            };
            let name = crash.file_name();
            unlink(&self.path.join(format!("{name}.damaged")))?;
            unlink(&self.path.join(name))?;
            self.crashes.remove(fingerprint);
            self.stale.remove(fingerprint);
        }
        sync_folder(&self.path)
    }

    /// Removes what is left of a device without dumps: what is known of its crashes, and
    /// the folder. Does nothing while there are dumps.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn forget(&mut self) -> Result<()> {
        if !self.entries.is_empty() {
            return Ok(());
        }
        let known: Vec<String> = self.crashes.keys().cloned().collect();
        self.forget_crashes(&known)?;
        self.stale.clear();
        match fs::remove_dir(&self.path) {
            Ok(()) => Ok(()),
            // with files that are not ours, or could not be read
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(source) => Err(Error::io("remove", &self.path, source)),
        }
    }

    fn unlink(&self, stem: &str, extension: &str) -> Result<()> {
        unlink(&self.file(stem, extension))
    }
}

/// What a dump may consist of, the dump itself first.
pub(super) const FILES: [&str; 6] = [
    "dmp",
    "report.json",
    "report.json.damaged",
    "log",
    "json",
    "json.damaged",
];

fn unlink(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(Error::io("remove", path, source))
        }
        _ => Ok(()),
    }
}

pub(super) fn read_sidecar(path: &Path) -> Result<Sidecar> {
    let bytes = fs::read(path).map_err(|source| Error::io("read", path, source))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Damaged {
        path: path.to_owned(),
        source,
    })
}
