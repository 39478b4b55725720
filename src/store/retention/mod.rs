//! Which dumps go: a decision over a list, without any I/O.

mod crash_records;
mod free_space;
#[cfg(test)]
mod tests;

pub use crash_records::{MAX_CRASHES, surplus_crashes};

use std::collections::{BTreeMap, HashSet};

use crate::store::compact::Fingerprint;

/// One stored dump, as far as the decision needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredDump {
    /// Index of the device; its own numbering, any will do.
    pub device: usize,
    pub owner: Owner,
    /// Order of arrival.
    pub sequence: u64,
    pub bytes: u64,
    pub fingerprint: Option<Fingerprint>,
    /// How much the dump tells; higher is better.
    pub rank: u8,
    /// Whether a person asked for it: the rule for crash loops leaves it alone.
    pub requested: bool,
    /// Whether it is the last of a crash, on any device, that is not resolved.
    pub last_of_crash: bool,
    /// Whether it is being decoded.
    pub in_use: bool,
}

/// What is known of the device that a dump is from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// A person registered it.
    Registered,
    /// A fleet token registered it, and no person knows it.
    Fleet,
    /// It came with a fleet token that did not register it.
    FleetUnregistered,
    /// Seen on USB, not registered.
    UsbUnregistered,
    /// It was registered once.
    Removed,
}

impl Owner {
    /// Whoever has a fleet's token can make up such boards: they are not
    /// protected, and theirs go first for lack of room.
    fn by_fleet_token(self) -> bool {
        matches!(self, Self::Fleet | Self::FleetUnregistered)
    }
}

/// The rules' figures.
#[derive(Clone, Copy, Debug)]
pub struct RetentionLimits {
    pub keep_per_device: usize,
    pub keep_first_of_crash: usize,
    pub keep_last_of_crash: usize,
    /// Bytes that all dumps may take.
    pub max_total: u64,
    /// Bytes that are missing to the free room asked for.
    pub must_free: u64,
    /// Dumps that must go however small they are: the filesystem has no room for more files.
    pub must_go: usize,
}

/// Devices that nobody registered whose dumps are kept: so many of those seen on
/// USB, and so many of those that came with a fleet token.
pub const MAX_UNREGISTERED: usize = 64;
/// Dumps of a device that are never removed for lack of room alone.
pub const SAFE_PER_DEVICE: usize = 20;

/// Why a dump is removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    CrashLoop,
    PerDevice,
    Unregistered,
    MaxTotal,
    MinFree,
}

impl Rule {
    /// The configuration key, or the words, that a person knows the rule by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CrashLoop => "keep_first_of_crash and keep_last_of_crash",
            Self::PerDevice => "keep_per_device",
            Self::Unregistered => "at most 64 unregistered devices",
            Self::MaxTotal => "max_total",
            Self::MinFree => "min_free",
        }
    }
}

/// Chooses what to remove: positions in `held`, each with its rule, in the
/// order in which they should go.
///
/// Never chosen: the newest dump of a registered device, a dump in use, and
/// for lack of room alone the last [`SAFE_PER_DEVICE`] of a device. The last dump of a
/// crash goes only for lack of room, after all others that may. Devices that
/// are known by a fleet token alone have neither protection.
pub fn plan(held: &[StoredDump], limits: RetentionLimits) -> Vec<(usize, Rule)> {
    let mut devices = Devices::new();
    for (at, dump) in held.iter().enumerate() {
        let device = (dump.device, dump.owner.by_fleet_token());
        devices.entry(device).or_default().push(at);
    }
    let sequence = |at: &usize| held.get(*at).map_or(0, |dump| dump.sequence);
    for dumps in devices.values_mut() {
        dumps.sort_by_key(sequence);
    }
    let mut plan = Plan {
        held,
        gone: HashSet::new(),
        removals: Vec::new(),
    };
    for dumps in devices.values() {
        plan.thin_crash_loops(dumps, limits);
        plan.cap_device(dumps, limits.keep_per_device);
    }
    plan.cap_unregistered(&devices);
    plan.make_room(&devices, limits);
    plan.removals
}

/// The dumps of each device, oldest first. Those that came with a fleet token are apart from
/// others of the same device: whoever has the token can send them in the name of a board
/// that is known on USB, and must not push out what that told.
type Devices = BTreeMap<(usize, bool), Vec<usize>>;

struct Plan<'a> {
    held: &'a [StoredDump],
    gone: HashSet<usize>,
    removals: Vec<(usize, Rule)>,
}

impl Plan<'_> {
    fn is_held(&self, at: usize) -> bool {
        !self.gone.contains(&at)
    }

    fn bytes(&self, at: usize) -> u64 {
        self.held.get(at).map_or(0, |dump| dump.bytes)
    }

    fn remove(&mut self, at: usize, rule: Rule) {
        if self.gone.insert(at) {
            self.removals.push((at, rule));
        }
    }

    /// Whether the rules as a whole protect this dump, `dumps` being its
    /// device's, oldest first.
    fn is_protected(&self, at: usize, dumps: &[usize]) -> bool {
        let Some(dump) = self.held.get(at) else {
            return true;
        };
        dump.in_use || (dump.owner == Owner::Registered && dumps.last() == Some(&at))
    }

    /// Whoever has a fleet's token can make up crashes, too.
    fn is_last(&self, at: usize) -> bool {
        let dump = self.held.get(at);
        dump.is_some_and(|dump| dump.last_of_crash && !dump.owner.by_fleet_token())
    }

    fn thin_crash_loops(&mut self, dumps: &[usize], limits: RetentionLimits) {
        let mut crashes: BTreeMap<&Fingerprint, Vec<usize>> = BTreeMap::new();
        for at in dumps {
            if let Some(fingerprint) = self.held.get(*at).and_then(|d| d.fingerprint.as_ref()) {
                crashes.entry(fingerprint).or_default().push(*at);
            }
        }
        for same in crashes.into_values() {
            let rank = |at: &usize| self.held.get(*at).map_or(0, |dump| dump.rank);
            let best = same.iter().rev().copied().max_by_key(rank);
            let last = same.len().saturating_sub(limits.keep_last_of_crash);
            for at in same
                .iter()
                .take(last)
                .skip(limits.keep_first_of_crash)
                .copied()
            {
                let requested = self.held.get(at).is_some_and(|dump| dump.requested);
                if Some(at) != best && !requested && !self.is_protected(at, dumps) {
                    self.remove(at, Rule::CrashLoop);
                }
            }
        }
    }

    fn cap_device(&mut self, dumps: &[usize], keep: usize) {
        let held: Vec<usize> = dumps
            .iter()
            .copied()
            .filter(|at| self.is_held(*at))
            .collect();
        let surplus = held.len().saturating_sub(keep);
        let removable: Vec<usize> = held
            .into_iter()
            .filter(|at| !self.is_protected(*at, dumps) && !self.is_last(*at))
            .take(surplus)
            .collect();
        for at in removable {
            self.remove(at, Rule::PerDevice);
        }
    }

    /// Of the devices nobody registered, those heard of longest ago go. Those of
    /// fleet tokens do not push out those on USB.
    fn cap_unregistered(&mut self, devices: &Devices) {
        let (mut usb, mut fleet) = (Vec::new(), Vec::new());
        for dumps in devices.values() {
            let owners = || {
                dumps
                    .iter()
                    .filter_map(|at| Some(self.held.get(*at)?.owner))
            };
            if owners().all(|owner| owner == Owner::UsbUnregistered) {
                usb.push(dumps);
            } else if owners().all(|owner| owner == Owner::FleetUnregistered) {
                fleet.push(dumps);
            }
        }
        for strangers in [usb, fleet] {
            self.cap_strangers(strangers);
        }
    }

    fn cap_strangers(&mut self, mut strangers: Vec<&Vec<usize>>) {
        let newest = |dumps: &&Vec<usize>| {
            let newest = dumps.last().and_then(|at| self.held.get(*at));
            newest.map_or(0, |dump| dump.sequence)
        };
        strangers.sort_by_key(newest);
        let surplus = strangers.len().saturating_sub(MAX_UNREGISTERED);
        for dumps in strangers.into_iter().take(surplus) {
            for at in dumps {
                if self.is_held(*at) && !self.is_protected(*at, dumps) {
                    self.remove(*at, Rule::Unregistered);
                }
            }
        }
    }

    /// For lack of room; what the rules above remove makes room as well. The last dumps
    /// of crashes go if that is not enough.
    fn make_room(&mut self, devices: &Devices, limits: RetentionLimits) {
        for with_last in [false, true] {
            let freed: u64 = self.removals.iter().map(|(at, _)| self.bytes(*at)).sum();
            let holders = devices.values();
            let holders = holders.map(|dumps| self.holder(dumps, with_last)).collect();
            let limits = RetentionLimits {
                must_free: limits.must_free.saturating_sub(freed),
                must_go: limits.must_go.saturating_sub(self.removals.len()),
                ..limits
            };
            for (at, rule) in free_space::make(holders, limits) {
                self.remove(at, rule);
            }
        }
    }

    fn holder(&self, dumps: &[usize], with_last: bool) -> free_space::Holder {
        let held = || dumps.iter().copied().filter(|at| self.is_held(*at));
        let owner = dumps.last().and_then(|at| self.held.get(*at));
        let goes_first = owner.is_some_and(|dump| dump.owner.by_fleet_token());
        let safe = if goes_first { 0 } else { SAFE_PER_DEVICE };
        let spare = held().count().saturating_sub(safe);
        free_space::Holder {
            goes_first,
            bytes: held().map(|at| self.bytes(at)).sum(),
            removable: held()
                .take(spare)
                .filter(|at| !self.is_protected(*at, dumps))
                .filter(|at| with_last || !self.is_last(*at))
                .map(|at| (at, self.bytes(at)))
                .collect(),
        }
    }
}
