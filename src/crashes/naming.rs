//! What a group knows of its signatures, and is called by.

use std::collections::BTreeSet;

use super::counting::title;
use super::register::Register;
use crate::signature::Signature;
use crate::store::crashes::{Alias, AliasKind, Origin};

impl Register {
    pub(super) fn keep_details(&mut self, id: &str, signature: &Signature) {
        let Some(group) = self.get_mut(id) else {
            return;
        };
        let is_it = |alias: &&mut Alias| alias.value == signature.id;
        match group.aliases.iter_mut().find(is_it) {
            Some(alias) => alias.signature = Some(signature.clone()),
            None => group.aliases.push(Alias {
                kind: AliasKind::Signature.into(),
                value: signature.id.clone(),
                origin: Origin::Auto.into(),
                at: group.last_seen,
                signature: Some(signature.clone()),
            }),
        }
    }

    /// Drops the details of signatures that no fingerprint of the group has any more.
    pub(super) fn forget_details(&mut self, id: &str) {
        let owned: BTreeSet<String> = {
            let owned = self.owners.iter().filter(|(_, owner)| *owner == id);
            owned.map(|(signature, _)| signature.clone()).collect()
        };
        if let Some(group) = self.get_mut(id) {
            let members = group.fingerprints.values();
            let held: BTreeSet<String> = members
                .filter_map(|member| Some(member.signature.as_deref()?.to_owned()))
                .collect();
            group
                .aliases
                .retain(|alias| held.contains(&alias.value) || owned.contains(&alias.value));
        }
    }

    /// Gives a group the text and class of its oldest signature.
    pub(super) fn name(&mut self, id: &str) {
        let Some(group) = self.get_mut(id) else {
            return;
        };
        if let Some(signature) = group
            .aliases
            .iter()
            .find_map(|alias| alias.signature.as_ref())
        {
            group.signature.clone_from(&signature.text);
            group.class = Some(signature.class.clone());
        } else if let Some(member) = group.fingerprints.values().min_by_key(|member| member.at) {
            (group.signature, group.class) = title(member);
        }
    }
}
