//! Signatures made anew, after the algorithm or its lists changed: who is together
//! then, and what that changes. Decisions hold on; nothing becomes new by it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::register::{Register, blank};
use crate::signature::Signature;
use crate::store::compact::Fingerprint;
use crate::store::crashes::{AliasKind, AliasName, Member};
use crate::store::shared;

/// The signature that each fingerprint has now, or that it has none; many have the same.
pub type NewSignatures = HashMap<Fingerprint, Option<Arc<Signature>>>;

/// What new signatures change.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Groups that were parts of another one, and of which.
    pub split: Vec<(String, String)>,
    /// Groups that are parts of another one now, and of which.
    pub merged: Vec<(String, String)>,
    /// Groups with another text: id, before, now.
    pub renamed: Vec<(String, String, String)>,
    /// Fingerprints with another signature.
    pub fingerprints: usize,
}

impl Register {
    /// Gives fingerprints new signatures, and puts each where it belongs now. A
    /// signature goes to the group that most crashes with it are in, if no other one
    /// has more of that group.
    pub fn resign(&mut self, new: &NewSignatures) -> Changes {
        let before = self.places();
        let texts: BTreeMap<String, String> = {
            let groups = self.groups();
            groups
                .map(|group| (group.id.clone(), group.signature.clone()))
                .collect()
        };
        let mut names: Vec<&Fingerprint> = new.keys().collect();
        names.sort();
        let mut changed = Vec::new();
        for fingerprint in names {
            if let Some(signature) = new.get(fingerprint)
                && self.replace(fingerprint, signature.as_deref())
            {
                changed.push(fingerprint.clone());
            }
        }
        if changed.is_empty() {
            return Changes::default();
        }
        self.share_out();
        let all: Vec<Fingerprint> = before.keys().cloned().collect();
        self.settle_each(&all);
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.forget_details(&id);
            self.name(&id);
        }
        self.changes(&before, &texts, changed.len())
    }

    /// Puts a new signature, or none, in place of the old one, with the decisions about
    /// that; whether it is another one.
    fn replace(&mut self, fingerprint: &Fingerprint, signature: Option<&Signature>) -> bool {
        let Some(member) = self.member(fingerprint) else {
            return false;
        };
        let text = |text: &Fingerprint| text.to_string();
        let old = (
            member.signature.as_deref().map(str::to_owned),
            member.variant.as_ref().map(text),
        );
        let new = (
            signature.map(|signature| signature.id.clone()),
            signature.map(|signature| signature.variant.clone()),
        );
        if old == new {
            return false;
        }
        let held = [
            (AliasKind::Signature, old.0, &new.0),
            (AliasKind::Variant, old.1, &new.1),
        ];
        for (kind, old, new) in held {
            let pin = old.and_then(|old| self.pins.of(kind, &old).cloned());
            if let (Some(pin), Some(value)) = (pin, new.clone()) {
                self.pins.add(AliasName { kind, value }, pin);
            }
        }
        let Some(id) = self.id_with(fingerprint) else {
            return false;
        };
        if let Some(signature) = signature {
            self.keep_details(&id, signature);
        }
        let group = self.get_mut(&id);
        if let Some(member) = group.and_then(|group| group.fingerprints.get_mut(fingerprint)) {
            let (signature, variant) = new;
            member.change(|facts| facts.signature = shared::maybe(signature.as_deref()));
            member.variant = variant.map(Fingerprint::from);
        }
        true
    }

    /// Finds each signature's owner by the crashes that have it.
    fn share_out(&mut self) {
        let mut weights: BTreeMap<(String, String), u64> = BTreeMap::new();
        for group in self.groups() {
            for member in group.fingerprints.values() {
                if let Some(signature) = &member.signature
                    && self.is_free(member)
                {
                    let seen = member.devices.values().map(|seen| seen.occurrences);
                    let weight = weights
                        .entry((signature.to_string(), group.id.clone()))
                        .or_default();
                    *weight += seen.sum::<u64>().max(1);
                }
            }
        }
        let mut weights: Vec<((String, String), u64)> = weights.into_iter().collect();
        weights.sort_by_key(|((_, group), weight)| {
            let created = self.groups.get(group).map(|group| group.created_at);
            (Reverse(*weight), created)
        });
        let mut owners: HashMap<String, String> = HashMap::new();
        let mut taken = BTreeSet::new();
        for ((signature, group), _) in &weights {
            if !owners.contains_key(signature) && taken.insert(group.clone()) {
                owners.insert(signature.clone(), group.clone());
            }
        }
        for ((signature, group), _) in &weights {
            if !owners.contains_key(signature)
                && let Some(from) = self.groups.get(group)
            {
                let mut new = blank(self.new_id(), from.model.clone(), from.created_at);
                new.first_device.clone_from(&from.first_device);
                new.announced = true;
                owners.insert(signature.clone(), new.id.clone());
                self.add(new);
            }
        }
        self.owners = owners;
    }

    /// The group of every fingerprint.
    fn places(&self) -> BTreeMap<Fingerprint, Arc<str>> {
        let places = self.by_fingerprint.iter();
        places
            .map(|(name, group)| (name.clone(), Arc::clone(group)))
            .collect()
    }

    fn changes(
        &self,
        before: &BTreeMap<Fingerprint, Arc<str>>,
        texts: &BTreeMap<String, String>,
        fingerprints: usize,
    ) -> Changes {
        let mut changes = Changes {
            fingerprints,
            ..Changes::default()
        };
        let (mut split, mut merged) = (BTreeSet::new(), BTreeSet::new());
        for (fingerprint, from) in before {
            let Some(to) = self
                .by_fingerprint
                .get(fingerprint)
                .filter(|to| *to != from)
            else {
                continue;
            };
            let (to, from) = (to.to_string(), from.to_string());
            if !texts.contains_key(&to) {
                split.insert((to, from));
            } else if !self.groups.contains_key(&from) {
                merged.insert((from, to));
            } else {
                split.insert((to, from));
            }
        }
        changes.split.extend(split);
        changes.merged.extend(merged);
        for (id, before) in texts {
            if let Some(group) = self
                .groups
                .get(id)
                .filter(|group| group.signature != *before)
            {
                let now = group.signature.clone();
                changes.renamed.push((id.clone(), before.clone(), now));
            }
        }
        changes
    }

    fn is_free(&self, member: &Member) -> bool {
        self.pins.on(member).is_none()
    }
}
