//! Crashes of the target, and devices that fail by them.

use super::{Action, Crash, RULES, Work};
use crate::store::rollouts::{Failure, Member, MemberState, Rule, Waiting};

impl Work<'_> {
    pub(super) fn loops(&mut self, at: usize) {
        use MemberState::{Downloaded, Lost, Running, Soaked};
        if let Some(Downloaded | Running | Soaked | Lost) = self.state(at) {
            let why = "boots again and again";
            self.fail(at, MemberState::Looping, Rule::Looping, why, None);
        }
    }

    pub(super) fn dump_came(&mut self, at: usize, dump: &str) {
        let Some(member) = self.rollout.members.get(at) else {
            return;
        };
        let is_awaited = member.got_it() && member.votes && self.rollout.is_offering();
        if !is_awaited || self.rollout.waiting.contains_key(dump) {
            return;
        }
        let waiting = Waiting {
            device: member.device.clone(),
            since_s: self.now.s,
        };
        self.rollout.waiting.insert(dump.to_owned(), waiting);
        self.is_decision = true;
    }

    pub(super) fn judged(&mut self, at: usize, dump: Option<&str>, sequence: u64) {
        self.change(at, |member| {
            member.judged_to = member.judged_to.max(sequence)
        });
        if let Some(dump) = dump {
            self.is_decision = true;
            self.rollout.waiting.remove(dump);
        }
    }

    pub(super) fn crashed(&mut self, at: usize, dump: &str, crash: &Crash) {
        let Some(member) = self.rollout.members.get(at) else {
            return;
        };
        // others may have the target from elsewhere
        if !member.got_it() || !self.rollout.is_offering() {
            return;
        }
        let (device, votes) = (member.device.clone(), member.votes);
        // whoever crashed with it has booted it
        self.change(at, |member| member.booted_since = true);
        match crash {
            Crash::New { group, signature } => {
                let why = format!("new crash {group} \"{signature}\" (coredump {dump})");
                let crash = Some(group.clone());
                self.fail(at, MemberState::Crashed, Rule::NewCrash, &why, crash);
            }
            Crash::Unsure { why, .. } => {
                self.change(at, |member| member.known_crashes += 1);
                let why = format!("{why} on {device} (coredump {dump})");
                match votes {
                    true => self.pause(RULES, &why),
                    false => self.log(RULES, why, Some(&device)),
                }
            }
            Crash::Known { group } => {
                self.change(at, |member| member.known_crashes += 1);
                let what = format!("known crash {group} on {device} (coredump {dump})");
                self.log(RULES, what, Some(&device));
            }
        }
    }

    /// A device failed. It gets the base from now on.
    pub(super) fn fail(
        &mut self,
        at: usize,
        state: MemberState,
        rule: Rule,
        why: &str,
        crash: Option<String>,
    ) {
        let wall = self.now.wall.to_owned();
        let Some(member) = self.member(at) else {
            return;
        };
        // who was lost and is heard again may turn out to be worse
        let is_worse = rule == Rule::NewCrash || is_lost(member);
        if member.is_failed() && !is_worse {
            return;
        }
        let is_known = |failure: &Failure| failure.rule == rule && failure.crash == crash;
        if member.failure.as_ref().is_some_and(is_known) {
            return;
        }
        member.failure = Some(Failure {
            rule,
            why: why.to_owned(),
            crash: crash.clone(),
            at: wall,
            accepted: false,
        });
        let device = member.device.clone();
        match member.state {
            MemberState::Pinned | MemberState::Retired => member.before = Some(state),
            _ => self.set(at, state, why),
        }
        self.log(RULES, format!("{device}: {why}"), Some(&device));
        let why = why.to_owned();
        self.actions
            .push(Action::DeviceFailed { device, why, crash });
    }
}

fn is_lost(member: &Member) -> bool {
    member.own_state() == MemberState::Lost
}
