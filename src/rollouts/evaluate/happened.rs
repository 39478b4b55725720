//! What an event changes of a member.

use super::{Crash, Event, RULES, What, Work, is_released};
use crate::device::DeviceKey;
use crate::store::rollouts::{Failure, MemberState, Phase, Rule, Waiting};

/// Whole deliveries without a run after which a device is not asked again.
const MAX_DELIVERIES: u32 = 2;
/// Downloads that break off near one offset after which it is not asked again.
const MAX_BROKEN_OFF: usize = 3;
/// What two offsets near one another differ by at most, bytes: a flash block.
const NEAR: u64 = 64 * 1024;
/// Devices that compare hang up before.
const DESCRIPTION: u64 = 64 * 1024;

impl Work<'_> {
    /// Takes an event over.
    pub(super) fn happened(&mut self, event: &Event) {
        let of = |device: &DeviceKey| {
            let mut members = self.rollout.members.iter();
            members.position(|member| member.device == *device)
        };
        let Some(at) = of(&event.device) else {
            return;
        };
        match &event.what {
            What::Heard => self.heard(at),
            What::Asked => {
                let now = self.now.s;
                self.change(at, |member| member.asked_s = Some(now));
                self.heard(at);
            }
            What::Answered => self.answered(at),
            What::Began => self.began(at),
            What::Progress => {
                let now = self.now.s;
                self.change(at, |member| member.progress_s = Some(now));
            }
            What::BrokeOff { offset } => self.broke_off(at, *offset),
            What::Delivered => self.delivered(at),
            What::Interrupted => {
                if self.state(at) == Some(MemberState::Downloading) {
                    self.change(at, |member| member.maybe_delivered = true);
                    self.is_decision = true;
                }
            }
            What::RunsTarget { evidence } => self.runs_target(at, evidence),
            What::RunsOther { build, evidence } => self.runs_other(at, build, evidence),
            What::HasIt { evidence } => self.has_it(at, evidence),
            What::Booted => self.booted(at),
            What::Loops => self.loops(at),
            What::DumpCame { dump } => self.dump_came(at, dump),
            What::Crashed {
                dump,
                sequence,
                crash,
            } => {
                self.judged(at, Some(dump), *sequence);
                self.crashed(at, dump, crash);
            }
            What::Judged { sequence } => self.judged(at, None, *sequence),
            What::Incompatible { why } => {
                if !self.has_got_it(at) {
                    self.set(at, MemberState::Incompatible, why);
                }
            }
            What::Pinned(yes) => self.neutral(at, *yes, MemberState::Pinned, "pinned"),
            What::Retired(yes) => self.neutral(at, *yes, MemberState::Retired, "retired"),
            What::Usual(seconds) => {
                let seconds = *seconds;
                self.change(at, |member| member.usual_s = seconds);
            }
        }
    }

    fn state(&self, at: usize) -> Option<MemberState> {
        Some(self.rollout.members.get(at)?.state)
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut crate::store::rollouts::Member)) {
        if let Some(member) = self.member(at) {
            change(member);
        }
    }

    fn has_got_it(&self, at: usize) -> bool {
        let member = self.rollout.members.get(at);
        member.is_some_and(crate::store::rollouts::Member::got_it)
    }

    fn heard(&mut self, at: usize) {
        let now = self.now.s;
        let mut is_first = false;
        self.change(at, |member| {
            member.heard_s = Some(now);
            is_first = member.got_it() && !member.heard_since;
            member.heard_since |= member.got_it();
        });
        self.is_decision |= is_first;
    }

    fn answered(&mut self, at: usize) {
        let now = self.now.s;
        if let Some(MemberState::Eligible | MemberState::Offered) = self.state(at) {
            self.set(at, MemberState::Offered, "told of it (firmware-version)");
            self.change(at, |member| member.since_s = now);
        }
    }

    fn began(&mut self, at: usize) {
        let now = self.now.s;
        self.change(at, |member| member.progress_s = Some(now));
        if let Some(MemberState::Eligible | MemberState::Offered) = self.state(at) {
            self.set(at, MemberState::Downloading, "downloads it");
        }
    }

    fn broke_off(&mut self, at: usize, offset: u64) {
        if self.state(at) != Some(MemberState::Downloading) {
            return;
        }
        let mut near = 0;
        self.change(at, |member| {
            member.progress_s = None;
            if offset > DESCRIPTION {
                member.broke_off.push(offset);
                let others = member.broke_off.iter();
                near = others
                    .filter(|other| other.abs_diff(offset) <= NEAR)
                    .count();
                let surplus = member.broke_off.len().saturating_sub(2 * MAX_BROKEN_OFF);
                member.broke_off.drain(..surplus);
            }
        });
        if near >= MAX_BROKEN_OFF {
            let why = format!(
                "{near} downloads broke off near byte {offset}: is its partition too small?"
            );
            self.refuse(at, &why);
        } else {
            let why = format!("a download broke off at byte {offset}");
            self.set(at, MemberState::Eligible, &why);
        }
    }

    fn refuse(&mut self, at: usize, why: &str) {
        self.set(at, MemberState::Refused, why);
        self.log_member(at, &format!("refused: {why}"));
    }

    fn log_member(&mut self, at: usize, what: &str) {
        let device = self
            .rollout
            .members
            .get(at)
            .map(|member| member.device.clone());
        if let Some(device) = device {
            self.log(RULES, format!("{device} {what}"), Some(&device));
        }
    }

    fn delivered(&mut self, at: usize) {
        let now = self.now.s;
        let mut is_refused = false;
        self.change(at, |member| {
            member.delivered_s = Some(now);
            member.progress_s = None;
            member.deliveries = member.deliveries.saturating_add(1);
            member.broke_off.clear();
            is_refused = member.deliveries >= MAX_DELIVERIES && member.ran_s.is_none();
            member.heard_since = false;
            member.booted_since = false;
            member.other_build = None;
        });
        self.is_decision = true;
        let state = self.state(at);
        if let Some(MemberState::Eligible | MemberState::Offered | MemberState::Downloading) = state
        {
            self.set(at, MemberState::Downloaded, "all of it was delivered");
        }
        let is_waiting = self.state(at) == Some(MemberState::Downloaded);
        if is_refused && is_waiting {
            self.refuse(
                at,
                &format!("{MAX_DELIVERIES} whole deliveries, and it does not run it"),
            );
        }
    }

    fn runs_target(&mut self, at: usize, evidence: &str) {
        let Some(state) = self.state(at) else {
            return;
        };
        let now = self.now.s;
        match state {
            MemberState::Held | MemberState::Eligible | MemberState::Offered
                if !self.has_got_it(at) =>
            {
                self.set(at, MemberState::HasIt, evidence);
            }
            MemberState::HasIt if self.rollout.phase == Phase::Stopped => {}
            MemberState::Eligible
            | MemberState::Offered
            | MemberState::Downloading
            | MemberState::Downloaded
            | MemberState::Lost
            | MemberState::Refused => {
                self.change(at, |member| {
                    member.delivered_s.get_or_insert(now);
                    member.ran_s = Some(now);
                    member.rebooted = false;
                    member.other_build = None;
                    // it works after all
                    member.failure = None;
                });
                let text = match state {
                    MemberState::Lost => format!("{evidence}, after it was taken for lost"),
                    _ => evidence.to_owned(),
                };
                self.set(at, MemberState::Running, &text);
            }
            // after a stop it went forward again
            MemberState::Back | MemberState::Stranded => {
                self.set(at, MemberState::Running, evidence);
            }
            _ => {}
        }
        self.heard(at);
    }

    fn runs_other(&mut self, at: usize, build: &str, evidence: &str) {
        let Some(state) = self.state(at) else {
            return;
        };
        self.heard(at);
        if self.rollout.phase == Phase::Stopped {
            if self.has_got_it(at) && state != MemberState::Back {
                self.set(at, MemberState::Back, evidence);
            }
            return;
        }
        match state {
            MemberState::HasIt => {
                let state = match is_released(&self.rollout, at) {
                    true => MemberState::Eligible,
                    false => MemberState::Held,
                };
                self.set(at, state, evidence);
            }
            // no board changes what it runs without a boot
            MemberState::Running | MemberState::Soaked => self.revert(at, build, evidence),
            MemberState::Downloaded => {
                self.change(at, |member| member.other_build = Some(build.to_owned()));
                if self.rollout.members.get(at).is_some_and(|m| m.booted_since) {
                    self.revert(at, build, evidence);
                }
            }
            _ => {}
        }
    }

    fn booted(&mut self, at: usize) {
        self.heard(at);
        let Some(member) = self.member(at) else {
            return;
        };
        match member.state {
            MemberState::Downloaded => {
                let is_first = !member.booted_since;
                member.booted_since = true;
                let other = member.other_build.clone();
                self.is_decision |= is_first;
                if let Some(build) = other {
                    self.revert(at, &build, "it booted since");
                }
            }
            MemberState::Running => {
                let is_first = !member.rebooted;
                member.rebooted = true;
                self.is_decision |= is_first;
            }
            _ => {}
        }
    }

    fn revert(&mut self, at: usize, build: &str, evidence: &str) {
        let why = format!("runs {build} again ({evidence})");
        self.fail(at, MemberState::Reverted, Rule::Reverted, &why, None);
    }

    fn loops(&mut self, at: usize) {
        if let Some(MemberState::Downloaded | MemberState::Running | MemberState::Soaked) =
            self.state(at)
        {
            let why = "boots again and again";
            self.fail(at, MemberState::Looping, Rule::Looping, why, None);
        }
    }

    fn has_it(&mut self, at: usize, evidence: &str) {
        if let Some(MemberState::Held | MemberState::Eligible | MemberState::Offered) =
            self.state(at)
            && !self.has_got_it(at)
        {
            self.set(at, MemberState::HasIt, evidence);
        }
    }

    /// Pins and retirements come and go.
    fn neutral(&mut self, at: usize, yes: bool, state: MemberState, evidence: &str) {
        let is_it = self.state(at) == Some(state);
        match (yes, is_it) {
            (true, false) => self.set(at, state, evidence),
            (false, true) => {
                let before = match is_released(&self.rollout, at) {
                    true => MemberState::Eligible,
                    false => MemberState::Held,
                };
                self.set(at, before, &format!("no longer {evidence}"));
            }
            _ => {}
        }
    }

    fn dump_came(&mut self, at: usize, dump: &str) {
        let Some(member) = self.rollout.members.get(at) else {
            return;
        };
        if !member.got_it() || !member.votes || self.rollout.waiting.contains_key(dump) {
            return;
        }
        let waiting = Waiting {
            device: member.device.clone(),
            since_s: self.now.s,
        };
        self.rollout.waiting.insert(dump.to_owned(), waiting);
        self.is_decision = true;
    }

    fn judged(&mut self, at: usize, dump: Option<&str>, sequence: u64) {
        self.change(at, |member| {
            member.judged_to = member.judged_to.max(sequence)
        });
        if let Some(dump) = dump {
            self.is_decision = true;
            self.rollout.waiting.remove(dump);
        }
    }

    fn crashed(&mut self, at: usize, dump: &str, crash: &Crash) {
        let Some(member) = self.rollout.members.get(at).cloned() else {
            return;
        };
        // others may have the target from elsewhere
        if !member.got_it() || self.rollout.phase == Phase::Stopped {
            return;
        }
        let device = &member.device;
        match crash {
            Crash::New { group, signature } => {
                let why = format!("new crash {group} \"{signature}\" (coredump {dump})");
                let crash = Some(group.clone());
                self.fail(at, MemberState::Crashed, Rule::NewCrash, &why, crash);
            }
            Crash::Unsure { why, .. } => {
                self.change(at, |member| member.known_crashes += 1);
                let why = format!("{why} on {device} (coredump {dump})");
                if member.votes {
                    self.pause(RULES, &why);
                } else {
                    self.log(RULES, why, Some(device));
                }
            }
            Crash::Known { group } => {
                self.change(at, |member| member.known_crashes += 1);
                let what = format!("known crash {group} on {device} (coredump {dump})");
                self.log(RULES, what, Some(device));
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
        if member.is_failed() && rule != Rule::NewCrash {
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
        self.set(at, state, why);
        self.log(RULES, format!("{device}: {why}"), Some(&device));
        let why = why.to_owned();
        self.actions
            .push(super::Action::DeviceFailed { device, why, crash });
    }
}
