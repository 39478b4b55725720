//! Counts crashes: which group a crash is for, a new one if there is none, and what
//! a group names. Names come from devices, so each has a bound; what is beyond is
//! counted without a name.

use time::Duration;

use super::id;
use super::no_dump::class_of;
use super::register::{Register, blank};
use super::state;
use crate::store::compact::Fingerprint;
use crate::store::crashes::{At, Facts, Group, Member, Rest, Seen, SeenOn};
use crate::store::shared;

/// Devices that a fingerprint of a group names, and that its rest names.
const MAX_DEVICES: usize = 500;
/// Fingerprints that a group names; a build has one or a few of a bug.
pub(super) const MAX_FINGERPRINTS: usize = 500;
/// New groups of a device in 24 hours; the rest goes into the model's `other`.
const MAX_NEW_A_DAY: usize = 20;
/// Longest title of a group without a signature, in bytes.
const MAX_TITLE: usize = 200;
/// The class of groups of dumps that nothing can be read of.
const UNREADABLE: &str = "unreadable";
/// The class of the group that takes what is beyond.
pub(super) const OTHER: &str = "other";

/// A crash that happened.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// Or a name of its own for crashes without one, see [`unreadable`].
    pub fingerprint: String,
    pub algorithm: Option<u32>,
    pub device: String,
    pub model: Option<String>,
    pub app_elf_sha256: Option<String>,
    pub version: Option<String>,
    pub panic_reason: Option<String>,
    pub task: Option<String>,
    pub at: At,
    /// The gateway was not reachable for a while between the device's last contact and
    /// this.
    pub during_outage: bool,
}

/// What stands for the fingerprint of dumps that have none: one for each model and
/// build, so that very many of them are one group.
pub fn unreadable(model: Option<&str>, app_elf: Option<&str>, version: Option<&str>) -> String {
    let build = app_elf.filter(|hash| !hash.is_empty()).or(version);
    format!(
        "{UNREADABLE}:{}:{}",
        model.unwrap_or("-"),
        build.unwrap_or("-")
    )
}

impl Register {
    /// The id of the group that a crash is for; a new one, if there is none.
    pub fn assign(&mut self, crash: &Occurrence) -> String {
        if let Some(group) = self.group_of(&crash.fingerprint) {
            return group.id.clone();
        }
        if self.new_of(&crash.device, crash.at) >= MAX_NEW_A_DAY {
            return self.other_of(crash);
        }
        let id = self.new_id();
        let mut group = blank(id.clone(), crash.model.clone(), crash.at);
        group.first_device = Some(crash.device.clone());
        self.add(group);
        self.join(&id, crash);
        id
    }

    /// Puts a crash's fingerprint into a group that exists.
    pub(super) fn join(&mut self, id: &str, crash: &Occurrence) {
        self.add_member(id, member_of(crash));
        if let Some(group) = self.get_mut(id)
            && group.signature.is_empty()
        {
            (group.signature, group.class) = title(&member_of(crash));
        }
    }

    /// Counts a crash, once it is stored or written down. Whether it shows that a
    /// resolved group is back.
    pub fn count(&mut self, crash: &Occurrence) -> bool {
        let id = self.assign(crash);
        let seen = Seen {
            occurrences: 1,
            first_seen: crash.at,
            last_seen: crash.at,
            during_outage: u64::from(crash.during_outage),
        };
        let Some(group) = self.get_mut(&id) else {
            return false;
        };
        group.occurrences = group.occurrences.saturating_add(1);
        group.first_seen = group.first_seen.min(crash.at);
        group.last_seen = group.last_seen.max(crash.at);
        let fingerprint = Fingerprint::from(&crash.fingerprint);
        match group.fingerprints.get_mut(&fingerprint) {
            Some(member) if has_room(&member.devices, &crash.device) => {
                member.devices.add(&crash.device, seen);
            }
            _ => group.rest.count(&crash.device, seen),
        }
        let is_back = state::note_regression(group, &fingerprint, &crash.device, crash.at);
        self.fold(&id);
        is_back
    }

    /// Names the fingerprint of a crash in the group of its signature, where it was only
    /// counted in the model's `other` until now. Whether there is room for it: what a full
    /// group does not name is in its rest already.
    pub(super) fn take_from_rest(&mut self, crash: &Occurrence, owner: &str) -> bool {
        let group = self.get(owner);
        if group.is_none_or(|group| group.fingerprints.len() >= MAX_FINGERPRINTS) {
            return false;
        }
        let other = self.groups.values_mut();
        let other = other.filter(|group| group.is_other() && group.model == crash.model);
        for group in other {
            if group.rest.take_one(&crash.device) {
                group.occurrences = group.occurrences.saturating_sub(1);
            }
        }
        self.join(owner, crash);
        self.count(crash);
        true
    }

    /// Takes back one crash of a device: it is counted in the group `into`, by another
    /// record of the same crash. A group that nothing is left of is merged into that one.
    pub fn uncount(&mut self, fingerprint: &str, device: &str, into: &str) {
        let fingerprint = &Fingerprint::from(fingerprint);
        let Some(id) = self.id_with(fingerprint) else {
            return;
        };
        let group = self.get_mut(&id);
        let member = group.and_then(|group| group.fingerprints.get_mut(fingerprint));
        let Some(member) = member else {
            return;
        };
        if let Some(seen) = member.devices.get_mut(device) {
            seen.occurrences = seen.occurrences.saturating_sub(1);
            if seen.occurrences == 0 {
                member.devices.remove(device);
            }
        }
        if member.devices.is_empty() {
            self.take_member(fingerprint);
        }
        self.recount(&id);
        let is_left = |group: &Group| !group.fingerprints.is_empty() || group.occurrences > 0;
        if self.groups.get(&id).is_some_and(|group| !is_left(group)) {
            self.unite(&id, into);
        }
    }

    /// What was counted of a device under a fingerprint's former name is of `crash`, the
    /// same one as it is named now.
    pub fn rename(&mut self, former: &str, crash: &Occurrence) {
        let (former, now) = (&former.into(), &Fingerprint::from(&crash.fingerprint));
        let Some(id) = self.id_with(former) else {
            return;
        };
        let group = self.get_mut(&id);
        let member = group.and_then(|group| group.fingerprints.get_mut(former));
        let Some(seen) = member.and_then(|member| member.devices.remove(&crash.device)) else {
            return;
        };
        if self.group_with(now).is_none() {
            self.join(&id, crash);
        }
        let id_now = self.id_with(now);
        if let Some(group) = id_now.and_then(|id| self.get_mut(&id)) {
            let id_now = group.id.clone();
            if let Some(member) = group.fingerprints.get_mut(now) {
                member.devices.add(&crash.device, seen);
            }
            self.recount(&id_now);
        }
        if self
            .member(former)
            .is_some_and(|member| member.devices.is_empty())
        {
            self.take_member(former);
        }
        self.recount(&id);
    }

    /// Groups that a device was the first one of in the 24 hours before `now`.
    fn new_of(&self, device: &str, now: At) -> usize {
        let is_new = |group: &&Group| {
            group.first_device.as_deref() == Some(device)
                && now.time() - group.created_at.time() < Duration::DAY
        };
        self.groups().filter(is_new).count()
    }

    /// The group that takes what nobody can name any more.
    pub(super) fn other_of(&mut self, crash: &Occurrence) -> String {
        let is_it = |group: &&Group| group.is_other() && group.model == crash.model;
        if let Some(group) = self.groups().find(is_it) {
            return group.id.clone();
        }
        let known = other_id(crash.model.as_deref());
        let id = match self.is_taken(&known) {
            true => self.new_id(),
            false => known,
        };
        let mut group = blank(id.clone(), crash.model.clone(), crash.at);
        OTHER.clone_into(&mut group.signature);
        group.class = Some(OTHER.to_owned());
        group.announced = true;
        self.add(group);
        id
    }

    /// Counts the fingerprint that was seen longest ago without its name, while a
    /// group has too many.
    pub(super) fn fold(&mut self, id: &str) {
        while let Some(oldest) = self.surplus(id)
            && let Some(member) = self.take_member(&oldest)
            && let Some(group) = self.get_mut(id)
        {
            for (device, seen) in member.devices.iter() {
                group.rest.count(device, *seen);
            }
        }
    }

    fn surplus(&self, id: &str) -> Option<Fingerprint> {
        let group = self.groups.get(id)?;
        if group.fingerprints.len() <= MAX_FINGERPRINTS {
            return None;
        }
        let members = group.fingerprints.values();
        let oldest = members.min_by_key(|member| member.last_seen())?;
        Some(oldest.fingerprint.clone())
    }
}

impl Group {
    /// Whether it takes what is beyond a device's new groups.
    pub(super) fn is_other(&self) -> bool {
        self.class.as_deref() == Some(OTHER)
    }
}

impl Rest {
    fn count(&mut self, device: &str, seen: Seen) {
        if has_room(&self.devices, device) {
            self.devices.add(device, seen);
        } else {
            self.occurrences += seen.occurrences;
        }
    }

    /// Takes back one crash of a device, if one is counted.
    fn take_one(&mut self, device: &str) -> bool {
        let Some(seen) = self.devices.get_mut(device) else {
            return false;
        };
        seen.occurrences = seen.occurrences.saturating_sub(1);
        if seen.occurrences == 0 {
            self.devices.remove(device);
        }
        true
    }

    /// Adds another group's.
    pub(super) fn add(&mut self, other: Self) {
        self.occurrences += other.occurrences;
        for (device, seen) in other.devices.iter() {
            self.count(device, *seen);
        }
    }
}

/// The id of a model's `other`: always the same, so that the devices' records of crashes
/// show what it was if its file is lost.
pub(super) fn other_id(model: Option<&str>) -> String {
    id::of(&[OTHER, model.unwrap_or_default()])
}

pub(super) fn has_room(devices: &SeenOn, device: &str) -> bool {
    devices.len() < MAX_DEVICES || devices.contains(device)
}

fn member_of(crash: &Occurrence) -> Member {
    let facts = Facts {
        algorithm: crash.algorithm,
        app_elf_sha256: shared::maybe(crash.app_elf_sha256.as_deref()),
        version: shared::maybe(crash.version.as_deref()),
        panic_reason: shared::maybe(crash.panic_reason.as_deref()),
        task: shared::maybe(crash.task.as_deref()),
        ..Facts::default()
    };
    Member::new(Fingerprint::from(&crash.fingerprint), crash.at, facts)
}

/// What a group is called until it has a signature, and its class: the panic's words
/// without numbers, and the task.
pub(super) fn title(member: &Member) -> (String, Option<String>) {
    if member.fingerprint.to_string().starts_with(UNREADABLE) {
        let version = member.version.as_deref().unwrap_or("an unknown version");
        let text = format!("{UNREADABLE} dumps of {version}");
        return (text, Some(UNREADABLE.to_owned()));
    }
    if let Some(class) = class_of(&member.fingerprint.to_string()) {
        return (class.clone(), Some(class));
    }
    let reason = member.panic_reason.as_deref().unwrap_or("unknown reason");
    let task = member.task.as_deref();
    let task = task.map_or(String::new(), |task| format!(" | task {task}"));
    let mut text = rough(reason) + &task;
    if text.len() > MAX_TITLE {
        let end = (0..=MAX_TITLE)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    (text, None)
}

/// A panic's words without what differs from crash to crash: hex numbers and digits.
pub(super) fn rough(reason: &str) -> String {
    let words = reason.split_whitespace().map(|word| {
        let is_number = word.starts_with("0x") || word.chars().all(|c| c.is_ascii_digit());
        if is_number { "N" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}
