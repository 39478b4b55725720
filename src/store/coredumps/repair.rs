//! Reads a device's folder and repairs what a crash left in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Map;

use super::super::publish::{FILE_MODE, replace, set_aside, sync_folder};
use super::super::{Error, Result};
use super::crash::Crash;
use super::entry::Entry;
use super::folder::{DeviceFolder, FILES, read_sidecar};
#[cfg(doc)]
use super::records::Records;
use super::sidecar::{DecodeState, Decoding, REBUILT, SCHEMA, Sidecar, Source};
use crate::clock;
use crate::coredump;
use crate::digest::Sha256;
use crate::store::compact::Stamp;

/// One repair, as a sentence.
pub(super) type Mended = String;

/// Reads `path`, which may not exist; adds repairs to `mended`, also if the rest
/// cannot be read.
///
/// Only what is read and does not parse is damaged. A file that cannot be read
/// now may be whole: it is left as it is and out of the index, for the board's
/// next dump must not be refused for it (see [`Records`]).
///
/// # Errors
/// [`Error::Io`] if the folder cannot be listed, or something not be mended.
pub(super) fn load(
    path: &Path,
    next_sequence: &mut dyn FnMut() -> Result<u64>,
    mended: &mut Vec<Mended>,
) -> Result<DeviceFolder> {
    let mut folder = DeviceFolder {
        path: path.to_owned(),
        ..DeviceFolder::default()
    };
    let listing = match fs::read_dir(path) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(folder),
        Err(source) => return Err(Error::io("list", path, source)),
    };
    let mut files: BTreeMap<String, u64> = BTreeMap::new();
    for entry in listing {
        let entry = entry.map_err(|source| Error::io("list", path, source))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let data = entry
            .metadata()
            .map_err(|source| Error::io("look at", &entry.path(), source))?;
        if data.is_dir() {
            continue;
        }
        if name.starts_with(".tmp-") {
            remove(&entry.path())?;
            mended.push(format!("removed incomplete file {name}"));
        } else {
            files.insert(name, data.len());
        }
    }
    let stems: BTreeSet<String> = files
        .keys()
        .filter_map(|name| name.strip_suffix(".dmp"))
        .map(str::to_owned)
        .collect();
    drop_orphans(path, &mut files, &stems, mended)?;
    for stem in &stems {
        let sidecar_path = path.join(format!("{stem}.json"));
        let sidecar = match read_sidecar(&sidecar_path) {
            Ok(sidecar) => sidecar,
            Err(error) => {
                if !is_missing(&error) {
                    let Error::Damaged { .. } = error else {
                        folder.records.unread.push(error);
                        continue;
                    };
                    let aside = set_aside(&sidecar_path)?;
                    mended.push(format!("invalid file renamed to {}", aside.display()));
                }
                let rebuilt = rebuild(path, stem, next_sequence()?)?;
                replace(
                    path,
                    &format!("{stem}.json"),
                    &rebuilt.to_bytes(),
                    FILE_MODE,
                )?;
                mended.push(format!("rebuilt the sidecar of {stem}.dmp from the dump"));
                rebuilt
            }
        };
        let bytes = FILES
            .iter()
            .filter_map(|extension| files.get(&format!("{stem}.{extension}")))
            .sum();
        folder.entries.push(Entry::of(stem, &sidecar, bytes));
    }
    folder.entries.sort_by_key(|entry| entry.sequence);
    folder.entries.shrink_to_fit();
    load_crashes(&mut folder, &files, mended)?;
    if !mended.is_empty() {
        sync_folder(path)?;
    }
    Ok(folder)
}

/// Removes sidecars, reports and logs whose dump never came or went first.
fn drop_orphans(
    path: &Path,
    files: &mut BTreeMap<String, u64>,
    stems: &BTreeSet<String>,
    mended: &mut Vec<Mended>,
) -> Result<()> {
    let orphans: Vec<String> = files
        .keys()
        .filter(|name| name.starts_with("coredump_"))
        .filter(|name| {
            [".report.json", ".log", ".json"]
                .iter()
                .find_map(|extension| name.strip_suffix(extension))
                .is_some_and(|stem| !stems.contains(stem))
        })
        .cloned()
        .collect();
    for name in orphans {
        remove(&path.join(&name))?;
        mended.push(format!("removed orphaned file {name}: its dump is missing"));
        files.remove(&name);
    }
    Ok(())
}

/// Reads the crash files; a crash whose file is missing or damaged is counted
/// anew from the dumps that are there.
fn load_crashes(
    folder: &mut DeviceFolder,
    files: &BTreeMap<String, u64>,
    mended: &mut Vec<Mended>,
) -> Result<()> {
    for name in files.keys() {
        if !(name.starts_with("crash_") && name.ends_with(".json")) {
            continue;
        }
        let path = folder.path.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => {
                let error = Error::io("read", &path, source);
                folder.records.cannot_read(name.clone(), error);
                continue;
            }
        };
        match serde_json::from_slice::<Crash>(&bytes) {
            Ok(crash) if crash.file_name() == *name => folder.records.take_in(crash),
            // Under a name that is not its own it would never be found again.
            _ => {
                let aside = set_aside(&path)?;
                mended.push(format!("invalid file renamed to {}", aside.display()));
            }
        }
    }
    let records = &mut folder.records;
    let mut is_counted = |entry: &Entry| {
        entry.fingerprint.as_ref().is_none_or(|fingerprint| {
            let crash = records.open(&folder.path, fingerprint);
            crash.is_some_and(|crash| {
                // counted in memory when the power went
                let last_seen = Stamp::from(&crash.last_seen);
                entry.uploaded_at <= last_seen || crash.kept.iter().any(|kept| entry.id == *kept)
            })
        })
    };
    let entries = folder.entries.iter();
    let uncounted: Vec<String> = entries
        .filter(|entry| !is_counted(entry))
        .map(|entry| entry.stem.to_string())
        .collect();
    for stem in uncounted {
        let sidecar = folder.sidecar(&stem)?;
        folder.count(&sidecar);
    }
    // A disk that takes nothing must not keep a folder from being read: only
    // what is read can be removed to make room. What is not written now stays due.
    let _ = folder.flush();
    Ok(())
}

/// What a dump tells whose sidecar is lost. Model and version are added once all
/// folders are read.
fn rebuild(path: &Path, stem: &str, sequence: u64) -> Result<Sidecar> {
    let file = path.join(format!("{stem}.dmp"));
    let bytes = fs::read(&file).map_err(|source| Error::io("read", &file, source))?;
    let device_key = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let found = coredump::examine(&bytes);
    let id = super::id(&device_key, found.canonical.as_deref().unwrap_or(&bytes));
    let modified = fs::metadata(&file)
        .and_then(|data| data.modified())
        .map_err(|source| Error::io("look at", &file, source))?;
    // The name has the time it came; the file's may be that of a copy.
    let stamp = stem.strip_prefix("coredump_");
    let came = stamp
        .and_then(clock::of_file_stamp)
        .unwrap_or(modified.into());
    Ok(Sidecar {
        schema: SCHEMA,
        id,
        chip: found.chip.map(|chip| chip.to_string()),
        firmware_version: None,
        device_key,
        model_code: None,
        uploaded_at: clock::iso8601(came),
        size: bytes.len() as u64,
        sha256: Sha256::of(&bytes).to_string(),
        // Only boards on a port have a log.
        source: match path.join(format!("{stem}.log")).exists() {
            true => Source::Uart,
            false => Source::Https,
        }
        .into(),
        serial_port: None,
        identity: REBUILT.to_owned(),
        format: found.format_label(),
        header_version: found.header_version.map(|(a, b)| format!("{a}.{b}")),
        verdict: found.verdict.to_string(),
        problems: found.problems,
        app_elf_sha256: found.app_elf_sha256,
        panic_reason: found.panic_reason,
        task: found.task,
        place: None,
        decode: DecodeState::Pending.into(),
        decoding: Decoding::default(),
        fingerprint_algorithm: found.fingerprint_algorithm,
        fingerprint: found.fingerprint,
        signature: None,
        crash: None,
        sightings: Vec::new(),
        gateway_unreachable_s: None,
        gateway_induced: false,
        requested: false,
        counted: 0,
        gateway_id: None,
        boot_id: None,
        monotonic_us: None,
        sequence,
        clock: None,
        extra: Map::new(),
    })
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|source| Error::io("remove", path, source))
}
