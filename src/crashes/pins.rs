//! What people decided about who belongs where: signatures, variants and fingerprints
//! that are held in a group.

use std::collections::HashMap;

use crate::store::compact::Fingerprint;
use crate::store::crashes::{AliasKind, AliasName, Member, Origin};

/// A decision's hold on an alias.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    pub(super) origin: Origin,
    /// Number of the decision.
    pub(super) decision: u64,
    /// The group that it holds the alias in.
    pub(super) group: String,
    /// Whether it was a merge: that extends to a fingerprint's signature.
    pub(super) is_merge: bool,
}

/// What people decided about who belongs where.
#[derive(Clone, Debug, Default)]
pub(super) struct Pins(HashMap<AliasName, Pin>);

impl Pins {
    pub(super) fn of(&self, kind: AliasKind, value: &str) -> Option<&Pin> {
        self.0.get(&AliasName {
            kind,
            value: value.to_owned(),
        })
    }

    /// Adds a pin, unless a newer decision holds the alias. Whether it was added.
    pub(super) fn add(&mut self, alias: AliasName, pin: Pin) -> bool {
        let is_newer = |held: &Pin| pin.decision > held.decision;
        let adds = self.0.get(&alias).is_none_or(is_newer);
        if adds {
            self.0.insert(alias, pin);
        }
        adds
    }

    /// Variants held in a group.
    pub(super) fn variants_in(&self, group: &str) -> Vec<(String, Origin)> {
        let is_it =
            |alias: &AliasName, pin: &Pin| alias.kind == AliasKind::Variant && pin.group == group;
        let held = self.0.iter().filter(|(alias, pin)| is_it(alias, pin));
        held.map(|(alias, pin)| (alias.value.clone(), pin.origin))
            .collect()
    }

    /// Names of what is held in a group.
    pub(super) fn held_in(&self, group: &str) -> Vec<AliasName> {
        let held = self.0.iter().filter(|(_, pin)| pin.group == group);
        held.map(|(alias, _)| alias.clone()).collect()
    }

    /// The newest decision about a fingerprint.
    pub(super) fn on(&self, member: &Member) -> Option<&Pin> {
        if self.0.is_empty() {
            return None;
        }
        let text = |name: &Fingerprint| name.to_string();
        let names = [
            (AliasKind::Fingerprint, Some(text(&member.fingerprint))),
            (AliasKind::Variant, member.variant.as_ref().map(text)),
            (
                AliasKind::Signature,
                member.signature.as_deref().map(str::to_owned),
            ),
        ];
        names
            .into_iter()
            .filter_map(|(kind, value)| self.of(kind, &value?))
            .max_by_key(|pin| pin.decision)
    }
}
