//! Groups as people see them: with numbers of devices, builds and stored dumps.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use time::Duration;

use super::stored_dumps::dumps_by_group;
use super::{Crashes, Register, name_of, state_of};
use crate::api::crashes::{BuildCount, Crash, Detail, DeviceCount, Dump, Regression, Similar};
use crate::signature::Signature;
use crate::store::compact::{DumpId, Fingerprint};
use crate::store::crashes::{At, Group, Member, Seen, State};
use crate::store::shared;

/// Dumps that one group's details name.
const MAX_DUMPS: usize = 100;
/// A group is shown among the new ones for this time.
const NEW: Duration = Duration::DAY;

/// Which groups to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub model: Option<String>,
    /// Empty: all.
    pub states: Vec<State>,
    /// Last seen since then.
    pub since: Option<At>,
    /// A version, or the first digits of a build's id or of the hash of its ELF.
    pub build: Option<String>,
    pub device: Option<String>,
}

impl Filter {
    fn fits(&self, group: &Group, now: At) -> bool {
        let mut members = group.fingerprints.values();
        (self.model.is_none() || self.model == group.model)
            && (self.states.is_empty() || self.states.contains(&state_of(group, now)))
            && self.since.is_none_or(|since| group.last_seen >= since)
            && self
                .device
                .as_ref()
                .is_none_or(|device| has_device(group, device))
            && self
                .build
                .as_ref()
                .is_none_or(|build| members.any(|member| is_build(member, build)))
    }
}

fn has_device(group: &Group, device: &str) -> bool {
    let mut members = group.fingerprints.values();
    group.rest.devices.contains(device) || members.any(|member| member.devices.contains(device))
}

fn is_build(member: &Member, build: &str) -> bool {
    let is_long = build.len() >= 8;
    let begins = |id: &Arc<str>| is_long && id.starts_with(build);
    member.version.as_deref() == Some(build)
        || member.builds.iter().any(begins)
        || member
            .app_elf_sha256
            .iter()
            .any(|hash| begins(hash) || (hash.len() >= 8 && build.starts_with(&**hash)))
}

impl Crashes {
    /// The groups that fit, in the order in which they matter: `limit` of them after
    /// the first `skip`, and whether there are more.
    pub fn list(&self, filter: &Filter, now: At, skip: usize, limit: usize) -> (Vec<Crash>, bool) {
        let stored = self.stored_dumps();
        self.with(|register| {
            let dumps = dumps_by_group(register, stored);
            let mut found: Vec<(&Group, State)> = register
                .groups()
                .filter(|group| group.occurrences > 0 && filter.fits(group, now))
                .map(|group| (group, state_of(group, now)))
                .collect();
            found.sort_by_cached_key(|(group, state)| {
                let devices = devices_of(group).len();
                (
                    rank(group, *state, now),
                    Reverse(devices),
                    Reverse(group.last_seen),
                    group.id.clone(),
                )
            });
            let is_more = found.len() > skip.saturating_add(limit);
            let page = found.into_iter().skip(skip).take(limit);
            let shown = page.map(|(group, state)| shown(group, state, dumps.get(&group.id)));
            (shown.collect(), is_more)
        })
    }

    /// The details of a group; `None` if there is none with this id.
    pub fn detail(&self, id: &str, now: At) -> Option<Detail> {
        // the dumps' folders are not read while the groups are held
        let dumps = self.dumps_of(&self.dumps_in(id));
        self.with(|register| {
            let group = register.get(id)?;
            Some(detail(register, group, dumps, now))
        })
    }

    /// The newest stored dump of each group that is open or regressed.
    pub fn last_dumps(&self) -> HashSet<DumpId> {
        let open: HashMap<Fingerprint, Arc<str>> = self.with(|register| {
            let is_open = |group: &&Group| {
                let state = state_of(group, group.last_seen);
                matches!(state, State::Open | State::Regressed)
            };
            let open = register.groups().filter(is_open);
            let names = open.flat_map(|group| {
                let (id, names) = (shared::text(&group.id), group.fingerprints.keys());
                names.map(move |name| (name.clone(), Arc::clone(&id)))
            });
            names.collect()
        });
        let mut newest: HashMap<&str, (u64, Option<DumpId>)> = HashMap::new();
        self.store.coredumps.collect(|_, entry| -> Option<()> {
            let group = open.get(&name_of(entry))?;
            let newest = newest.entry(group).or_default();
            if entry.sequence >= newest.0 {
                *newest = (entry.sequence, Some(entry.id.clone()));
            }
            None
        });
        newest.into_values().filter_map(|(_, id)| id).collect()
    }
}

/// The order of states in a list.
fn rank(group: &Group, state: State, now: At) -> u8 {
    match state {
        State::Regressed => 0,
        State::Open if now.time() - group.created_at.time() < NEW => 1,
        State::Open => 2,
        State::Resolved => 3,
        State::Ignored => 4,
    }
}

fn shown(group: &Group, state: State, dumps: Option<&u64>) -> Crash {
    let members = group.fingerprints.values();
    let builds: BTreeSet<BuildKey<'_>> = members.map(build_key).collect();
    Crash {
        id: group.id.clone(),
        signature: group.signature.clone(),
        class: group.class.clone(),
        model: group.model.clone(),
        state: state.into(),
        devices: devices_of(group).len() as u64,
        occurrences: group.occurrences,
        builds: builds.len() as u64,
        first_seen: group.first_seen.to_string(),
        last_seen: group.last_seen.to_string(),
        dumps: dumps.copied().unwrap_or(0),
    }
}

fn devices_of(group: &Group) -> Vec<&str> {
    let members = group
        .fingerprints
        .values()
        .flat_map(|member| member.devices.keys());
    let all = members.chain(group.rest.devices.keys());
    let mut devices: Vec<&str> = all.map(|device| &**device).collect();
    devices.sort_unstable();
    devices.dedup();
    devices
}

/// What tells builds apart: the stored build, else the ELF, else the version.
type BuildKey<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn build_key(member: &Member) -> BuildKey<'_> {
    let build = member.builds.first().map(|build| &**build);
    let elf = member.app_elf_sha256.as_deref().filter(|_| build.is_none());
    let version = member
        .version
        .as_deref()
        .filter(|_| build.is_none() && elf.is_none());
    (build, elf, version)
}

fn detail(register: &Register, group: &Group, dumps: Vec<(u64, Dump)>, now: At) -> Detail {
    let signatures: Vec<Signature> = group
        .aliases
        .iter()
        .filter_map(|alias| alias.signature.clone())
        .collect();
    Detail {
        id: group.id.clone(),
        signature: group.signature.clone(),
        class: group.class.clone(),
        model: group.model.clone(),
        state: state_of(group, now).into(),
        occurrences: group.occurrences,
        first_seen: group.first_seen.to_string(),
        last_seen: group.last_seen.to_string(),
        dumps: dumps.len() as u64,
        gateway_induced: group
            .fingerprints
            .values()
            .map(Member::gateway_induced)
            .sum(),
        builds: builds(group),
        devices: devices(group),
        coredumps: dumps
            .into_iter()
            .map(|(_, dump)| dump)
            .take(MAX_DUMPS)
            .collect(),
        similar: similar(register, group, &signatures),
        signatures,
        decided_by: group.decided.as_ref().map(|decided| decided.by.clone()),
        decided_at: group.decided.as_ref().map(|decided| decided.at.to_string()),
        until: group
            .decided
            .as_ref()
            .and_then(|decided| decided.until.clone()),
        resolved_builds: group.resolved_builds.clone(),
        regression: group.regression.as_ref().map(|regression| Regression {
            at: regression.at.to_string(),
            device_key: regression.device.clone(),
            build_id: regression.build_id.clone(),
        }),
        note: group.note.clone(),
        merged_from: group.merged_from.clone(),
        split_from: group.split_from.clone(),
        // added by who knows of rollouts
        rollouts: Vec::new(),
    }
}

/// Groups of the model that share class and first application frame with this one.
fn similar(register: &Register, group: &Group, signatures: &[Signature]) -> Vec<Similar> {
    let is_mine = |coarse: &str| {
        signatures
            .iter()
            .any(|mine| mine.coarse == coarse && !coarse.is_empty())
    };
    let is_similar = |other: &&Group| {
        let mut theirs = other
            .aliases
            .iter()
            .filter_map(|alias| alias.signature.as_ref());
        other.id != group.id
            && other.model == group.model
            && theirs.any(|theirs| is_mine(&theirs.coarse))
    };
    let mut found: Vec<Similar> = register
        .groups()
        .filter(is_similar)
        .map(|other| Similar {
            id: other.id.clone(),
            signature: other.signature.clone(),
        })
        .collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

fn builds(group: &Group) -> Vec<BuildCount> {
    let mut counts: BTreeMap<BuildKey<'_>, (&Member, BTreeMap<&str, Seen>)> = BTreeMap::new();
    for member in group.fingerprints.values() {
        let (_, devices) = counts
            .entry(build_key(member))
            .or_insert_with(|| (member, BTreeMap::new()));
        add_all(devices, member.devices.iter());
    }
    let mut counts: Vec<BuildCount> = counts
        .into_values()
        .filter_map(|(member, devices)| {
            let seen = devices.values().copied().reduce(|mut all, seen| {
                all.add(seen);
                all
            })?;
            Some(BuildCount {
                build_id: member.builds.first().map(|build| build.to_string()),
                version: member.version.as_deref().map(str::to_owned),
                app_elf_sha256: member.app_elf_sha256.as_deref().map(str::to_owned),
                occurrences: seen.occurrences,
                devices: devices.len() as u64,
                first_seen: seen.first_seen.to_string(),
                last_seen: seen.last_seen.to_string(),
            })
        })
        .collect();
    counts.sort_by(|a, b| {
        b.occurrences
            .cmp(&a.occurrences)
            .then_with(|| b.last_seen.cmp(&a.last_seen))
    });
    counts
}

fn devices(group: &Group) -> Vec<DeviceCount> {
    let mut counts: BTreeMap<&str, Seen> = BTreeMap::new();
    for member in group.fingerprints.values() {
        add_all(&mut counts, member.devices.iter());
    }
    add_all(&mut counts, group.rest.devices.iter());
    let mut counts: Vec<(&str, Seen)> = counts.into_iter().collect();
    counts.sort_by_key(|(device, seen)| (Reverse(seen.occurrences), *device));
    let counts = counts.into_iter().map(|(device, seen)| DeviceCount {
        device_key: device.to_owned(),
        occurrences: seen.occurrences,
        first_seen: seen.first_seen.to_string(),
        last_seen: seen.last_seen.to_string(),
    });
    counts.collect()
}

fn add_all<'a>(
    counts: &mut BTreeMap<&'a str, Seen>,
    seen: impl Iterator<Item = (&'a Arc<str>, &'a Seen)>,
) {
    for (device, seen) in seen {
        match counts.get_mut(&**device) {
            Some(mine) => mine.add(*seen),
            None => {
                counts.insert(device, *seen);
            }
        }
    }
}
