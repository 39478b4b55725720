//! What there is to decode, read from the store.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::path::PathBuf;

use crate::device::{DeviceKey, ModelCode};
use crate::journal::chain;
use crate::store::Store;
use crate::store::coredumps::{DecodeState, Entry};
use crate::store::firmware::Build;

/// One dump to decode.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    pub id: String,
    pub device: DeviceKey,
    pub stem: String,
    pub dump: PathBuf,
    /// The application's ELF, if there is one that fits or may fit.
    pub elf: Option<PathBuf>,
}

/// Dumps and ELFs that were tried together and do not fit: by id and path.
pub type Misfits = HashSet<(String, PathBuf)>;

/// The newest dump that lacks a report, or waits for an ELF that is here now.
/// Those in `tried` are passed over, and ELFs that are known not to fit.
pub fn next_job(store: &Store, tried: &HashSet<String>, misfits: &Misfits) -> Option<Job> {
    let mut open = store.coredumps.collect(|device, entry| {
        let due = match entry.decode {
            DecodeState::Pending => true,
            DecodeState::NoElf => has_elf(store, entry, misfits),
            DecodeState::Done | DecodeState::Failed => false,
        };
        (due && !tried.contains(&entry.id)).then(|| (entry.sequence, device.clone(), entry.clone()))
    });
    open.sort_by_key(|(sequence, ..)| *sequence);
    let (_, device, entry) = open.pop()?;
    let dump = store
        .coredumps
        .with(&device, |folder| Ok(folder.file(&entry.stem, "dmp")))
        .ok()?;
    Some(Job {
        elf: find_elf(store, &entry),
        id: entry.id,
        device,
        stem: entry.stem,
        dump,
    })
}

/// Whether an ELF that surely or possibly fits is stored, and not yet tried.
fn has_elf(store: &Store, entry: &Entry, misfits: &Misfits) -> bool {
    let Some(prefix) = entry.app_elf_sha256.as_deref().filter(|p| !p.is_empty()) else {
        return find_elf(store, entry)
            .is_some_and(|elf| !misfits.contains(&(entry.id.clone(), elf)));
    };
    let fits = |build: &Build| build.elf_sha256.is_some_and(|elf| elf.has_prefix(prefix));
    store.firmware.models().is_ok_and(|models| {
        models
            .iter()
            .filter_map(|model| store.firmware.builds(model).ok())
            .any(|builds| builds.iter().any(fits))
    })
}

/// By the hash in the dump; a dump that carries none is read with the ELF of
/// its version, which the report calls unverified.
fn find_elf(store: &Store, entry: &Entry) -> Option<PathBuf> {
    let found = match entry.app_elf_sha256.as_deref().filter(|p| !p.is_empty()) {
        Some(prefix) => store.firmware.elf(prefix),
        None => {
            let model: ModelCode = entry.model_code.as_deref()?.parse().ok()?;
            store
                .firmware
                .elf_of(&model, entry.firmware_version.as_deref()?)
        }
    };
    match found {
        Ok(elf) => Some(elf?.path),
        Err(error) => {
            log::warn!(
                "the ELF for coredump {} cannot be read: {}",
                entry.id,
                chain(&error)
            );
            None
        }
    }
}

/// After an upgrade the newest dump of each crash is decoded again, and what
/// has no report anyway.
pub(super) fn after_an_upgrade(store: &Store) {
    const FIELD: &str = "decoded_by";
    let version = env!("CARGO_PKG_VERSION");
    let gateway = store.registry.gateway.read();
    let last = gateway.extra.get(FIELD).and_then(|value| value.as_str());
    if last == Some(version) {
        return;
    }
    if last.is_some() {
        let mut newest: BTreeMap<(DeviceKey, String), String> = BTreeMap::new();
        for (device, fingerprint, stem) in store.coredumps.collect(|device, entry| {
            let fingerprint = entry.fingerprint.clone()?;
            Some((device.clone(), fingerprint, entry.stem.clone()))
        }) {
            newest.insert((device, fingerprint), stem);
        }
        for ((device, _), stem) in newest {
            let again = store.coredumps.with(&device, |folder| {
                folder.change(&stem, |sidecar| sidecar.decode = DecodeState::Pending)
            });
            if let Err(error) = again {
                log::warn!("{stem} of {device} is not decoded again: {}", chain(&error));
            }
        }
    }
    let noted = store.registry.gateway.change(|gateway| {
        gateway.extra.insert(FIELD.into(), version.into());
        Ok::<_, Infallible>(())
    });
    if let Err(error) = noted {
        log::warn!("cannot note the version that decodes: {}", chain(&error));
    }
}
