//! A device's records of its crashes. Their files have all of it; the index has what
//! every list needs. A record is read when it is needed, and kept in memory until its
//! file is as new as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::crash::{Crash, file_name};
use crate::journal::chain;
use crate::store::compact::{self, Fingerprint, Stamp};
use crate::store::{Error, Result};

/// What the index holds of one crash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownCrash {
    pub fingerprint: Fingerprint,
    pub last_seen: Stamp,
    /// How often it happened, stored or not.
    pub occurrences: u64,
}

/// The crashes of one device.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Ordered by fingerprint.
    known: Vec<KnownCrash>,
    /// In memory: those that were needed, and those that are newer than their files.
    open: BTreeMap<Fingerprint, Crash>,
    /// Those with files that are behind.
    stale: BTreeSet<Fingerprint>,
    /// Files that could not be read, and why.
    pub(super) unread: Vec<Error>,
    /// Their names: what they hold is not written over.
    unread_names: BTreeSet<String>,
}

impl Records {
    /// All crashes that are known.
    pub(super) fn known(&self) -> &[KnownCrash] {
        &self.known
    }

    fn place(&self, fingerprint: &Fingerprint) -> std::result::Result<usize, usize> {
        self.known
            .binary_search_by(|known| known.fingerprint.cmp(fingerprint))
    }

    /// The record of a crash in `folder`, read if it is not in memory. One that cannot
    /// be read now is reported, and not known until the folder is read again.
    pub(super) fn open(&mut self, folder: &Path, fingerprint: &Fingerprint) -> Option<&mut Crash> {
        if !self.open.contains_key(fingerprint) {
            let at = self.place(fingerprint).ok()?;
            match read(&folder.join(file_name(fingerprint))) {
                Ok(crash) => {
                    self.open.insert(fingerprint.clone(), crash);
                }
                Err(error) => {
                    error
                        .event()
                        .entry()
                        .say(format_args!("crash record skipped: {}", chain(&error)));
                    self.known.remove(at);
                    self.cannot_read(file_name(fingerprint), error);
                    return None;
                }
            }
        }
        self.open.get_mut(fingerprint)
    }

    /// A file that is there cannot be read.
    pub(super) fn cannot_read(&mut self, name: String, error: Error) {
        self.unread_names.insert(name);
        self.unread.push(error);
    }

    /// Takes in a record as its file has it.
    pub(super) fn take_in(&mut self, crash: Crash) {
        let fingerprint = Fingerprint::from(&crash.fingerprint);
        let known = KnownCrash {
            fingerprint: fingerprint.clone(),
            last_seen: Stamp::from(&crash.last_seen),
            occurrences: crash.occurrences,
        };
        match self.place(&fingerprint) {
            Ok(at) => {
                if let Some(before) = self.known.get_mut(at) {
                    *before = known;
                }
            }
            Err(at) => compact::insert(&mut self.known, at, known),
        }
        self.open.insert(fingerprint, crash);
    }

    /// Takes in a new or changed record, which is to be written.
    pub(super) fn put(&mut self, crash: Crash) {
        self.stale.insert(Fingerprint::from(&crash.fingerprint));
        self.take_in(crash);
    }

    /// The file of a crash is behind, as the list of dumps that it has.
    pub(super) fn is_behind(&mut self, fingerprint: Fingerprint) {
        self.stale.insert(fingerprint);
    }

    /// A record that is to be written.
    pub(super) fn first_behind(&self) -> Option<Fingerprint> {
        self.stale.first().cloned()
    }

    /// All that are to be written.
    pub(super) fn behind(&self) -> Vec<Fingerprint> {
        self.stale.iter().cloned().collect()
    }

    /// It was written, or cannot be.
    pub(super) fn is_written(&mut self, fingerprint: &Fingerprint) {
        self.stale.remove(fingerprint);
    }

    /// Whether the file of a crash is there and could not be read.
    pub(super) fn is_unread(&self, fingerprint: &Fingerprint) -> bool {
        self.unread_names.contains(&file_name(fingerprint))
    }

    /// Forgets a crash.
    pub(super) fn forget(&mut self, fingerprint: &Fingerprint) {
        if let Ok(at) = self.place(fingerprint) {
            self.known.remove(at);
        }
        self.open.remove(fingerprint);
        self.stale.remove(fingerprint);
    }

    /// Whether the crash is known.
    pub(super) fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.place(fingerprint).is_ok()
    }

    /// Leaves in memory what the files do not have.
    pub(super) fn close(&mut self) {
        // a map that was emptied keeps a node, this makes another one
        let open = std::mem::take(&mut self.open).into_iter();
        self.open = open
            .filter(|(fingerprint, _)| {
                self.stale.contains(fingerprint) || self.is_unread(fingerprint)
            })
            .collect();
    }
}

fn read(path: &Path) -> Result<Crash> {
    let bytes = fs::read(path).map_err(|source| Error::io("read", path, source))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Damaged {
        path: path.to_owned(),
        source,
    })
}
