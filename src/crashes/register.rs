//! All groups in memory, with what finds them: ids, fingerprints, signatures.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Map;

use super::id;
use super::pins::Pins;
use super::state;
use crate::store::compact::Fingerprint;
use crate::store::crashes::{
    Alias, AliasKind, At, Decision, Group, GroupFile, Loaded, Member, Members, Origin, Rest,
    SCHEMA, State,
};
use crate::store::shared;

/// Most occurrences that a stored count is taken for.
const MOST: u64 = 1 << 40;

/// All groups.
#[derive(Clone, Debug, Default)]
pub struct Register {
    pub(super) groups: HashMap<String, Box<Group>>,
    /// Merged groups, and where they went.
    pub(super) redirects: HashMap<String, String>,
    pub(super) by_fingerprint: HashMap<Fingerprint, Arc<str>>,
    /// The group that a signature belongs to where no decision says otherwise.
    pub(super) owners: HashMap<String, String>,
    pub(super) pins: Pins,
    /// What was decided, in order.
    pub(super) decisions: Vec<Decision>,
    /// Groups and redirects that are not on the disk as they are.
    dirty: BTreeSet<String>,
    /// Ids with a file.
    on_disk: HashSet<String>,
}

impl Register {
    /// The groups as they were stored, with all decisions carried out.
    pub fn load(loaded: Loaded) -> Self {
        let mut register = Self::default();
        for file in loaded.files {
            match file {
                GroupFile::Redirect { id, redirect, .. } => {
                    register.on_disk.insert(id.clone());
                    register.redirects.insert(id, redirect);
                }
                GroupFile::Group(group) => {
                    register.on_disk.insert(group.id.clone());
                    register.take_in(group);
                }
            }
        }
        register.decisions = loaded.decisions;
        register.apply_all();
        register
    }

    fn take_in(&mut self, mut group: Box<Group>) {
        // whatever a damaged file says, sums stay numbers
        let members = group.fingerprints.values_mut();
        let named = members.flat_map(|member| member.devices.values_mut());
        for seen in named.chain(group.rest.devices.values_mut()) {
            seen.occurrences = seen.occurrences.min(MOST);
            seen.during_outage = seen.during_outage.min(MOST);
        }
        group.occurrences = group.occurrences.min(MOST);
        group.rest.occurrences = group.rest.occurrences.min(MOST);
        let id = group.id.clone();
        for former in &group.merged_from {
            self.redirects.insert(former.clone(), id.clone());
        }
        for fingerprint in group.fingerprints.keys() {
            let id = shared::text(&id);
            self.by_fingerprint.insert(fingerprint.clone(), id);
        }
        self.groups.insert(id, group);
    }

    /// The id that stands for `id` now, if there is such a group.
    pub fn resolve(&self, id: &str) -> Option<String> {
        let mut id = id;
        // merges form no cycle; damaged files might
        for _ in 0..=self.redirects.len() {
            if self.groups.contains_key(id) {
                return Some(id.to_owned());
            }
            id = self.redirects.get(id)?;
        }
        None
    }

    /// The group with this id, or the one it was merged into.
    pub fn get(&self, id: &str) -> Option<&Group> {
        self.groups.get(&self.resolve(id)?).map(|group| &**group)
    }

    /// The same for a change, which is written later.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Group> {
        let id = self.resolve(id)?;
        let group = self.groups.get_mut(&id);
        self.dirty.insert(id);
        group.map(|group| &mut **group)
    }

    /// All groups, in no order.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values().map(|group| &**group)
    }

    /// The group of a fingerprint.
    pub fn group_of(&self, fingerprint: &str) -> Option<&Group> {
        self.group_with(&fingerprint.into())
    }

    pub(super) fn group_with(&self, fingerprint: &Fingerprint) -> Option<&Group> {
        self.groups
            .get(&**self.by_fingerprint.get(fingerprint)?)
            .map(|group| &**group)
    }

    /// The id of a fingerprint's group.
    pub(super) fn id_with(&self, fingerprint: &Fingerprint) -> Option<String> {
        self.by_fingerprint
            .get(fingerprint)
            .map(|id| id.to_string())
    }

    /// What is known of a fingerprint.
    pub(super) fn member(&self, fingerprint: &Fingerprint) -> Option<&Member> {
        self.group_with(fingerprint)?.fingerprints.get(fingerprint)
    }

    /// An id for a new group.
    pub(super) fn new_id(&self) -> String {
        id::new(|id| self.is_taken(id))
    }

    /// Whether a group has this id, or had it.
    pub(super) fn is_taken(&self, id: &str) -> bool {
        self.groups.contains_key(id) || self.redirects.contains_key(id)
    }

    /// Adds a group.
    pub(super) fn add(&mut self, group: Group) {
        self.dirty.insert(group.id.clone());
        self.groups.insert(group.id.clone(), Box::new(group));
    }

    /// Adds a fingerprint to a group that exists.
    pub(super) fn add_member(&mut self, id: &str, member: Member) {
        let fingerprint = member.fingerprint.clone();
        if let Some(group) = self.get_mut(id) {
            let id = shared::text(&group.id);
            group.fingerprints.insert(member);
            self.by_fingerprint.insert(fingerprint, id);
        }
    }

    /// Takes a fingerprint out of its group.
    pub(super) fn take_member(&mut self, fingerprint: &Fingerprint) -> Option<Member> {
        let id = self.by_fingerprint.remove(fingerprint)?;
        self.get_mut(&id)?.fingerprints.remove(fingerprint)
    }

    /// Removes a group that was merged into `into`.
    pub(super) fn remove(&mut self, id: &str, into: &str) -> Option<Box<Group>> {
        let gone = self.groups.remove(id)?;
        self.redirects.insert(id.to_owned(), into.to_owned());
        self.dirty.insert(id.to_owned());
        for owner in self.owners.values_mut().filter(|owner| *owner == id) {
            into.clone_into(owner);
        }
        Some(gone)
    }

    /// Forgets a group that nothing was ever counted for.
    pub(super) fn forget_unused(&mut self, id: &str) {
        let is_unused = |group: &Group| group.occurrences == 0 && group.decided.is_none();
        let group = self.groups.get(id).map(|group| &**group);
        if !self.on_disk.contains(id) && group.is_some_and(is_unused) {
            self.groups.remove(id);
            self.dirty.remove(id);
            self.by_fingerprint.retain(|_, group| **group != *id);
        }
    }

    /// Sums up what a group's fingerprints were counted for.
    pub(super) fn recount(&mut self, id: &str) {
        let Some(group) = self.get_mut(id) else {
            return;
        };
        let seen = || {
            let members = group.fingerprints.values();
            let named = members.flat_map(|member| member.devices.values());
            named.chain(group.rest.devices.values())
        };
        let named: u64 = seen().map(|seen| seen.occurrences).sum();
        let first = seen().map(|seen| seen.first_seen).min();
        let last = seen().map(|seen| seen.last_seen).max();
        group.occurrences = named + group.rest.occurrences;
        group.first_seen = first.unwrap_or(group.first_seen);
        group.last_seen = last.unwrap_or(group.last_seen);
    }

    /// What is to be written, and is taken for written from now on: at most
    /// `most` files.
    pub fn take_dirty(&mut self, most: usize) -> Vec<(String, GroupFile)> {
        let mut files = Vec::new();
        while files.len() < most
            && let Some(id) = self.dirty.pop_first()
        {
            if let Some(file) = self.file(&id) {
                self.on_disk.insert(id.clone());
                files.push((id, file));
            }
        }
        files
    }

    /// Those files could not be written after all.
    pub fn put_back(&mut self, files: &[(String, GroupFile)]) {
        self.dirty.extend(files.iter().map(|(id, _)| id.clone()));
    }

    /// All files are to be written again.
    #[cfg(test)]
    pub(super) fn dirty_all(&mut self) {
        self.dirty.extend(self.groups.keys().cloned());
    }

    fn file(&self, id: &str) -> Option<GroupFile> {
        if let Some(group) = self.groups.get(id) {
            return Some(GroupFile::Group(Box::new(self.with_origins(group))));
        }
        // the survivor's file tells of those that never had one
        let redirect = self
            .redirects
            .get(id)
            .filter(|_| self.on_disk.contains(id))?;
        Some(GroupFile::Redirect {
            schema: SCHEMA,
            id: id.to_owned(),
            redirect: redirect.clone(),
        })
    }

    /// A group with its state, the origin of each alias, and the variants held in it.
    pub fn with_origins(&self, group: &Group) -> Group {
        let mut group = group.clone();
        let decided = group.decided.as_ref().map(|decided| decided.at);
        group.state = state::of(
            &group,
            decided.unwrap_or(group.last_seen).max(group.last_seen),
        )
        .into();
        for member in group.fingerprints.values_mut() {
            let name = member.fingerprint.to_string();
            let pin = self.pins.of(AliasKind::Fingerprint, &name);
            member.origin = pin.map_or(Origin::Auto, |pin| pin.origin);
        }
        for alias in &mut group.aliases {
            let pin = self.pins.of(AliasKind::Signature, &alias.value);
            alias.origin = pin.map_or(Origin::Auto, |pin| pin.origin).into();
        }
        for (value, origin) in self.pins.variants_in(&group.id) {
            group.aliases.push(Alias {
                kind: AliasKind::Variant.into(),
                value,
                origin: origin.into(),
                at: group.created_at,
                signature: None,
            });
        }
        group
    }
}

/// A group with nothing in it.
pub(super) fn blank(id: String, model: Option<String>, at: At) -> Group {
    Group {
        schema: SCHEMA,
        id,
        model,
        signature: String::new(),
        class: None,
        state: State::Open.into(),
        created_at: at,
        first_device: None,
        announced: false,
        decided: None,
        resolved_builds: Vec::new(),
        regression: None,
        note: None,
        first_seen: at,
        last_seen: at,
        occurrences: 0,
        aliases: Vec::new(),
        fingerprints: Members::default(),
        rest: Rest::default(),
        merged_from: Vec::new(),
        split_from: None,
        extra: Map::new(),
    }
}
