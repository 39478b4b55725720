//! Which stored dumps belong to a group.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Crashes, Register, name_of};
use crate::api::crashes::Dump;
use crate::store::compact::Fingerprint;
use crate::store::coredumps::Entry;

impl Crashes {
    /// Tells the stored dumps of a group; none for an unknown id.
    pub fn dumps_in(&self, id: &str) -> DumpsIn<'_> {
        let (names, ids) = self.with(|register| {
            let Some(group) = register.get(id) else {
                return Default::default();
            };
            let ids = group.merged_from.iter().chain([&group.id]);
            (
                group.fingerprints.keys().cloned().collect(),
                ids.cloned().collect(),
            )
        });
        DumpsIn {
            crashes: self,
            names,
            ids,
        }
    }

    /// Numbers of stored dumps by the name of their fingerprint, with the group that one
    /// of them was in when it was written.
    pub(super) fn stored_dumps(&self) -> HashMap<Fingerprint, (u64, Option<Arc<str>>)> {
        let known = self.with(|register| register.by_fingerprint.len());
        let mut stored = HashMap::with_capacity(known);
        self.store.coredumps.collect(|_, entry| {
            match entry
                .fingerprint
                .as_ref()
                .and_then(|fingerprint| stored.get_mut(fingerprint))
            {
                Some((count, _)) => *count += 1,
                None => {
                    let new = || (0, entry.crash.clone());
                    stored.entry(name_of(entry)).or_insert_with(new).0 += 1;
                }
            }
            None::<()>
        });
        stored
    }

    /// The stored dumps of a group, newest first.
    pub(super) fn dumps_of(&self, group: &DumpsIn<'_>) -> Vec<(u64, Dump)> {
        let mut dumps = self.store.coredumps.collect(|device, entry| {
            group.has(entry).then(|| {
                let dump = Dump {
                    id: entry.id.to_string(),
                    device_key: device.to_string(),
                    firmware_version: entry.firmware_version().map(str::to_owned),
                    uploaded_at: entry.uploaded_at.to_string(),
                    verdict: entry.verdict.to_string(),
                };
                (entry.sequence, dump)
            })
        });
        dumps.sort_by_key(|(sequence, _)| Reverse(*sequence));
        dumps
    }
}

/// The stored dumps of one group.
#[derive(Debug)]
pub struct DumpsIn<'a> {
    crashes: &'a Crashes,
    names: HashSet<Fingerprint>,
    /// Its id, and those of groups that were merged into it.
    ids: HashSet<String>,
}

impl DumpsIn<'_> {
    /// Whether a dump is one of them: by its fingerprint, or, if no group names that,
    /// by the group that counted it.
    pub fn has(&self, entry: &Entry) -> bool {
        let name = name_of(entry);
        self.names.contains(&name)
            || (entry
                .crash
                .as_ref()
                .is_some_and(|id| self.ids.contains(&**id))
                && self
                    .crashes
                    .with(|register| register.group_with(&name).is_none()))
    }
}

/// Numbers of stored dumps by group.
pub(super) fn dumps_by_group(
    register: &Register,
    stored: HashMap<Fingerprint, (u64, Option<Arc<str>>)>,
) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for (name, (count, crash)) in stored {
        let group = register.id_with(&name);
        if let Some(id) = group.or_else(|| register.resolve(&crash?)) {
            *counts.entry(id).or_insert(0) += count;
        }
    }
    counts
}
