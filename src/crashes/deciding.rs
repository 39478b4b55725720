//! What people decide about groups. A decision is made, put onto the disk, then
//! carried out; at each start all are carried out again, which changes nothing
//! unless a group's file is older than they are.

use super::pins::Pin;
use super::register::{Register, blank};
use super::state::Until;
use crate::store::crashes::{
    AliasKind, AliasName, At, Choice, Decided, Decision, Member, Origin, SCHEMA, State,
};
use serde_json::Map;

/// Why a decision cannot be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Impossible {
    #[error("no crash group {0}")]
    NoGroup(String),
    #[error("a group cannot be merged into itself")]
    Itself,
    #[error("`other` collects crashes that are only counted: it can be neither merged nor split")]
    Other,
    #[error("crash groups of different models ({0}, {1}) cannot be merged")]
    Models(String, String),
    #[error("coredump {0} is not in this group")]
    NotIn(String),
    #[error("all coredumps of this group are alike: nothing to split")]
    Alike,
    #[error("invalid `until` {0}: use a count such as 100x, days such as 10d, or a build")]
    Until(String),
}

/// A group's state as a person wants it.
#[derive(Clone, Debug)]
pub struct Wish {
    pub state: State,
    /// The model's stored builds.
    pub known: Vec<String>,
    /// Those that must not have the crash any more: seen in one of them, or in one
    /// that is not stored yet, the group is back.
    pub fixed: Vec<String>,
    /// `100x`, `10d` or a build's id, which is in `fixed` then.
    pub until: Option<String>,
}

impl Register {
    /// The decision that sets a group's state.
    ///
    /// # Errors
    /// [`Impossible`]
    pub fn wish(&self, id: &str, wish: Wish) -> Result<Choice, Impossible> {
        let group = self
            .get(id)
            .ok_or_else(|| Impossible::NoGroup(id.to_owned()))?;
        if let Some(until) = &wish.until
            && Until::parse(until).is_none()
            && !wish.fixed.contains(until)
        {
            return Err(Impossible::Until(until.clone()));
        }
        // a build that the group was seen in may be gone from the store
        let seen = group
            .fingerprints
            .values()
            .flat_map(|member| member.builds.iter().map(|build| build.to_string()));
        let mut builds: Vec<String> = match wish.state {
            State::Ignored if wish.fixed.is_empty() => Vec::new(),
            State::Resolved | State::Ignored => wish.known.into_iter().chain(seen).collect(),
            State::Open | State::Regressed => Vec::new(),
        };
        builds.retain(|build| !wish.fixed.contains(build));
        builds.sort();
        builds.dedup();
        Ok(Choice::State {
            group: group.id.clone(),
            state: wish.state.into(),
            builds,
            until: wish.until,
            occurrences: group.occurrences,
        })
    }

    /// The decision that merges `id` into `into`.
    ///
    /// # Errors
    /// [`Impossible`]
    pub fn merge(&self, id: &str, into: &str) -> Result<Choice, Impossible> {
        let find = |id: &str| {
            self.get(id)
                .ok_or_else(|| Impossible::NoGroup(id.to_owned()))
        };
        let (group, into) = (find(id)?, find(into)?);
        if group.id == into.id {
            return Err(Impossible::Itself);
        }
        if group.is_other() || into.is_other() {
            return Err(Impossible::Other);
        }
        if let (Some(mine), Some(theirs)) = (&group.model, &into.model)
            && mine != theirs
        {
            return Err(Impossible::Models(mine.clone(), theirs.clone()));
        }
        let mut aliases = self.pins.held_in(&group.id);
        aliases.extend(group.fingerprints.values().map(own_name));
        let owned = self.owners.iter().filter(|(_, owner)| **owner == group.id);
        aliases.extend(owned.map(|(signature, _)| AliasName {
            kind: AliasKind::Signature,
            value: signature.clone(),
        }));
        aliases.sort();
        aliases.dedup();
        Ok(Choice::Merge {
            group: group.id.clone(),
            into: into.id.clone(),
            aliases,
        })
    }

    /// The decision that makes what `fingerprint` stands for a group of its own: its
    /// signature, if the group has several, else its variant.
    ///
    /// # Errors
    /// [`Impossible`]; `dump` is named in it.
    pub fn split(&self, id: &str, fingerprint: &str, dump: &str) -> Result<Choice, Impossible> {
        let group = self
            .get(id)
            .ok_or_else(|| Impossible::NoGroup(id.to_owned()))?;
        if group.is_other() {
            return Err(Impossible::Other);
        }
        let Some(member) = group.fingerprints.get(&fingerprint.into()) else {
            return Err(Impossible::NotIn(dump.to_owned()));
        };
        let others = || group.fingerprints.values();
        let kinds = [
            AliasKind::Signature,
            AliasKind::Variant,
            AliasKind::Fingerprint,
        ];
        let value_of = |kind: AliasKind, other: &Member| match kind {
            AliasKind::Signature => other.signature.as_deref().map(str::to_owned),
            AliasKind::Variant => other.variant.as_ref().map(ToString::to_string),
            AliasKind::Fingerprint => Some(other.fingerprint.to_string()),
        };
        let alias = kinds.into_iter().find_map(|kind| {
            let value = value_of(kind, member)?;
            let differs = others().any(|other| value_of(kind, other).as_ref() != Some(&value));
            differs.then_some(AliasName { kind, value })
        });
        Ok(Choice::Split {
            group: group.id.clone(),
            into: self.new_id(),
            alias: alias.ok_or(Impossible::Alike)?,
        })
    }

    /// The highest number that a decision had: the end of the log may be lost.
    fn last_number(&self) -> u64 {
        let decided = self.groups().filter_map(|group| group.decided.as_ref());
        let held = decided.map(|decided| decided.number);
        let logged = self.decisions.iter().map(|decision| decision.number);
        held.chain(logged).max().unwrap_or(0)
    }

    /// Numbers a choice.
    pub fn decide(&self, choice: Choice, by: &str, at: At) -> Decision {
        Decision {
            schema: SCHEMA,
            number: self.last_number().saturating_add(1),
            at,
            by: by.to_owned(),
            choice,
            extra: Map::new(),
        }
    }

    /// Carries out all decisions again: groups may have come since that they are about.
    pub(super) fn apply_all(&mut self) {
        let decisions = self.decisions.clone();
        // a later split undoes an earlier merge: so nothing moves before all is known
        for decision in &decisions {
            self.hold(decision);
        }
        for decision in &decisions {
            self.carry_out(decision);
        }
        self.find_owners();
        self.settle_all();
    }

    /// Carries out a new decision.
    pub fn apply(&mut self, decision: &Decision) {
        self.decisions.push(decision.clone());
        let held = self.hold(decision);
        self.carry_out(decision);
        for alias in &held {
            let holders = self.holders(alias);
            self.settle_each(&holders);
        }
    }

    /// Holds aliases where the decision wants them; gives those that were not yet.
    fn hold(&mut self, decision: &Decision) -> Vec<AliasName> {
        let (aliases, into, is_merge) = match &decision.choice {
            Choice::Merge { into, aliases, .. } => (aliases.as_slice(), into, true),
            Choice::Split { into, alias, .. } => (std::slice::from_ref(alias), into, false),
            Choice::State { .. } | Choice::Note { .. } => return Vec::new(),
        };
        let pin = |alias: &&AliasName| {
            let pin = Pin {
                origin: Origin::Person,
                decision: decision.number,
                group: into.clone(),
                is_merge,
            };
            self.pins.add((*alias).clone(), pin)
        };
        aliases.iter().filter(pin).cloned().collect()
    }

    /// What else a decision does. A second time it changes nothing.
    fn carry_out(&mut self, decision: &Decision) {
        match &decision.choice {
            Choice::State {
                group,
                state,
                builds,
                until,
                occurrences,
            } => {
                let number = decision.number;
                let group = self.get_mut(group);
                let is_newer = |decided: &Decided| decided.number < number;
                if let Some(group) =
                    group.filter(|group| group.decided.as_ref().is_none_or(is_newer))
                {
                    group.decided = Some(Decided {
                        number,
                        at: decision.at,
                        by: decision.by.clone(),
                        state: state.clone(),
                        until: until.clone(),
                        occurrences: *occurrences,
                    });
                    group.resolved_builds.clone_from(builds);
                    group.regression = None;
                }
            }
            Choice::Note { group, note } => {
                if let Some(group) = self.get_mut(group) {
                    group.note.clone_from(note);
                }
            }
            Choice::Merge { group, into, .. } => {
                if self.resolve(group).is_none() && group != into {
                    // its file is lost
                    self.redirects.insert(group.clone(), into.clone());
                }
                self.unite(group, into);
            }
            Choice::Split { group, into, .. } => {
                if self.resolve(into).is_none() {
                    let from = self.get(group);
                    let model = from.and_then(|from| from.model.clone());
                    let mut new = blank(into.clone(), model, decision.at);
                    new.announced = true;
                    new.split_from = Some(group.clone());
                    if let Some(from) = from {
                        new.signature.clone_from(&from.signature);
                        new.class.clone_from(&from.class);
                    }
                    self.add(new);
                }
            }
        }
    }
}

/// What a fingerprint is pinned by: its signature, which later ones will have, too.
fn own_name(member: &Member) -> AliasName {
    match &member.signature {
        Some(signature) => AliasName {
            kind: AliasKind::Signature,
            value: signature.to_string(),
        },
        None => AliasName {
            kind: AliasKind::Fingerprint,
            value: member.fingerprint.to_string(),
        },
    }
}
