//! Brings the groups up to date with the devices' own records of crashes: after a
//! power cut, a restore, or a damaged group file.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use super::counting::{Occurrence, unreadable};
use super::placing::Decoded;
use super::register::{Register, blank};
use super::{Crashes, id};
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
    pub(super) signature: Option<Signature>,
}

impl Crashes {
    /// Counts what the devices' records have and the groups lack. Reads the folder
    /// of every device that was not read yet.
    pub fn complete(&self) {
        let now = Moment::now().wall;
        for device in self.store.coredumps.devices().unwrap_or_default() {
            let records = self
                .store
                .coredumps
                .with(&device, |folder| Ok(records_of(device.as_str(), folder)));
            match records {
                Ok(records) => {
                    let mut memory = self.memory();
                    for record in &records {
                        memory.register.take_in_record(record, now);
                    }
                }
                Err(error) => log::warn!("crashes of {device} are not counted: {}", chain(&error)),
            }
        }
        // some may be about groups that were lost
        self.memory().register.apply_all();
    }
}

impl Register {
    pub(super) fn take_in_record(&mut self, record: &Record, now: OffsetDateTime) {
        let Record { crash, seen, .. } = record;
        if self.has_at_least(&crash.fingerprint, &crash.device, *seen) {
            return;
        }
        let is_unknown = self.group_of(&crash.fingerprint).is_none();
        if is_unknown && let Some(id) = record.group.as_deref().filter(|id| id::is_valid(id)) {
            if self.resolve(id).is_none() {
                let mut group = blank(id.to_owned(), crash.model.clone(), crash.at);
                group.first_device = Some(crash.device.clone());
                self.add(group);
            }
            self.join(id, crash);
        }
        self.at_least(crash, *seen);
        if is_unknown {
            let group = self
                .group_of(&crash.fingerprint)
                .map(|group| group.id.clone());
            if let Some(group) = group.and_then(|id| self.get_mut(&id)) {
                group.announced |= now - seen.last_seen.0 > NEWS;
            }
            if let Some(signature) = &record.signature {
                let decoded = Decoded {
                    signature: Some(signature.clone()),
                    ..Decoded::default()
                };
                self.decoded(crash, decoded);
            } else {
                self.settle_each(std::slice::from_ref(&crash.fingerprint));
            }
        }
    }
}

/// What a device's folder knows of its crashes.
fn records_of(device: &str, folder: &mut DeviceFolder) -> Vec<Record> {
    let mut newest: BTreeMap<&str, &Entry> = BTreeMap::new();
    let mut unnamed: BTreeMap<String, (&Entry, u64, At, At)> = BTreeMap::new();
    for entry in folder.entries() {
        let Some(at) = At::parse(&entry.uploaded_at) else {
            continue;
        };
        match &entry.fingerprint {
            Some(fingerprint) => {
                newest.insert(fingerprint, entry);
            }
            None => {
                let key = name_of(entry);
                let (newest, count, _, last) = unnamed.entry(key).or_insert((entry, 0, at, at));
                (*newest, *last) = (entry, at.max(*last));
                *count += 1 + entry.counted;
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
        app_elf_sha256: entry.and_then(|entry| entry.app_elf_sha256.clone()),
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
