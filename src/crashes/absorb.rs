//! The end of a group that another one takes over.

use super::register::Register;
use super::state;
use crate::store::crashes::{Group, State};

/// Ids of merged groups that one group remembers, the newest.
const MAX_MERGED_FROM: usize = 1000;

impl Register {
    /// Ends the group `from`: what is left of it goes to `into`.
    pub(super) fn absorb(&mut self, from: &str, into: &str) {
        let Some(gone) = self.remove(from, into) else {
            return;
        };
        let Some(group) = self.get_mut(into) else {
            return;
        };
        take_over_decision(group, &gone);
        if let Some(decided) = &mut group.decided {
            // what came with the other group is no new crash
            decided.occurrences = decided.occurrences.saturating_add(gone.occurrences);
        }
        group.announced |= gone.announced;
        group.note = group.note.take().or(gone.note);
        group.rest.add(gone.rest);
        for alias in gone.aliases {
            if !group.aliases.iter().any(|held| held.value == alias.value) {
                group.aliases.push(alias);
            }
        }
        group.merged_from.extend(gone.merged_from);
        remember_former(group, from);
        let id = group.id.clone();
        for member in gone.fingerprints.into_values() {
            self.add_member(&id, member);
        }
        self.recount(&id);
        self.forget_details(&id);
        self.fold(&id);
    }

    /// Notes that `former` is the id of a group that became a part of `into`; for ids
    /// that no group has.
    pub(super) fn remember(&mut self, former: &str, into: &str) {
        if let Some(group) = self.get_mut(into) {
            remember_former(group, former);
            let id = group.id.clone();
            self.redirects.insert(former.to_owned(), id);
        }
    }
}

fn remember_former(group: &mut Group, former: &str) {
    group.merged_from.push(former.to_owned());
    let surplus = group.merged_from.len().saturating_sub(MAX_MERGED_FROM);
    group.merged_from.drain(..surplus);
}

/// The survivor takes over a decision if it has none; if both have one, open wins.
fn take_over_decision(group: &mut Group, gone: &Group) {
    if gone.decided.is_none() {
        return;
    }
    let now = group.last_seen.max(gone.last_seen);
    let is_open = |group: &Group| matches!(state::of(group, now), State::Open | State::Regressed);
    if group.decided.is_none() || (is_open(gone) && !is_open(group)) {
        group.decided.clone_from(&gone.decided);
        group.resolved_builds.clone_from(&gone.resolved_builds);
        group.regression.clone_from(&gone.regression);
    }
}
