//! A device runs something else than the target: back to what it had, or by a hand that
//! nobody here knows of.

use super::happened::MAX_WAIT;
use super::{RULES, Work};
use crate::store::rollouts::{MemberState, Phase, Rule};

impl Work<'_> {
    /// It runs a build that it had before.
    pub(super) fn runs_other(&mut self, at: usize, build: &str, evidence: &str) {
        let Some(member) = self.rollout.members.get(at) else {
            return;
        };
        let state = member.state;
        let (booted, ran) = (member.booted_since, member.ran_s.is_some());
        let waited = self.now.s.saturating_sub(member.delivered_s.unwrap_or(0));
        self.heard(at, true);
        if matches!(state, MemberState::Pinned | MemberState::Retired) {
            return self.ran_meanwhile(at, false);
        }
        if self.rollout.phase == Phase::Stopped {
            // who has not booted since the delivery may boot into the target yet
            let is_back = booted || ran || waited >= MAX_WAIT;
            if self.has_got_it(at) && state != MemberState::Back && is_back {
                self.set(at, MemberState::Back, evidence);
            }
            return;
        }
        match state {
            MemberState::HasIt => self.set(at, self.before_it(at), evidence),
            // no board changes what it runs without a boot
            MemberState::Running | MemberState::Soaked => self.revert(at, build, evidence),
            MemberState::Downloaded | MemberState::Lost => {
                self.change(at, |member| member.other_build = Some(build.to_owned()));
                // until it boots it may wait for its night
                if booted {
                    self.revert(at, build, evidence);
                }
            }
            _ => {}
        }
    }

    /// An upload named another build: it may be that of the dump, so it counts only if the
    /// device booted since it was seen on the target, or since the delivery.
    pub(super) fn names_other(&mut self, at: usize, build: &str, evidence: &str) {
        let Some(member) = self.rollout.members.get(at) else {
            return;
        };
        let booted = match member.state {
            MemberState::Running | MemberState::Soaked => member.rebooted,
            _ => member.booted_since,
        };
        match booted || member.state == MemberState::HasIt {
            true => self.runs_other(at, build, evidence),
            false => self.heard(at, true),
        }
    }

    /// It runs a build that it did not have before: no fault of the target, and no success.
    pub(super) fn runs_unknown(&mut self, at: usize, build: &str, is_stored: bool, evidence: &str) {
        use MemberState::{Downloaded, Lost, Running, Soaked};
        let Some(member) = self.rollout.members.get(at) else {
            return;
        };
        let is_stopped = self.rollout.phase == Phase::Stopped;
        match (member.state, member.booted_since) {
            (Running | Soaked, _) | (Downloaded | Lost, true) if !is_stopped => {}
            // until it boots it may wait for its night
            (Downloaded | Lost, false) if !is_stopped => return self.heard(at, true),
            _ => return self.runs_other(at, build, evidence),
        }
        self.heard(at, true);
        let Some(member) = self.member(at) else {
            return;
        };
        if member.other_build.as_deref() == Some(build) {
            return;
        }
        member.other_build = Some(build.to_owned());
        let (device, votes) = (member.device.clone(), member.votes);
        let what = match is_stored {
            true => "is neither the target nor what it ran before",
            false => "is not stored here",
        };
        let why = format!("{device} runs {build}, which {what}: {evidence}");
        match votes {
            true => self.pause(RULES, &why),
            false => self.log(RULES, why, Some(&device)),
        }
        self.is_decision = true;
    }

    fn revert(&mut self, at: usize, build: &str, evidence: &str) {
        let why = format!("runs {build} again ({evidence})");
        self.fail(at, MemberState::Reverted, Rule::Reverted, &why, None);
    }
}
