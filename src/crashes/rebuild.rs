//! Brings the groups up to date with the devices' own records of crashes: after a
//! power cut, a restore, or a damaged group file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use crate::store::coredumps::{Crash, DeviceFolder, Entry};
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
    pub(super) signature: Option<Arc<Signature>>,
    /// Stored builds with its ELF.
    pub(super) builds: Vec<String>,
    /// Other groups that dumps of it were in when they were written.
    pub(super) former: Vec<String>,
}

impl Crashes {
    /// Counts what the devices' records have and the groups lack. Reads the folder
    /// of every device that was not read yet.
    pub fn complete(&self) {
        let now = Moment::now().wall;
        let mut makers: HashMap<String, Vec<String>> = HashMap::new();
        let mut completion = Completion::default();
        for device in self.store.coredumps.devices().unwrap_or_default() {
            let records = self
                .store
                .coredumps
                .with(&device, |folder| Ok(records_of(device.as_str(), folder)));
            match records {
                Ok(mut records) => {
                    for record in &mut records {
                        let hash = record.crash.app_elf_sha256.as_deref().unwrap_or_default();
                        let makers = makers.entry(hash.to_owned());
                        record.builds = makers.or_insert_with(|| self.makers(hash)).clone();
                    }
                    let register = &mut self.memory().register;
                    completion.take_in(register, device.as_str(), &records, now);
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
        if self.has_at_least(&crash.fingerprint, &crash.device, *seen) {
            return None;
        }
        let is_unknown = self.group_of(&crash.fingerprint).is_none();
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
            .filter(|_| self.group_of(&crash.fingerprint).is_none())
            .cloned()
        {
            self.join(&owner, crash);
        }
        let unnamed_in = self.at_least(crash, *seen);
        if is_unknown {
            let group = self
                .group_of(&crash.fingerprint)
                .map(|group| group.id.clone());
            if let Some(group) = group.and_then(|id| self.get_mut(&id)) {
                group.announced |= now - seen.last_seen.0 > NEWS;
            }
            if let Some(signature) = &record.signature {
                let decoded = Decoded {
                    signature: Some(Signature::clone(signature)),
                    builds: record.builds.clone(),
                    ..Decoded::default()
                };
                self.decoded(crash, decoded);
            } else {
                self.settle_each(std::slice::from_ref(&crash.fingerprint));
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

/// What a device's folder knows of its crashes.
fn records_of(device: &str, folder: &mut DeviceFolder) -> Vec<Record> {
    let mut newest: BTreeMap<&str, &Entry> = BTreeMap::new();
    let mut groups: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    let mut unnamed: BTreeMap<String, (&Entry, u64, At, At)> = BTreeMap::new();
    for entry in folder.entries() {
        let Some(at) = At::parse(&entry.uploaded_at) else {
            continue;
        };
        match &entry.fingerprint {
            Some(fingerprint) => {
                newest.insert(fingerprint, entry);
                let groups = groups.entry(fingerprint).or_default();
                groups.extend(&entry.crash);
            }
            None => {
                let key = name_of(entry);
                let (newest, count, _, last) = unnamed.entry(key).or_insert((entry, 0, at, at));
                (*newest, *last) = (entry, at.max(*last));
                // what was only counted may be of another build
                *count += 1;
            }
        }
    }
    let named = folder.crashes().filter_map(|crash| {
        let entry = newest.get(crash.fingerprint.as_str()).copied();
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
            former: {
                let groups = groups.get(crash.fingerprint.as_str()).into_iter().flatten();
                let is_other = |id: &&&String| Some(**id) != crash.group.as_ref();
                groups
                    .copied()
                    .filter(|id| is_other(&id))
                    .cloned()
                    .collect()
            },
        })
    });
    let unnamed = unnamed.values().map(|(entry, count, first, last)| Record {
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
        group: entry.crash.clone(),
        signature: None,
        builds: Vec::new(),
        former: Vec::new(),
    });
    named.chain(unnamed).collect()
}

/// The fingerprint that stands for a dump in the groups.
pub fn name_of(entry: &Entry) -> String {
    entry.fingerprint.clone().unwrap_or_else(|| {
        unreadable(
            entry.model_code.as_deref(),
            entry.app_elf_sha256.as_deref(),
            entry.firmware_version.as_deref(),
        )
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
            None => entry.and_then(|entry| entry.app_elf_sha256.clone()),
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
            fingerprint: name_of(entry),
            algorithm: None,
            device: device.to_owned(),
            model: entry.model_code.clone(),
            app_elf_sha256: entry.app_elf_sha256.clone(),
            version: entry.firmware_version.clone(),
            panic_reason: None,
            task: None,
            at: At::parse(&entry.uploaded_at).unwrap_or_else(|| At(Moment::now().wall)),
            during_outage: entry.during_outage,
        }
    }
}
