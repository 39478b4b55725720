//! Whether a crash of a build is new with it, and how often known ones happen.

use super::news::Earlier;
use super::of_build::is_first;
use super::{Crashes, Register, state_of};
use crate::clock;
use crate::store::compact::Fingerprint;
use crate::store::crashes::{At, Group, Member, State};

/// How a crash of a build relates to other builds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Newness {
    /// No other build had it before.
    New,
    /// It was resolved, and is back.
    Regressed,
    /// Nothing like it is known of other builds; without symbols that is not sure.
    LooksNew,
    Known,
}

/// How often one bug was seen with two builds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compared {
    pub id: String,
    pub signature: String,
    pub now: u64,
    pub before: u64,
}

impl Crashes {
    /// The group of a fingerprint, its text, and whether it is new with a build.
    pub fn newness(
        &self,
        fingerprint: &Fingerprint,
        build_id: &str,
    ) -> Option<(String, String, Newness)> {
        self.with(|register| {
            let group = register.group_with(fingerprint)?;
            let newness = register.newness(group, fingerprint, build_id);
            Some((group.id.clone(), group.signature.clone(), newness))
        })
    }

    /// Whether the blamed stack of a fingerprint has functions of the client that talks to
    /// the gateway.
    pub fn has_gateway_client(&self, fingerprint: &Fingerprint) -> bool {
        self.with(|register| {
            let member = register.member(fingerprint);
            member.is_some_and(|member| member.gateway_client)
        })
    }

    /// Groups that both builds may have, seen with the first, and how often with each. What
    /// the gateway caused is not counted.
    pub fn compare(&self, now: &str, before: &str) -> Vec<Compared> {
        self.with(|register| {
            let groups = register.groups().filter_map(|group| {
                let of = |build: &str| count(group, build);
                let compared = Compared {
                    id: group.id.clone(),
                    signature: group.signature.clone(),
                    now: of(now),
                    before: of(before),
                };
                (compared.now > 0).then_some(compared)
            });
            groups.collect()
        })
    }
}

fn is_of(member: &Member, build: &str) -> bool {
    member.builds.iter().any(|one| **one == *build)
}

fn count(group: &Group, build: &str) -> u64 {
    let members = group.fingerprints.values();
    let members = members.filter(|member| is_of(member, build));
    let counted = members.map(|member| {
        let seen = member.devices.values().map(|seen| seen.occurrences);
        seen.sum::<u64>().saturating_sub(member.gateway_induced())
    });
    counted.sum()
}

impl Register {
    fn newness(&self, group: &Group, fingerprint: &Fingerprint, build_id: &str) -> Newness {
        let state = state_of(group, At::of(clock::wall()));
        if state == State::Regressed {
            return Newness::Regressed;
        }
        let members = group.fingerprints.values();
        let own =
            members.filter(|member| is_of(member, build_id) || member.fingerprint == *fingerprint);
        let seen = own.flat_map(|member| member.devices.values());
        let Some(first) = seen.map(|seen| seen.first_seen).min() else {
            return Newness::Known;
        };
        if !is_first(group, first, build_id) {
            return Newness::Known;
        }
        let has_symbols = group
            .fingerprints
            .values()
            .any(|one| one.signature.is_some());
        match has_symbols {
            true => Newness::New,
            false if Earlier::of(self.groups()).had(group) => Newness::Known,
            false => Newness::LooksNew,
        }
    }
}
