//! One device's folder: its dumps, indexed from their sidecars, and all changes to
//! it. The holder is the only writer.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::group_commit::GroupCommit;
use super::super::publish::{FILE_MODE, FOLDER_MODE, Temporary, make_folder_unsynced, sync_folder};
use super::super::{Error, Result};
use super::crash::{Crash, file_name};
use super::entry::Entry;
use super::records::{KnownCrash, Records};
use super::sidecar::Sidecar;
use crate::store::compact::{self, DumpId, Fingerprint, Stem};

/// One device's dumps, oldest first.
#[derive(Debug, Default)]
pub struct DeviceFolder {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
    pub(super) records: Records,
    pub(super) commits: Arc<GroupCommit>,
    /// It was made here, and no sync of its parent is known to have succeeded.
    pub(super) is_new: bool,
}

/// A record in a file that is not in place yet.
#[derive(Debug)]
pub(super) struct PreparedRecord {
    fingerprint: Fingerprint,
    bytes: Vec<u8>,
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

    /// The crashes known of this device, by fingerprint.
    pub fn crashes(&self) -> &[KnownCrash] {
        self.records.known()
    }

    /// The record of the crash with this fingerprint, which may be read from its file.
    pub fn crash(&mut self, fingerprint: &str) -> Option<&Crash> {
        let fingerprint = Fingerprint::from(fingerprint);
        self.records
            .open(&self.path, &fingerprint)
            .map(|crash| &*crash)
    }

    /// The dump with this id.
    pub fn find(&self, id: &str) -> Option<&Entry> {
        let id = DumpId::from(id);
        self.entries.iter().find(|entry| entry.id == id)
    }

    fn find_mut(&mut self, stem: &str) -> Option<&mut Entry> {
        let stem = Stem::from(stem);
        self.entries.iter_mut().find(|entry| entry.stem == stem)
    }

    /// The path of one of a dump's files, such as `dmp` or `report.json`.
    pub fn file(&self, stem: impl fmt::Display, extension: &str) -> PathBuf {
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
        match new.sidecar.fingerprint.as_ref().map(Fingerprint::from) {
            Some(fingerprint) if self.records.contains(&fingerprint) => {
                self.records.is_behind(fingerprint);
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
        let entry = Entry::of(stem, &new.sidecar, bytes);
        compact::insert(&mut self.entries, at, entry);
        Ok(())
    }

    /// Writes the crash files that are behind.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]; what was not written stays due.
    pub fn flush(&mut self) -> Result<()> {
        while let Some(fingerprint) = self.records.first_behind() {
            if let Some(bytes) = self.record_now(&fingerprint) {
                let name = file_name(&fingerprint);
                self.commits.replace(&self.path, &name, &bytes)?;
            }
            self.records.is_written(&fingerprint);
        }
        Ok(())
    }

    /// A crash's record as its file is to be; `None` if it must not be written.
    fn record_now(&mut self, fingerprint: &Fingerprint) -> Option<Vec<u8>> {
        if self.records.is_unread(fingerprint) {
            return None;
        }
        let crash = self.records.open(&self.path, fingerprint)?;
        let entries = self.entries.iter();
        crash.kept = entries
            .filter(|entry| entry.fingerprint.as_ref() == Some(fingerprint))
            .map(|entry| entry.id.to_string())
            .collect();
        Some(crash.to_bytes())
    }

    /// The records with files that are behind, at most `most`, in new files that are not
    /// synced yet.
    pub(super) fn prepare_records(
        &mut self,
        most: usize,
    ) -> Result<Vec<(PreparedRecord, Temporary)>> {
        let mut prepared = Vec::new();
        for fingerprint in self.records.behind().into_iter().take(most) {
            if let Some(bytes) = self.record_now(&fingerprint) {
                let mut file = Temporary::new(&self.path, FILE_MODE)?;
                file.write(&bytes)?;
                prepared.push((PreparedRecord { fingerprint, bytes }, file));
            }
        }
        Ok(prepared)
    }

    /// Puts the synced file of a record in place, unless the record changed meanwhile.
    pub(super) fn put_record(&mut self, record: &PreparedRecord, file: Temporary) -> Result<()> {
        let PreparedRecord { fingerprint, bytes } = record;
        if self.record_now(fingerprint).as_ref() == Some(bytes) {
            file.rename_over(&self.path.join(file_name(fingerprint)))?;
            self.records.is_written(fingerprint);
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
        if let Some(entry) = self.find_mut(stem) {
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
        if let Some(entry) = self.find_mut(stem) {
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
            self.records.is_behind(fingerprint);
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
    pub fn forget_crashes(&mut self, fingerprints: &[Fingerprint]) -> Result<()> {
        for fingerprint in fingerprints {
            if !self.records.contains(fingerprint) {
                continue;
            }
            let name = file_name(fingerprint);
            unlink(&self.path.join(format!("{name}.damaged")))?;
            unlink(&self.path.join(name))?;
            self.records.forget(fingerprint);
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
        let known = self.crashes().iter();
        let known: Vec<Fingerprint> = known.map(|crash| crash.fingerprint.clone()).collect();
        self.forget_crashes(&known)?;
        self.records = Records::default();
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
