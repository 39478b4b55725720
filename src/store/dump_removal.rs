//! Removes dumps by the retention rules: list, decide ([`super::retention`]), act.

use std::collections::HashSet;
use std::sync::Arc;

use super::compact::{DumpId, Fingerprint, Stem};
use super::coredumps::{Entry, KnownCrash, Source};
use super::disk_space::Space;
use super::registry::Device;
use super::retention::{
    MAX_CRASHES, Owner, RetentionLimits, Rule, StoredDump, plan, surplus_crashes,
};
use super::{Error, Result, Store};
use crate::config;
use crate::device::DeviceKey;
use crate::journal::{Event, chain};

/// Upper limit of the free space required.
const MAX_FREE_ASKED: u64 = 1024 * 1024 * 1024;
/// Files that it must be possible to make: those of a few uploads, and what the daemon
/// writes beside.
pub const MIN_FREE_FILES: u64 = 64;
/// Files that go with a dump, or more.
const FILES_OF_DUMP: u64 = 2;

/// What one round removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Swept {
    pub dumps: usize,
    pub bytes: u64,
}

/// The free space that `min_free` requires on a filesystem of this size.
pub fn free_asked(settings: &config::Coredumps, total: u64) -> u64 {
    settings.min_free.of(total).min(MAX_FREE_ASKED)
}

/// Dumps that must go for the number of files that the filesystem can hold.
fn dumps_to_go(space: Space) -> usize {
    let free = space.free_files.unwrap_or(u64::MAX);
    let dumps = MIN_FREE_FILES.saturating_sub(free).div_ceil(FILES_OF_DUMP);
    usize::try_from(dumps).unwrap_or(usize::MAX)
}

/// Applies the retention rules, and frees `needed` more bytes if necessary. Dumps
/// that are held (see `Coredumps::hold`) stay, and those with an id in `last` as long
/// as there is room: they are the last of a crash that nobody resolved. Dumps that
/// cannot be removed are reported, and others are removed instead.
///
/// # Errors
/// [`super::Error::Io`] if the free room is not known, or [`super::Error::Full`]
/// while writing the crash files; what was removed until then stays removed.
pub fn sweep(
    store: &Store,
    settings: &config::Coredumps,
    needed: u64,
    last: &HashSet<DumpId>,
) -> Result<Swept> {
    let mut swept = Swept::default();
    let mut stuck = HashSet::new();
    // each further pass has at least one dump more that is not tried again
    while remove_planned(store, settings, needed, last, &mut swept, &mut stuck)? {}
    forget_crashes(store);
    store.coredumps.flush()?;
    Ok(swept)
}

/// One pass; true if some could not be removed, so that others may have to go.
fn remove_planned(
    store: &Store,
    settings: &config::Coredumps,
    needed: u64,
    last: &HashSet<DumpId>,
    swept: &mut Swept,
    stuck: &mut HashSet<DumpId>,
) -> Result<bool> {
    let space = Space::of(store.coredumps.root())?;
    let (listed, held) = list(store, last, stuck);
    let limits = RetentionLimits {
        keep_per_device: settings.keep_per_device,
        keep_first_of_crash: settings.keep_first_of_crash,
        keep_last_of_crash: settings.keep_last_of_crash,
        max_total: settings.max_total.of(space.total),
        must_free: (free_asked(settings, space.total) + needed).saturating_sub(space.free),
        must_go: dumps_to_go(space),
    };
    let mut failed = false;
    for (at, rule) in plan(&held, limits) {
        let (Some(listed), Some(dump)) = (listed.get(at), held.get(at)) else {
            continue;
        };
        let removed = store.coredumps.with(&listed.device, |folder| {
            folder.remove(&listed.stem.to_string())
        });
        match removed {
            Ok(_) => {
                swept.dumps += 1;
                swept.bytes += dump.bytes;
                say_removed(listed, dump, rule);
                if dump.owner == Owner::FleetUnregistered {
                    forget_board(store, &listed.device);
                }
            }
            Err(error) => {
                failed |= stuck.insert(listed.id.clone());
                say_stuck(listed, rule, &error);
            }
        }
    }
    Ok(failed)
}

/// Where a dump is, and what it is called.
struct Listed {
    device: Arc<DeviceKey>,
    stem: Stem,
    id: DumpId,
}

/// All dumps, and as the decision sees them; what is stuck is taken as in use.
fn list(
    store: &Store,
    last: &HashSet<DumpId>,
    stuck: &HashSet<DumpId>,
) -> (Vec<Listed>, Vec<StoredDump>) {
    let registry = store.registry.devices.read();
    let (mut listed, mut held): (Vec<Listed>, Vec<StoredDump>) = (Vec::new(), Vec::new());
    store.coredumps.collect(|device, entry| -> Option<()> {
        // one device follows the other
        let before = listed.last().zip(held.last());
        let (device, number) = match before {
            Some((before, dump)) if *before.device == *device => {
                (Arc::clone(&before.device), dump.device)
            }
            before => {
                let number = before.map_or(0, |(_, dump)| dump.device + 1);
                (Arc::new(device.clone()), number)
            }
        };
        held.push(StoredDump {
            device: number,
            owner: owner(registry.get(&device), entry),
            sequence: entry.sequence,
            bytes: entry.bytes,
            fingerprint: entry.fingerprint.clone(),
            rank: entry.verdict.rank(),
            requested: entry.requested,
            last_of_crash: last.contains(&entry.id),
            in_use: store.coredumps.is_held(&entry.id) || stuck.contains(&entry.id),
        });
        listed.push(Listed {
            device,
            stem: entry.stem.clone(),
            id: entry.id.clone(),
        });
        None
    });
    (listed, held)
}

/// Any number of boards may come that a fleet token does not register: nothing stays of one
/// whose dumps are gone.
fn forget_board(store: &Store, device: &DeviceKey) {
    if let Err(error) = store.coredumps.forget(device) {
        error.event().entry().device(device).say(format_args!(
            "cannot remove the folder of {device}: {}",
            chain(&error)
        ));
    }
}

fn forget_crashes(store: &Store) {
    for device in store.coredumps.devices().unwrap_or_default() {
        let forgotten = store.coredumps.with(&device, |folder| {
            if folder.crashes().len() <= MAX_CRASHES {
                return Ok(Vec::new());
            }
            let dumps = folder.entries().iter();
            let with_dump: HashSet<_> = dumps.filter_map(|d| d.fingerprint.as_ref()).collect();
            let without = |crash: &&KnownCrash| !with_dump.contains(&crash.fingerprint);
            let without = folder.crashes().iter().filter(without).collect();
            let surplus = surplus_crashes(without, folder.crashes().len() - MAX_CRASHES);
            if !surplus.is_empty() {
                folder.forget_crashes(&surplus)?;
            }
            Ok(surplus)
        });
        match forgotten {
            Ok(fingerprints) => {
                for fingerprint in fingerprints {
                    say_forgotten(&device, &fingerprint);
                }
            }
            Err(error) => {
                let entry = error.event().entry().device(&device);
                entry.say(format_args!(
                    "cannot remove old crash records of {device}: {}",
                    chain(&error)
                ));
            }
        }
    }
}

fn say_forgotten(device: &DeviceKey, fingerprint: &Fingerprint) {
    Event::CrashForgotten
        .entry()
        .device(device)
        .fingerprint(fingerprint)
        .say(format_args!(
            "removed crash record {fingerprint} of {device}: more than {MAX_CRASHES} \
             crashes of this device, oldest without a stored dump"
        ));
}

fn say_stuck(listed: &Listed, rule: Rule, error: &Error) {
    let Listed { device, id, .. } = listed;
    error
        .event()
        .entry()
        .device(device)
        .coredump(id)
        .say(format_args!(
            "cannot remove coredump {id} of {device} (rule {}): {}",
            rule.as_str(),
            chain(error)
        ));
}

fn owner(device: Option<&Device>, entry: &Entry) -> Owner {
    match device.filter(|device| device.registered) {
        Some(device) if device.fleet_token.is_none() => Owner::Registered,
        // what came over USB nobody made up who has the token
        Some(_) if entry.is_from(Source::Https) => Owner::Fleet,
        None if entry.by_fleet_token => Owner::FleetUnregistered,
        None if entry.is_from(Source::Https) => Owner::Removed,
        _ => Owner::UsbUnregistered,
    }
}

fn say_removed(listed: &Listed, dump: &StoredDump, rule: Rule) {
    let Listed { device, id, .. } = listed;
    let said = Event::CoredumpRemoved.entry();
    let said = match rule {
        // one for each that comes
        Rule::Unregistered => said.limited(&rule.as_str()),
        _ => said,
    };
    said.device(device)
        .coredump(id)
        .maybe("FINGERPRINT", dump.fingerprint.as_ref())
        .say(format_args!(
            "removed coredump {id} of {device} (rule {})",
            rule.as_str()
        ));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::bundle;
    use crate::store::coredumps::{NewDump, sample_sidecar};

    fn store(root: &std::path::Path) -> Store {
        let limits = bundle::BundleLimits::for_bundles_of(1 << 20);
        Store::open(root, None, None, limits).unwrap()
    }

    fn key() -> DeviceKey {
        "k1".parse().unwrap()
    }

    fn put(store: &Store, id: &str) {
        put_for(store, &key(), id);
    }

    fn put_for(store: &Store, device: &DeviceKey, id: &str) {
        let sidecar = sample_sidecar(id, store.coredumps.next_sequence().unwrap());
        let new = NewDump {
            sidecar,
            dump: b"dump",
            log: None,
        };
        let stored = store
            .coredumps
            .with(device, |f| f.store(&format!("coredump_{id}"), &new));
        stored.unwrap();
    }

    fn ids(store: &Store) -> Vec<String> {
        store
            .coredumps
            .collect(|_, entry| Some(entry.id.to_string()))
    }

    #[test]
    fn a_dump_that_cannot_be_removed_ends_no_sweep_and_another_goes_in_its_place() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        for id in ["a", "b", "c", "d", "e"] {
            put(&store, id);
        }
        // a folder is not removed as a file is
        let stuck = root.path().join("coredumps/k1/coredump_a.dmp");
        fs::remove_file(&stuck).unwrap();
        fs::create_dir(&stuck).unwrap();
        let settings = config::Coredumps {
            keep_per_device: 3,
            ..config::Coredumps::default()
        };
        let swept = sweep(&store, &settings, 0, &HashSet::new()).unwrap();
        assert_eq!(swept.dumps, 2);
        assert_eq!(ids(&store), ["a", "d", "e"]);
    }

    #[test]
    fn nothing_stays_of_boards_that_a_fleet_token_does_not_register_but_the_newest() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        let devices: Vec<DeviceKey> = (0..70).map(|n| format!("b{n}").parse().unwrap()).collect();
        for (n, device) in devices.iter().enumerate() {
            let mut sidecar = sample_sidecar("x", store.coredumps.next_sequence().unwrap());
            sidecar.id = format!("{n:012}");
            sidecar.identity = String::from("fleet-token");
            sidecar.fingerprint = Some(String::from("f"));
            let new = NewDump {
                sidecar,
                dump: b"dump",
                log: None,
            };
            let put = store.coredumps.with(device, |folder| {
                folder.store("coredump_1", &new)?;
                folder.flush()
            });
            put.unwrap();
        }
        sweep(&store, &config::Coredumps::default(), 0, &HashSet::new()).unwrap();
        assert_eq!(ids(&store).len(), 64);
        assert_eq!(store.coredumps.devices().unwrap().len(), 64);
        let folders = fs::read_dir(root.path().join("coredumps")).unwrap();
        assert_eq!(folders.count(), 64);
        // one of them comes again
        put_for(&store, &devices[0], "again");
        assert_eq!(ids(&store).len(), 65);
    }

    #[test]
    fn a_dump_that_is_held_is_not_removed() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        for id in ["a", "b", "c"] {
            put(&store, id);
        }
        let settings = config::Coredumps {
            keep_per_device: 1,
            ..config::Coredumps::default()
        };
        let held = store.coredumps.hold("a");
        sweep(&store, &settings, 0, &HashSet::new()).unwrap();
        assert_eq!(ids(&store), ["a"]);
        drop(held);
        put(&store, "d");
        sweep(&store, &settings, 0, &HashSet::new()).unwrap();
        assert_eq!(ids(&store), ["d"]);
    }

    #[test]
    fn a_sweep_leaves_the_crashes_seen_last_and_those_with_a_dump() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        put(&store, "a");
        let known = |store: &Store| {
            let count = |f: &mut super::super::coredumps::DeviceFolder| Ok(f.crashes().len());
            store.coredumps.with(&key(), count).unwrap()
        };
        let counted = store.coredumps.with(&key(), |folder| {
            let mut sidecar = folder.sidecar("coredump_a")?;
            for n in 0..MAX_CRASHES + 3 {
                sidecar.fingerprint = Some(format!("{n:04}"));
                sidecar.uploaded_at = format!("2026-01-01T00:00:00.{n:06}Z");
                folder.count(&sidecar);
            }
            folder.change("coredump_a", |a| a.fingerprint = Some("0000".into()))?;
            Ok(())
        });
        counted.unwrap();
        assert_eq!(known(&store), MAX_CRASHES + 3);
        sweep(&store, &config::Coredumps::default(), 0, &HashSet::new()).unwrap();
        let left = store.coredumps.with(&key(), |folder| {
            let has = |n: usize| folder.crash(&format!("{n:04}")).is_some();
            Ok([0, 1, 2, 3, 4].map(has))
        });
        assert_eq!(left.unwrap(), [true, false, false, false, true]);
        assert_eq!(known(&store), MAX_CRASHES);
        drop(store);
        assert_eq!(known(&self::store(root.path())), MAX_CRASHES);
    }
}
