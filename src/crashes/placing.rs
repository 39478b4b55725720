//! Which group a fingerprint belongs to. Where the newest decision about it, its
//! variant or its signature holds it; else the group of its signature; else it is a
//! group of its own. So the order in which dumps, ELFs and decisions come may change
//! ids, never who is together.

use std::collections::{HashMap, HashSet};

use super::counting::Occurrence;
use super::pins::Pin;
use super::register::{Register, blank};
use super::state;
use crate::signature::Signature;
use crate::store::compact::Fingerprint;
use crate::store::crashes::{Alias, AliasKind, AliasName, At, Group, Member, Origin};
use crate::store::shared;

/// What decoding said of a fingerprint.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    pub signature: Option<Signature>,
    /// Stored builds whose ELF is the dump's.
    pub builds: Vec<String>,
    /// Of those builds.
    pub model: Option<String>,
    /// Whether the blamed stack has functions of the client that talks to the gateway.
    pub gateway_client: bool,
}

impl Register {
    /// Notes what decoding said of a crash, and moves its fingerprint where it
    /// belongs. Gives the id of its group; `None` if it is counted without its name.
    pub fn decoded(&mut self, crash: &Occurrence, decoded: Decoded) -> Option<String> {
        let fingerprint = &Fingerprint::from(&crash.fingerprint);
        if self.group_with(fingerprint).is_none() {
            // what is only counted still is of a known bug
            let owner = self.owners.get(&decoded.signature.as_ref()?.id)?.clone();
            if !self.take_from_rest(crash, &owner) {
                return Some(owner);
            }
        }
        let current = self.id_with(fingerprint)?;
        let group = self.get_mut(&current)?;
        if group.model.is_none() {
            group.model = decoded.model;
        }
        let member = group.fingerprints.get_mut(fingerprint)?;
        member.decoded = true;
        member.gateway_client |= decoded.gateway_client;
        if !decoded.builds.is_empty() {
            let builds = decoded.builds.iter().map(|id| shared::text(id)).collect();
            member.change(|facts| facts.builds = builds);
        }
        // without one: an earlier decoding may have had the ELF
        if let Some(signature) = decoded.signature {
            let is_first = member.signature.is_none();
            member.change(|facts| facts.signature = Some(shared::text(&signature.id)));
            member.variant = Some(Fingerprint::from(&signature.variant));
            self.keep_details(&current, &signature);
            self.promote(fingerprint);
            self.own(fingerprint);
            if is_first {
                self.follow(fingerprint);
            }
        }
        self.settle(fingerprint);
        let current = self.id_with(fingerprint)?;
        self.name(&current);
        // the ELF may be of a build that has come since the group was resolved
        if let Some(group) = self.get_mut(&current)
            && let Some((device, last_seen)) = group.fingerprints.get(fingerprint).and_then(newest)
            && group
                .decided
                .as_ref()
                .is_some_and(|decided| decided.at < last_seen)
        {
            state::note_regression(group, fingerprint, &device, last_seen);
        }
        Some(current)
    }

    /// A fingerprint that a person merged stands for its signature, too.
    fn promote(&mut self, fingerprint: &Fingerprint) {
        let pin = self
            .pins
            .of(AliasKind::Fingerprint, &fingerprint.to_string());
        let Some(pin) = pin.filter(|pin| pin.is_merge).cloned() else {
            return;
        };
        let member = self.member(fingerprint);
        let signature = member.and_then(|member| member.signature.as_deref());
        let Some(signature) = signature.map(str::to_owned) else {
            return;
        };
        let theirs = self.pins.of(AliasKind::Signature, &signature).cloned();
        let is_split = theirs.as_ref().is_some_and(|theirs| !theirs.is_merge);
        let owner = self.owners.get(&signature).cloned();
        let (mine, other) = (
            pin.group.clone(),
            theirs.as_ref().map(|theirs| theirs.group.clone()).or(owner),
        );
        let is_newer = theirs.is_none_or(|theirs| theirs.decision < pin.decision);
        let alias = AliasName {
            kind: AliasKind::Signature,
            value: signature,
        };
        let origin = Origin::Promoted;
        self.pins.add(alias.clone(), Pin { origin, ..pin });
        // what others of the signature were merged with is merged with this, too
        if let Some(other) = other.filter(|_| !is_split) {
            match is_newer {
                true => self.unite(&other, &mine),
                false => self.unite(&mine, &other),
            }
        }
        self.settle_each(&self.holders(&alias));
    }

    /// A fingerprint got its first signature, which another group has: that one takes
    /// over its group, with all that people put to it.
    fn follow(&mut self, fingerprint: &Fingerprint) {
        let pin = self
            .member(fingerprint)
            .and_then(|member| self.pins.on(member));
        if pin.is_none_or(|pin| pin.is_merge)
            && let Some(current) = self.id_with(fingerprint)
            && let Some(target) = self.target(fingerprint)
        {
            self.unite(&current, &target);
        }
    }

    /// Merges the group `from` into `into`, unless they are one already.
    pub(super) fn unite(&mut self, from: &str, into: &str) {
        if let (Some(from), Some(into)) = (self.resolve(from), self.resolve(into))
            && from != into
        {
            self.absorb(&from, &into);
        }
    }

    /// Gives a fingerprint's signature an owner, if it has none: the group that the
    /// fingerprint is in, unless another signature is there already; then a new one.
    fn own(&mut self, fingerprint: &Fingerprint) {
        let Some(member) = self.member(fingerprint) else {
            return;
        };
        let Some(signature) = member.signature.clone() else {
            return;
        };
        let is_owned = |owner: &String| self.resolve(owner).is_some();
        if self.pins.on(member).is_some() || self.owners.get(&*signature).is_some_and(is_owned) {
            return;
        }
        let Some(group) = self.group_with(fingerprint) else {
            return;
        };
        let differs = |other: &Member| {
            let signed = other.signature.as_ref();
            signed.is_some_and(|signed| *signed != signature) && self.pins.on(other).is_none()
        };
        let owner = if group.fingerprints.values().any(differs) {
            let mut new = blank(self.new_id(), group.model.clone(), member.at);
            new.first_device = member.devices.keys().next().map(|key| key.to_string());
            // it was told of as a part of that one
            new.announced = group.announced;
            let id = new.id.clone();
            self.add(new);
            id
        } else {
            group.id.clone()
        };
        self.owners.insert(signature.to_string(), owner);
    }

    /// Where a fingerprint belongs.
    fn target(&self, fingerprint: &Fingerprint) -> Option<String> {
        let member = self.member(fingerprint)?;
        if let Some(pin) = self.pins.on(member) {
            return self.resolve(&pin.group);
        }
        let owner = member
            .signature
            .as_deref()
            .and_then(|signature| self.owners.get(signature));
        let owner = owner.and_then(|owner| self.resolve(owner));
        owner.or_else(|| self.id_with(fingerprint))
    }

    /// Moves a fingerprint where it belongs. A group that nothing is left of is
    /// merged into that one.
    fn settle(&mut self, fingerprint: &Fingerprint) {
        let Some(current) = self.id_with(fingerprint) else {
            return;
        };
        let Some(target) = self.target(fingerprint).filter(|target| *target != current) else {
            return;
        };
        let Some(member) = self.take_member(fingerprint) else {
            return;
        };
        let details = self.groups.get(&current).and_then(|group| {
            let is_its = |alias: &&Alias| Some(&*alias.value) == member.signature.as_deref();
            group.aliases.iter().find(is_its)?.signature.clone()
        });
        self.add_member(&target, member);
        if let Some(signature) = details {
            self.keep_details(&target, &signature);
        }
        self.recount(&current);
        self.recount(&target);
        let is_left = self
            .groups
            .get(&current)
            .is_some_and(|group| !group.fingerprints.is_empty());
        let ends = !is_left && self.pins.held_in(&current).is_empty();
        if ends {
            self.absorb(&current, &target);
        } else {
            self.forget_details(&current);
            self.name(&current);
        }
        self.name(&target);
        self.fold(&target);
    }

    pub(super) fn settle_each(&mut self, fingerprints: &[Fingerprint]) {
        for fingerprint in fingerprints {
            self.settle(fingerprint);
        }
    }

    /// After reading everything: decisions may be newer than the groups' files.
    pub(super) fn settle_all(&mut self) {
        let mut all: Vec<Fingerprint> = self.by_fingerprint.keys().cloned().collect();
        all.sort();
        for fingerprint in &all {
            self.promote(fingerprint);
        }
        for fingerprint in &all {
            self.own(fingerprint);
            self.settle(fingerprint);
        }
    }

    /// The groups in which signatures are, by the algorithm: those with a fingerprint
    /// that no decision holds; else the one that knows it, if no fingerprint is left.
    pub(super) fn find_owners(&mut self) {
        let mut owners = HashMap::new();
        let mut held = HashSet::new();
        let mut groups: Vec<&Group> = self.groups().collect();
        // an older group is the owner if a damaged state leaves two
        groups.sort_by_key(|group| (group.created_at, group.id.clone()));
        for group in &groups {
            for member in group.fingerprints.values() {
                let Some(signature) = &member.signature else {
                    continue;
                };
                held.insert(&**signature);
                if !owners.contains_key(&**signature) && self.pins.on(member).is_none() {
                    owners.insert(signature.to_string(), group.id.clone());
                }
            }
        }
        for group in &groups {
            for alias in &group.aliases {
                if alias.kind == AliasKind::Signature && !held.contains(&*alias.value) {
                    owners
                        .entry(alias.value.clone())
                        .or_insert_with(|| group.id.clone());
                }
            }
        }
        self.owners = owners;
    }

    /// Fingerprints with this alias.
    pub(super) fn holders(&self, alias: &AliasName) -> Vec<Fingerprint> {
        let is_it = |member: &&Member| match alias.kind {
            AliasKind::Fingerprint => member.fingerprint == alias.value,
            AliasKind::Signature => member.signature.as_deref() == Some(&alias.value),
            AliasKind::Variant => {
                let variant = member.variant.as_ref();
                variant.is_some_and(|variant| *variant == alias.value)
            }
        };
        let members = self.groups().flat_map(|group| group.fingerprints.values());
        members
            .filter(is_it)
            .map(|member| member.fingerprint.clone())
            .collect()
    }
}

/// The device that a fingerprint was last seen on, and when.
pub(super) fn newest(member: &Member) -> Option<(String, At)> {
    let newest = member.devices.iter().max_by_key(|(_, seen)| seen.last_seen);
    newest.map(|(device, seen)| (device.to_string(), seen.last_seen))
}
