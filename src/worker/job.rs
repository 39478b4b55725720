//! The dumps to decode, from the store.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::device::{DeviceKey, ModelCode};
use crate::digest::Sha256;
use crate::journal::{Event, chain};
use crate::store::compact::{DumpId, Fingerprint};
use crate::store::coredumps::{DecodeState, Entry, Sidecar};
use crate::store::firmware::{Build, Elf};
use crate::store::{Result, Store};

/// An ELF that could not be read is tried again after this time.
const UNREADABLE_FOR: Duration = Duration::from_secs(3600);

/// One dump to decode.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) device: DeviceKey,
    pub(super) stem: String,
    pub(super) entry: Entry,
    pub(super) dump: PathBuf,
    /// The application's ELF, if there is one that fits or may fit.
    pub(super) elf: Option<Elf>,
}

/// Dumps to skip.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Ids of the dumps that were tried in this round.
    tried: HashSet<DumpId>,
    /// ELFs whose bundle cannot be read, and since when that is known: what
    /// waits for them is not worth a decoder.
    unreadable: HashMap<Sha256, Instant>,
}

impl Passed {
    /// Begins a round: every dump may be tried once more.
    pub(super) fn begin_round(&mut self) {
        self.tried.clear();
        self.unreadable
            .retain(|_, since| since.elapsed() < UNREADABLE_FOR);
    }

    /// A bundle may have come again.
    pub(super) fn forget_unreadable(&mut self) {
        self.unreadable.clear();
    }
}

/// The next dump that lacks a report, or waits for an ELF that is here now:
/// those that never failed first, of them the newest. What is given is noted in
/// `passed`.
pub(super) fn next_job(store: &Store, passed: &mut Passed) -> Option<Job> {
    let builds = Builds::of(store);
    let mut open = store.coredumps.collect(|device, entry| {
        let due = match entry.decode() {
            Some(DecodeState::Pending) => true,
            Some(DecodeState::NoElf) => builds
                .elf_for(entry)
                .is_some_and(|elf| !entry.is_misfit(elf) && !passed.unreadable.contains_key(&elf)),
            Some(DecodeState::Done | DecodeState::Failed) | None => false,
        };
        (due && !passed.tried.contains(&entry.id)).then(|| (device.clone(), entry.clone()))
    });
    open.sort_by_key(|(_, entry)| (Reverse(entry.attempts()), entry.sequence));
    while let Some((device, entry)) = open.pop() {
        passed.tried.insert(entry.id.clone());
        let elf = take_out(store, &builds, &entry, passed);
        let fits = elf.as_ref().is_some_and(|elf| !entry.is_misfit(elf.sha256));
        if entry.decode() == Some(DecodeState::NoElf) && !fits {
            continue;
        }
        let dump = store
            .coredumps
            .with(&device, |folder| Ok(folder.file(&entry.stem, "dmp")));
        let Ok(dump) = dump else {
            continue;
        };
        return Some(Job {
            id: entry.id.to_string(),
            device,
            stem: entry.stem.to_string(),
            entry,
            dump,
            elf,
        });
    }
    None
}

/// The builds that are stored, looked up once for all dumps.
struct Builds(Vec<(ModelCode, Build)>);

impl Builds {
    fn of(store: &Store) -> Self {
        let models = store.firmware.models().unwrap_or_default();
        let builds = models.into_iter().flat_map(|model| {
            let builds = store.firmware.builds(&model).unwrap_or_default();
            builds.into_iter().map(move |build| (model.clone(), build))
        });
        Self(builds.collect())
    }

    /// The ELF that surely or possibly fits: by the hash in the dump; a dump
    /// that carries none is read with the ELF of its version, which the report
    /// calls unverified.
    fn elf_for(&self, entry: &Entry) -> Option<Sha256> {
        if let Some(prefix) = hash_in(entry) {
            let mut elves = self.0.iter().filter_map(|(_, build)| build.elf_sha256);
            return elves.find(|elf| elf.has_prefix(prefix));
        }
        let (model, version) = (entry.model_code(), entry.firmware_version()?);
        let of_model = || {
            let builds = self.0.iter();
            builds.filter(|(code, _)| model == Some(code.as_str()))
        };
        let named = of_model().find(|(_, build)| build.name == version);
        let newest = || of_model().find(|(_, build)| build.version.as_str() == version);
        named.or_else(newest)?.1.elf_sha256
    }
}

fn hash_in(entry: &Entry) -> Option<&str> {
    entry.app_elf_sha256().filter(|prefix| !prefix.is_empty())
}

/// The ELF for a dump, taken out of its bundle, if that can be read.
fn take_out(store: &Store, builds: &Builds, entry: &Entry, passed: &mut Passed) -> Option<Elf> {
    let elf = builds.elf_for(entry)?;
    if passed.unreadable.contains_key(&elf) {
        return None;
    }
    find_elf(store, entry).unwrap_or_else(|error| {
        passed.unreadable.insert(elf, Instant::now());
        Event::BundleUnreadable
            .entry()
            .maybe("MODEL_CODE", entry.model_code())
            .maybe("FIRMWARE_VERSION", entry.firmware_version())
            .say(format_args!(
                "cannot read the ELF for coredump {}: {}",
                entry.id,
                chain(&error)
            ));
        None
    })
}

fn find_elf(store: &Store, entry: &Entry) -> Result<Option<Elf>> {
    if let Some(prefix) = hash_in(entry) {
        return store.firmware.elf(prefix);
    }
    let model = entry.model_code().and_then(|code| code.parse().ok());
    match (model, entry.firmware_version()) {
        (Some(model), Some(version)) => store.firmware.elf_of(&model, version),
        _ => Ok(None),
    }
}

/// After an upgrade the newest dump of each crash is decoded again, and those
/// that could not be.
pub(super) fn after_an_upgrade(store: &Store) {
    const FIELD: &str = "decoded_by";
    let version = env!("CARGO_PKG_VERSION");
    let gateway = store.registry.gateway.read();
    let last = gateway.extra.get(FIELD).and_then(|value| value.as_str());
    if last == Some(version) {
        return;
    }
    if last.is_some() {
        for (device, stem) in worth_another_look(store) {
            let again = store.coredumps.with(&device, |folder| {
                folder.change(&stem, Sidecar::decode_again)
            });
            if let Err(error) = again {
                log::warn!(
                    "cannot queue {stem} of {device} for decoding: {}",
                    chain(&error)
                );
            }
        }
    }
    let noted = store.registry.gateway.change(|gateway| {
        gateway.extra.insert(FIELD.into(), version.into());
        Ok::<_, Infallible>(())
    });
    if let Err(error) = noted {
        log::warn!("cannot save the decoder version: {}", chain(&error));
    }
}

fn worth_another_look(store: &Store) -> Vec<(DeviceKey, String)> {
    let mut newest: BTreeMap<(DeviceKey, Fingerprint), String> = BTreeMap::new();
    let mut chosen = store.coredumps.collect(|device, entry| {
        let stem = entry.stem.to_string();
        if entry.decode() == Some(DecodeState::Failed) {
            return Some((device.clone(), stem));
        }
        let fingerprint = entry.fingerprint.clone()?;
        newest.insert((device.clone(), fingerprint), stem);
        None
    });
    chosen.extend(newest.into_iter().map(|((device, _), stem)| (device, stem)));
    chosen
}
