//! Brings the groups up to date with the devices' own records of crashes: after a
//! power cut, a restore, or a damaged group file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::completion::Completion;
use super::counting::{MAX_FINGERPRINTS, Occurrence, other_id, unreadable};
use super::placing::{Decoded, newest};
use super::register::{Register, blank};
use super::{Crashes, id, state};
use crate::clock::Moment;
use crate::journal::chain;
use crate::signature::Signature;
use crate::store::compact::Fingerprint;
use crate::store::coredumps::{Crash, DeviceFolder, Entry, KnownCrash};
use crate::store::crashes::{At, Seen};

/// Crashes that were seen longer ago than this are not news.
const NEWS: Duration = Duration::hours(1);

/// A device's record of a crash.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) crash: Occurrence,
    pub(super) seen: Seen,
    /// The group that it was in when it was written.
    pub(super) group: Option<String>,
    pub(super) signature: Option<Signature>,
    /// Stored builds with its ELF.
    pub(super) builds: Vec<String>,
}

impl Crashes {
    /// Counts what the devices' records have and the groups lack. Reads the folder
    /// of every device that was not read yet.
    pub fn complete(&self) {
        let now = Moment::now().wall;
        let mut makers: HashMap<String, Vec<String>> = HashMap::new();
        let mut completion = Completion::default();
        for device in self.store.coredumps.devices().unwrap_or_default() {
            let is_counted = |name: &Fingerprint, seen: Seen| {
                let memory = self.memory();
                memory.register.has_at_least(name, device.as_str(), seen)
            };
            let records = self.store.coredumps.with(&device, |folder| {
                let former = former_of(folder.entries());
                Ok((records_of(device.as_str(), folder, is_counted), former))
            });
            match records {
                Ok((mut records, former)) => {
                    for record in &mut records {
                        let hash = record.crash.app_elf_sha256.as_deref().unwrap_or_default();
                        let makers = makers.entry(hash.to_owned());
                        record.builds = makers.or_insert_with(|| self.makers(hash)).clone();
                    }
                    let register = &mut self.memory().register;
                    completion.take_in(register, device.as_str(), &records, now);
                    completion.remember(register, former);
                }
                Err(error) => log::warn!("crashes of {device} are not counted: {}", chain(&error)),
            }
        }
        // some may be about groups that were lost
        let register = &mut self.memory().register;
        register.apply_all();
        completion.finish(register);
        register.check_regressions();
    }

    /// Ids of the stored builds with this ELF.
    fn makers(&self, hash: &str) -> Vec<String> {
        if hash.is_empty() {
            return Vec::new();
        }
        // a folder that cannot be read is told where a build is needed
        let makers = self.store.firmware.makers(hash).unwrap_or_default();
        makers
            .iter()
            .map(|(_, build)| build.id().to_string())
            .collect()
    }
}

impl Register {
    /// Counts a record. Gives the group that counts it without a name, if one does:
    /// that is for [`Completion`].
    pub(super) fn take_in_record(
        &mut self,
        record: &Record,
        now: OffsetDateTime,
    ) -> Option<String> {
        let Record { crash, seen, .. } = record;
        let fingerprint = &Fingerprint::from(&crash.fingerprint);
        if self.has_at_least(fingerprint, &crash.device, *seen) {
            return None;
        }
        let is_unknown = self.group_with(fingerprint).is_none();
        if is_unknown && let Some(id) = self.counts_unnamed(record) {
            return Some(id);
        }
        if is_unknown && let Some(id) = record.group.as_deref().filter(|id| id::is_valid(id)) {
            if self.resolve(id).is_none() {
                let mut group = blank(id.to_owned(), crash.model.clone(), crash.at);
                group.first_device = Some(crash.device.clone());
                self.add(group);
            }
            self.join(id, crash);
        }
        let owner = record
            .signature
            .as_ref()
            .and_then(|signature| self.owners.get(&signature.id));
        if let Some(owner) = owner
            .filter(|_| self.group_with(fingerprint).is_none())
            .cloned()
        {
            self.join(&owner, crash);
        }
        let unnamed_in = self.at_least(crash, *seen);
        if is_unknown {
            let group = self.id_with(fingerprint);
            if let Some(group) = group.and_then(|id| self.get_mut(&id)) {
                group.announced |= now - seen.last_seen.time() > NEWS;
            }
            if let Some(signature) = &record.signature {
                let decoded = Decoded {
                    signature: Some(signature.clone()),
                    builds: record.builds.clone(),
                    ..Decoded::default()
                };
                self.decoded(crash, decoded);
            } else {
                self.settle_each(std::slice::from_ref(fingerprint));
            }
        }
        unnamed_in
    }
}

impl Register {
    /// The group that counts a record without the name of its fingerprint: the model's
    /// `other`, or one that has no room for one more name.
    fn counts_unnamed(&mut self, record: &Record) -> Option<String> {
        let owner = || self.owners.get(&record.signature.as_ref()?.id);
        let id = record.group.as_ref().or_else(owner)?;
        match self.get(id) {
            Some(group) => {
                let is_full = group.fingerprints.len() >= MAX_FINGERPRINTS;
                (is_full || group.is_other()).then(|| group.id.clone())
            }
            // its file is lost
            None if *id == other_id(record.crash.model.as_deref()) => {
                Some(self.other_of(&record.crash))
            }
            None => None,
        }
    }

    /// A crash may have come back just before a power cut.
    fn check_regressions(&mut self) {
        for group in self.groups.values_mut() {
            let members = group.fingerprints.values();
            let seen = members.filter_map(|member| {
                let (device, last_seen) = newest(member)?;
                Some((member.fingerprint.clone(), device, last_seen))
            });
            let Some(decided) = group.decided.as_ref().map(|decided| decided.at) else {
                continue;
            };
            for (fingerprint, device, last_seen) in seen.collect::<Vec<_>>() {
                if last_seen > decided {
                    state::note_regression(group, &fingerprint, &device, last_seen);
                }
            }
        }
    }
}

/// The groups that a device's dumps were in when they were written, each with a
/// fingerprint that was in it.
fn former_of(entries: &[Entry]) -> BTreeMap<Arc<str>, Fingerprint> {
    let named = entries.iter().filter(|entry| entry.fingerprint.is_some());
    let former = named.filter_map(|entry| Some((entry.crash.clone()?, name_of(entry))));
    former.collect()
}

/// What a device's folder knows of its crashes that is not counted yet.
fn records_of(
    device: &str,
    folder: &mut DeviceFolder,
    is_counted: impl Fn(&Fingerprint, Seen) -> bool,
) -> Vec<Record> {
    // without reading their files
    let known: Vec<KnownCrash> = {
        let known = folder.crashes().iter();
        let seen = |crash: &KnownCrash| {
            let last_seen = At::of(crash.last_seen.time()?);
            Some(Seen {
                occurrences: crash.occurrences,
                first_seen: last_seen,
                last_seen,
                during_outage: 0,
            })
        };
        known
            .filter(|crash| seen(crash).is_some_and(|seen| !is_counted(&crash.fingerprint, seen)))
            .cloned()
            .collect()
    };
    let mut records = Vec::new();
    for KnownCrash { fingerprint, .. } in known {
        let of_it = |entry: &&Entry| entry.fingerprint.as_ref() == Some(&fingerprint);
        let mut dated = folder.entries().iter().rev().filter(of_it);
        let entry = dated.find(|entry| entry.uploaded_at.time().is_some());
        let entry = entry.cloned();
        if let Some(crash) = folder.crash(&fingerprint.to_string()) {
            records.extend(named(device, crash, entry.as_ref()));
        }
    }
    records.extend(unnamed(device, folder.entries()));
    records
}

/// A device's record of a crash; `entry` is its newest dump.
fn named(device: &str, crash: &Crash, entry: Option<&Entry>) -> Option<Record> {
    let seen = Seen {
        occurrences: crash.occurrences,
        first_seen: At::parse(&crash.first_seen)?,
        last_seen: At::parse(&crash.last_seen)?,
        during_outage: entry.map_or(0, |entry| u64::from(entry.during_outage)),
    };
    Some(Record {
        crash: of_record(device, crash, entry, seen.first_seen),
        seen,
        group: crash.group.clone(),
        signature: crash.signature.clone(),
        builds: Vec::new(),
    })
}

/// Crashes without a fingerprint, counted by what stands for it.
fn unnamed(device: &str, entries: &[Entry]) -> Vec<Record> {
    let mut unnamed: BTreeMap<Fingerprint, (&Entry, u64, At, At)> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.fingerprint.is_none()) {
        let Some(at) = entry.uploaded_at.time().map(At::of) else {
            continue;
        };
        let new = (entry, 0, at, at);
        let (newest, count, _, last) = unnamed.entry(name_of(entry)).or_insert(new);
        (*newest, *last) = (entry, at.max(*last));
        // what was only counted may be of another build
        *count += 1;
    }
    let records = unnamed.values().map(|(entry, count, first, last)| Record {
        crash: Occurrence {
            at: *first,
            ..Occurrence::of(device, entry)
        },
        seen: Seen {
            occurrences: *count,
            first_seen: *first,
            last_seen: *last,
            during_outage: u64::from(entry.during_outage),
        },
        group: entry.crash.as_deref().map(str::to_owned),
        signature: None,
        builds: Vec::new(),
    });
    records.collect()
}

/// The fingerprint that stands for a dump in the groups.
pub fn name_of(entry: &Entry) -> Fingerprint {
    entry.fingerprint.clone().unwrap_or_else(|| {
        Fingerprint::from(unreadable(
            entry.model_code(),
            entry.app_elf_sha256(),
            entry.firmware_version(),
        ))
    })
}

fn of_record(device: &str, crash: &Crash, entry: Option<&Entry>, at: At) -> Occurrence {
    let version = crash.occurrences_per_version.keys().next_back().cloned();
    Occurrence {
        fingerprint: crash.fingerprint.clone(),
        algorithm: None,
        device: device.to_owned(),
        model: crash.model_code.clone(),
        app_elf_sha256: match &crash.app_elf_sha256 {
            Some(hash) => Some(hash.clone()),
            None => entry.and_then(Entry::app_elf_sha256).map(str::to_owned),
        },
        version: version.filter(|version| version != "unknown"),
        panic_reason: crash.panic_reason.clone(),
        task: crash.task.clone(),
        at,
        during_outage: false,
    }
}

impl Occurrence {
    /// The crash that a stored dump is of.
    pub fn of(device: &str, entry: &Entry) -> Self {
        Self {
            fingerprint: name_of(entry).to_string(),
            algorithm: None,
            device: device.to_owned(),
            model: entry.model_code().map(str::to_owned),
            app_elf_sha256: entry.app_elf_sha256().map(str::to_owned),
            version: entry.firmware_version().map(str::to_owned),
            panic_reason: None,
            task: None,
            at: At::of(
                entry
                    .uploaded_at
                    .time()
                    .unwrap_or_else(|| Moment::now().wall),
            ),
            during_outage: entry.during_outage,
        }
    }
}
