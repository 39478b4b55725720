//! Makes the groups' counts at least what the devices' records of crashes say: also of
//! crashes that a group only counts, and with the ids of groups that ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use time::OffsetDateTime;

use super::counting::{Occurrence, has_room};
use super::id;
use super::rebuild::Record;
use super::register::Register;
use crate::store::compact::Fingerprint;
use crate::store::crashes::{Seen, SeenOn};

/// One pass over the records of all devices.
#[derive(Debug, Default)]
pub(super) struct Completion {
    /// Crashes on devices that a group has no room to name, by group.
    beyond: HashMap<String, u64>,
    /// Ids of groups and a fingerprint that was in each.
    former: Vec<(String, Fingerprint)>,
}

impl Completion {
    /// Counts the records of one device, which are all that it has.
    pub(super) fn take_in(
        &mut self,
        register: &mut Register,
        device: &str,
        records: &[Record],
        now: OffsetDateTime,
    ) {
        let mut unnamed: Vec<(String, Seen)> = Vec::new();
        for record in records {
            if let Some(id) = register.take_in_record(record, now) {
                unnamed.push((id, record.seen));
            }
        }
        // groups may have been merged meanwhile
        let mut sums: BTreeMap<String, Seen> = BTreeMap::new();
        for (id, seen) in unnamed {
            if let Some(id) = register.resolve(&id) {
                sums.entry(id)
                    .and_modify(|sum| sum.add(seen))
                    .or_insert(seen);
            }
        }
        for (id, seen) in sums {
            if !register.rest_at_least(&id, device, seen) {
                *self.beyond.entry(id).or_default() += seen.occurrences;
            }
        }
    }

    /// Groups that dumps were in when they were written, each with a fingerprint that was
    /// in it: those that are not known may have been merged, and their files lost.
    pub(super) fn remember(
        &mut self,
        register: &Register,
        groups: BTreeMap<Arc<str>, Fingerprint>,
    ) {
        let valid = groups.into_iter().filter(|(id, _)| id::is_valid(id));
        let unknown = valid.filter(|(id, _)| register.resolve(id).is_none());
        self.former
            .extend(unknown.map(|(id, fingerprint)| (id.to_string(), fingerprint)));
    }

    /// After the records of all devices: only then is it known which groups ended.
    pub(super) fn finish(self, register: &mut Register) {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (id, occurrences) in self.beyond {
            if let Some(id) = register.resolve(&id) {
                *sums.entry(id).or_default() += occurrences;
            }
        }
        for (id, occurrences) in sums {
            register.beyond_at_least(&id, occurrences);
        }
        for (former, fingerprint) in self.former {
            if let Some(id) = register.id_with(&fingerprint)
                && register.resolve(&former).is_none()
            {
                register.remember(&former, &id);
            }
        }
    }
}

impl Register {
    /// Makes what is counted of a fingerprint on a device at least `seen`: what a
    /// power cut took away is in the device's own record of the crash. Gives the group
    /// if that has no room to name it: nothing is changed then.
    pub fn at_least(&mut self, crash: &Occurrence, seen: Seen) -> Option<String> {
        let id = self.assign(crash);
        let group = self.get_mut(&id)?;
        let fingerprint = Fingerprint::from(&crash.fingerprint);
        let member = group.fingerprints.get_mut(&fingerprint);
        let Some(member) = member.filter(|member| has_room(&member.devices, &crash.device)) else {
            return Some(id);
        };
        raise(&mut member.devices, &crash.device, seen);
        self.recount(&id);
        self.fold(&id);
        None
    }

    /// The same for what a group counts of a device without the names of fingerprints.
    /// Whether it has room for the device.
    pub(super) fn rest_at_least(&mut self, id: &str, device: &str, seen: Seen) -> bool {
        let Some(rest) = self.get(id).map(|group| &group.rest) else {
            return true;
        };
        if !has_room(&rest.devices, device) {
            return false;
        }
        let is_counted =
            |mine: &Seen| mine.occurrences >= seen.occurrences && mine.last_seen >= seen.last_seen;
        if !rest.devices.get(device).is_some_and(is_counted)
            && let Some(group) = self.get_mut(id)
        {
            raise(&mut group.rest.devices, device, seen);
            self.recount(id);
        }
        true
    }

    /// The same for crashes on devices that it has no room to name.
    pub(super) fn beyond_at_least(&mut self, id: &str, occurrences: u64) {
        let counted = self.get(id).map(|group| group.rest.occurrences);
        if counted.is_some_and(|counted| counted < occurrences)
            && let Some(group) = self.get_mut(id)
        {
            group.rest.occurrences = occurrences;
            self.recount(id);
        }
    }

    /// Whether that would change anything.
    pub fn has_at_least(&self, fingerprint: &Fingerprint, device: &str, seen: Seen) -> bool {
        let member = self.member(fingerprint);
        let mine = member.and_then(|member| member.devices.get(device));
        mine.is_some_and(|mine| {
            mine.occurrences >= seen.occurrences && mine.last_seen >= seen.last_seen
        })
    }
}

/// Makes what is known of a device at least `seen`.
fn raise(devices: &mut SeenOn, device: &str, seen: Seen) {
    if !devices.contains(device) {
        devices.add(device, seen);
    }
    let Some(mine) = devices.get_mut(device) else {
        return;
    };
    mine.occurrences = mine.occurrences.max(seen.occurrences);
    mine.first_seen = mine.first_seen.min(seen.first_seen);
    mine.last_seen = mine.last_seen.max(seen.last_seen);
    mine.during_outage = mine.during_outage.max(seen.during_outage);
}
