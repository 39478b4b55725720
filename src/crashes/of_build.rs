//! Crashes as builds and devices see them.

use std::collections::{BTreeSet, HashMap};

use super::{Crashes, Register};
use crate::store::crashes::{At, Group, Member};

/// What crashed with one build.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BuildCrashes {
    pub occurrences: u64,
    /// Of these, those that the gateway caused.
    pub gateway_induced: u64,
    /// Id and signature of the groups first seen in it, the most occurrences first.
    pub new: Vec<(String, String)>,
    /// Number of the groups that were known before.
    pub known: u64,
    /// Devices with a crash that counts against it.
    pub devices: BTreeSet<String>,
}

impl Crashes {
    /// What crashed with a stored build.
    pub fn of_build(&self, build_id: &str) -> BuildCrashes {
        self.with(|register| register.of_build(build_id))
    }

    /// The last crash of each device: when, and the id of its group.
    pub fn last_of_devices(&self) -> HashMap<String, (At, String)> {
        self.with(Register::last_of_devices)
    }
}

impl Register {
    fn of_build(&self, build_id: &str) -> BuildCrashes {
        let mut found = BuildCrashes::default();
        let mut new = Vec::new();
        for group in self.groups() {
            let is_of = |member: &&Member| member.builds.iter().any(|build| **build == *build_id);
            let members: Vec<&Member> = group.fingerprints.values().filter(is_of).collect();
            let seen = || members.iter().flat_map(|member| member.devices.values());
            let occurrences: u64 = seen().map(|seen| seen.occurrences).sum();
            let Some(first) = seen().map(|seen| seen.first_seen).min() else {
                continue;
            };
            found.occurrences += occurrences;
            found.gateway_induced += members
                .iter()
                .map(|member| member.gateway_induced())
                .sum::<u64>();
            match is_first(group, first, build_id) {
                true => new.push((occurrences, group)),
                false => found.known += 1,
            }
            for member in members {
                let counts = member.devices.iter().filter(|(_, seen)| {
                    let induced = if member.gateway_client {
                        seen.during_outage
                    } else {
                        0
                    };
                    seen.occurrences > induced
                });
                found
                    .devices
                    .extend(counts.map(|(device, _)| device.to_string()));
            }
        }
        new.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.id.cmp(&other.id)));
        let named = new
            .into_iter()
            .map(|(_, group)| (group.id.clone(), group.signature.clone()));
        found.new = named.collect();
        found
    }

    fn last_of_devices(&self) -> HashMap<String, (At, String)> {
        let mut last: HashMap<String, (At, String)> = HashMap::new();
        for group in self.groups() {
            let members = group.fingerprints.values();
            let named = members.flat_map(|member| member.devices.iter());
            for (device, seen) in named.chain(group.rest.devices.iter()) {
                match last.get_mut(&**device) {
                    Some((at, _)) if *at >= seen.last_seen => {}
                    Some(known) => *known = (seen.last_seen, group.id.clone()),
                    None => {
                        last.insert(device.to_string(), (seen.last_seen, group.id.clone()));
                    }
                }
            }
        }
        last
    }
}

/// Whether a group was not seen before `first`, when this build had it.
pub(super) fn is_first(group: &Group, first: At, build_id: &str) -> bool {
    let others = group
        .fingerprints
        .values()
        .filter(|member| !member.builds.iter().any(|build| **build == *build_id));
    let mut others = others.flat_map(|member| member.devices.values());
    let is_before = |before: At| before < first;
    !others.any(|seen| is_before(seen.first_seen))
        && !group
            .rest
            .devices
            .values()
            .any(|seen| is_before(seen.first_seen))
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::crashes::{Decoded, Occurrence};

    fn crash(fingerprint: &str, device: &str, minute: i64, during_outage: bool) -> Occurrence {
        Occurrence {
            fingerprint: fingerprint.to_owned(),
            algorithm: Some(2),
            device: device.to_owned(),
            model: Some(String::from("lamp")),
            app_elf_sha256: None,
            version: None,
            panic_reason: None,
            task: None,
            at: At::of(OffsetDateTime::UNIX_EPOCH + Duration::minutes(minute)),
            during_outage,
        }
    }

    fn decoded(build: &str, gateway_client: bool) -> Decoded {
        Decoded {
            builds: vec![build.to_owned()],
            gateway_client,
            ..Decoded::default()
        }
    }

    #[test]
    fn a_crash_by_the_gateways_absence_does_not_count_against_the_build() {
        let mut register = Register::default();
        for (fingerprint, device, minute, during_outage, build, client) in [
            ("f1", "k1", 1, true, "b1", true),
            ("f1", "k2", 2, false, "b1", true),
            ("f2", "k3", 3, true, "b1", false),
            ("f3", "k4", 4, true, "b2", true),
        ] {
            let crash = crash(fingerprint, device, minute, during_outage);
            register.count(&crash);
            register.decoded(&crash, decoded(build, client));
        }
        let found = register.of_build("b1");
        assert_eq!((found.occurrences, found.gateway_induced), (3, 1));
        let devices: Vec<&str> = found.devices.iter().map(String::as_str).collect();
        assert_eq!(devices, ["k2", "k3"]);
        assert_eq!((found.new.len(), found.known), (2, 0));
        assert!(register.of_build("b2").devices.is_empty());
        assert_eq!(register.of_build("b3"), BuildCrashes::default());
    }

    #[test]
    fn the_last_crash_of_a_device_is_the_newest_of_all_groups() {
        let mut register = Register::default();
        for (fingerprint, device, minute) in [("f1", "k1", 1), ("f2", "k1", 5), ("f1", "k2", 3)] {
            register.count(&crash(fingerprint, device, minute, false));
        }
        let last = register.last_of_devices();
        let group = |fingerprint: &str| register.group_of(fingerprint).unwrap().id.clone();
        assert_eq!(last["k1"].1, group("f2"));
        assert_eq!(last["k2"].1, group("f1"));
    }
}
