//! Removing dumps by the rules: list, decide ([`super::retention`]), act.

use std::collections::{BTreeMap, HashSet};

use super::coredumps::{Entry, Source};
use super::disk::Space;
use super::registry::Device;
use super::retention::{Held, Limits, Owner, Rule, plan};
use super::{Result, Store};
use crate::config;
use crate::device::DeviceKey;
use crate::journal::Event;

/// More free room than this is never asked for.
const MAX_FREE_ASKED: u64 = 1024 * 1024 * 1024;

/// What one round removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Swept {
    pub dumps: usize,
    pub bytes: u64,
}

/// The free room that `min_free` asks for on a filesystem of this size.
pub fn free_asked(settings: &config::Coredumps, total: u64) -> u64 {
    settings.min_free.of(total).min(MAX_FREE_ASKED)
}

/// Removes what the rules say, and `needed` more bytes than are free if that
/// is not enough. `in_use` are the ids of dumps being decoded.
///
/// # Errors
/// [`super::Error::Io`]; what was removed until then stays removed.
pub fn sweep(
    store: &Store,
    settings: &config::Coredumps,
    needed: u64,
    in_use: &HashSet<String>,
) -> Result<Swept> {
    let space = Space::of(store.coredumps.root())?;
    let registry = store.registry.devices.read();
    let mut numbers: BTreeMap<DeviceKey, usize> = BTreeMap::new();
    let listed: Vec<(DeviceKey, Entry)> = store
        .coredumps
        .collect(|device, entry| Some((device.clone(), entry.clone())));
    let held: Vec<Held> = listed
        .iter()
        .map(|(device, entry)| {
            let next = numbers.len();
            Held {
                device: *numbers.entry(device.clone()).or_insert(next),
                owner: owner(registry.devices.get(device), entry),
                sequence: entry.sequence,
                bytes: entry.bytes,
                fingerprint: entry.fingerprint.clone(),
                rank: entry.verdict.rank(),
                in_use: in_use.contains(&entry.id),
            }
        })
        .collect();
    let limits = Limits {
        keep_per_device: settings.keep_per_device,
        keep_first_of_crash: settings.keep_first_of_crash,
        keep_last_of_crash: settings.keep_last_of_crash,
        max_total: settings.max_total.of(space.total),
        must_free: (free_asked(settings, space.total) + needed).saturating_sub(space.free),
    };
    let mut swept = Swept::default();
    for (at, rule) in plan(&held, limits) {
        let Some((device, entry)) = listed.get(at) else {
            continue;
        };
        store
            .coredumps
            .with(device, |folder| folder.remove(&entry.stem))?;
        swept.dumps += 1;
        swept.bytes += entry.bytes;
        say_removed(device, entry, rule);
    }
    store.coredumps.flush()?;
    Ok(swept)
}

fn owner(device: Option<&Device>, entry: &Entry) -> Owner {
    match device.filter(|device| device.registered) {
        Some(device) if device.fleet_token.is_some() => Owner::Fleet,
        Some(_) => Owner::Registered,
        None if entry.by_fleet_token => Owner::FleetUnregistered,
        None if entry.source == Source::Https => Owner::Removed,
        None => Owner::UsbUnregistered,
    }
}

fn say_removed(device: &DeviceKey, entry: &Entry, rule: Rule) {
    Event::CoredumpRemoved
        .entry()
        .device(device)
        .coredump(&entry.id)
        .maybe("FINGERPRINT", entry.fingerprint.as_ref())
        .say(format_args!(
            "removed coredump {} of {device} by the rule {}",
            entry.id,
            rule.as_str()
        ));
}
