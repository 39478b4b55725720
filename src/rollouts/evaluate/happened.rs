//! What an event changes of a member: contacts, downloads, what it runs, whether it takes
//! part. Crashes are in `crashed`.

use super::advance::released_s;
use super::{Event, RULES, What, Work, is_released};
use crate::device::DeviceKey;
use crate::store::rollouts::{Member, MemberState, Phase};

/// Whole deliveries without a run after which a device is not asked again.
const MAX_DELIVERIES: u32 = 2;
/// Downloads that break off near one offset after which it is not asked again.
const MAX_BROKEN_OFF: usize = 3;
/// What two offsets near one another differ by at most, bytes: a flash block.
const NEAR: u64 = 64 * 1024;
/// Devices that compare hang up before.
const DESCRIPTION: u64 = 64 * 1024;
/// What is heard of a device so soon after the delivery, seconds, may be from before its
/// restart: its console tells of the update.
const RESTART: u64 = 60;
/// A device that has the image boots into it within this time, seconds: it may wait for
/// its night.
pub(super) const MAX_WAIT: u64 = 24 * 3600;

impl Work<'_> {
    /// Takes an event over. `at`: the place of the event's device.
    pub(super) fn happened(&mut self, at: usize, event: &Event) {
        match &event.what {
            What::Heard => self.heard(at, false),
            What::Asked => self.asked(at),
            What::Answered => self.answered(at),
            What::Began => self.began(at),
            What::Progress => {
                let now = self.now.s;
                self.change(at, |member| member.progress_s = Some(now));
            }
            What::BrokeOff { offset } => self.broke_off(at, *offset),
            What::Delivered => self.delivered(at),
            What::TookBase => self.took_base(at),
            What::Interrupted => {
                if self.state(at) == Some(MemberState::Downloading) {
                    self.change(at, |member| member.maybe_delivered = true);
                    self.is_decision = true;
                }
            }
            What::RunsTarget { evidence } => self.runs_target(at, evidence),
            What::RunsOther { build, evidence } => self.runs_other(at, build, evidence),
            What::NamesOther { build, evidence } => self.names_other(at, build, evidence),
            What::RunsUnknown {
                build,
                is_stored,
                evidence,
            } => self.runs_unknown(at, build, *is_stored, evidence),
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
            What::Incompatible { why } => self.incompatible(at, why),
            What::Pinned(yes) => self.takes_no_part(at, MemberState::Pinned, *yes),
            What::Retired(yes) => self.takes_no_part(at, MemberState::Retired, *yes),
            What::LosesVote => {
                self.change(at, |member| member.votes = false);
                self.log_member(at, "decides nothing now: a fleet token registered it again");
            }
            What::Usual(seconds) => {
                let seconds = *seconds;
                self.change(at, |member| member.usual_s = seconds);
            }
        }
    }

    pub(super) fn state(&self, at: usize) -> Option<MemberState> {
        Some(self.rollout.members.get(at)?.state)
    }

    pub(super) fn change(&mut self, at: usize, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.member(at) {
            change(member);
        }
    }

    pub(super) fn has_got_it(&self, at: usize) -> bool {
        self.rollout.members.get(at).is_some_and(Member::got_it)
    }

    /// Whether the target came from here if the device has it.
    pub(super) fn took_it(&self, at: usize) -> bool {
        let member = self.rollout.members.get(at);
        // the acknowledgement of the last byte may be lost, or it came in a bundle
        member.is_some_and(|member| member.got_it() || member.tried_s.is_some())
    }

    /// `is_return`: after a delivery this cannot be from before the restart.
    pub(super) fn heard(&mut self, at: usize, is_return: bool) {
        let (now, released) = (self.now.s, released_s(&self.rollout));
        let mut is_news = false;
        self.change(at, |member| {
            is_news = member.heard_s.is_none_or(|heard| heard < released);
            member.heard_s = Some(now);
            let since = member.delivered_s.unwrap_or(member.since_s);
            let is_after = is_return || now.saturating_sub(since) >= RESTART;
            if member.got_it() && is_after && !member.heard_since {
                member.heard_since = true;
                is_news = true;
            }
        });
        self.is_decision |= is_news;
    }

    fn asked(&mut self, at: usize) {
        let (now, released) = (self.now.s, released_s(&self.rollout));
        let mut is_first = false;
        self.change(at, |member| {
            let since = member.since_s.max(released);
            is_first = member.asked_s.is_none_or(|asked| asked < since);
            member.asked_s = Some(now);
        });
        self.is_decision |= is_first;
        self.heard(at, true);
        self.is_back(at);
    }

    /// After a stop: many devices never say what they run.
    fn took_base(&mut self, at: usize) {
        let is_stopped = self.rollout.phase == Phase::Stopped;
        if is_stopped && self.has_got_it(at) {
            self.change(at, |member| member.took_base = true);
            self.is_decision = true;
        }
    }

    /// Who took the base and asks again has booted in between.
    fn is_back(&mut self, at: usize) {
        let took_it = self.rollout.members.get(at).is_some_and(|m| m.took_base);
        if took_it && self.state(at) != Some(MemberState::Back) {
            self.set(at, MemberState::Back, "took the base, and asked again");
        }
    }

    fn answered(&mut self, at: usize) {
        if self.rollout.is_offering() && self.state(at) == Some(MemberState::Eligible) {
            self.tries(at);
            self.set(at, MemberState::Offered, "told of it (firmware-version)");
        }
    }

    fn began(&mut self, at: usize) {
        let now = self.now.s;
        self.change(at, |member| member.progress_s = Some(now));
        if let Some(MemberState::Eligible | MemberState::Offered) = self.state(at)
            && self.rollout.is_offering()
        {
            self.tries(at);
            self.set(at, MemberState::Downloading, "downloads it");
        }
    }

    fn tries(&mut self, at: usize) {
        let now = self.now.s;
        self.change(at, |member| {
            member.tried_s.get_or_insert(now);
        });
    }

    fn broke_off(&mut self, at: usize, offset: u64) {
        self.change(at, |member| member.progress_s = None);
        let state = self.state(at);
        if !self.rollout.is_offering() {
            if state == Some(MemberState::Downloading) {
                self.set(at, MemberState::Held, "its download was cut by the stop");
            }
            return;
        }
        let Some(MemberState::Downloading | MemberState::Eligible) = state else {
            return;
        };
        let mut near = 0;
        self.change(at, |member| {
            member.failed_tries = member.failed_tries.saturating_add(1);
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
        self.is_decision = true;
        if near >= MAX_BROKEN_OFF {
            let why = format!(
                "{near} downloads broke off near byte {offset}: is its partition too small?"
            );
            self.refuse(at, &why);
        } else {
            let why = format!("a download broke off at byte {offset}");
            self.set(at, self.before_it(at), &why);
        }
    }

    fn refuse(&mut self, at: usize, why: &str) {
        self.set(at, MemberState::Refused, why);
        self.log_member(at, &format!("refused: {why}"));
    }

    /// Notes a decision about one member.
    pub(super) fn log_member(&mut self, at: usize, what: &str) {
        let member = self.rollout.members.get(at);
        if let Some(device) = member.map(|member| member.device.clone()) {
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
        use MemberState::{Downloaded, Downloading, Eligible, HasIt, Held, Offered};
        if let Some(Held | Eligible | Offered | Downloading | HasIt) = self.state(at) {
            self.set(at, Downloaded, "all of it was delivered");
        }
        self.delivered_meanwhile(at);
        if is_refused && self.state(at) == Some(Downloaded) {
            self.refuse(
                at,
                &format!("{MAX_DELIVERIES} whole deliveries, and it does not run it"),
            );
        }
    }

    fn runs_target(&mut self, at: usize, evidence: &str) {
        use MemberState as S;
        let Some(state) = self.state(at) else {
            return;
        };
        let now = self.now.s;
        match state {
            S::Pinned | S::Retired => self.ran_meanwhile(at, true),
            S::Held | S::Eligible | S::Offered | S::Incompatible if !self.took_it(at) => {
                self.set(at, S::HasIt, evidence);
            }
            S::HasIt if !self.took_it(at) => {}
            S::Held
            | S::Eligible
            | S::Offered
            | S::Incompatible
            | S::HasIt
            | S::Downloading
            | S::Downloaded
            | S::Lost
            | S::Refused => {
                self.change(at, |member| member.begins_to_run(now));
                let text = match state {
                    S::Lost => format!("{evidence}, after it was taken for lost"),
                    _ => evidence.to_owned(),
                };
                self.set(at, S::Running, &text);
            }
            // after a stop it went forward again
            S::Back | S::Stranded => {
                self.change(at, |member| {
                    member.ran_s = Some(now);
                    member.took_base = false;
                });
                self.set(at, S::Running, evidence);
            }
            S::Running | S::Soaked => self.change(at, |member| {
                member.rebooted = false;
                member.other_build = None;
            }),
            _ => {}
        }
        self.heard(at, true);
    }

    /// The state of a member that has nothing to do with the target yet.
    pub(super) fn before_it(&self, at: usize) -> MemberState {
        let is_released = is_released(&self.rollout, at) && self.rollout.is_offering();
        match is_released {
            true => MemberState::Eligible,
            false => MemberState::Held,
        }
    }

    fn booted(&mut self, at: usize) {
        self.heard(at, true);
        let Some(member) = self.member(at) else {
            return;
        };
        let mark = match member.own_state() {
            MemberState::Running | MemberState::Soaked => &mut member.rebooted,
            _ if member.got_it() => &mut member.booted_since,
            _ => return,
        };
        let is_first = !std::mem::replace(mark, true);
        self.is_decision |= is_first;
    }

    fn has_it(&mut self, at: usize, evidence: &str) {
        use MemberState::{Downloading, Eligible, Held, Offered};
        if let Some(Held | Eligible | Offered | Downloading) = self.state(at)
            && !self.has_got_it(at)
        {
            self.change(at, |member| member.progress_s = None);
            self.set(at, MemberState::HasIt, evidence);
        }
    }

    fn incompatible(&mut self, at: usize, why: &str) {
        use MemberState::{Downloading, Eligible, Held, Offered, Pinned, Retired};
        if self.has_got_it(at) {
            return;
        }
        match self.state(at) {
            Some(Pinned | Retired) => {
                self.change(at, |member| member.before = Some(MemberState::Incompatible));
                self.is_decision = true;
            }
            Some(Held | Eligible | Offered | Downloading) => {
                self.set(at, MemberState::Incompatible, why);
            }
            _ => {}
        }
    }
}

/// The place of a member.
pub(super) fn place(members: &[Member], device: &DeviceKey) -> Option<usize> {
    members.iter().position(|member| member.device == *device)
}
