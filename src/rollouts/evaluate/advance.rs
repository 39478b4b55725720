//! From one wave to the next: when a wave is over, which canary is replaced, when all is
//! done.

use super::{Action, Facts, RULES, Work, is_released};
use crate::store::rollouts::{Member, MemberState, Phase, Rollout};

/// A canary that does not ask within this time is replaced, seconds.
const ASK_WITHIN: u64 = 24 * 3600;

/// Whether nothing more is expected of a member's wave.
fn is_settled(rollout: &Rollout, member: &Member, released_s: u64) -> bool {
    let is_accepted = member
        .failure
        .as_ref()
        .is_some_and(|failure| failure.accepted);
    let is_unheard = member.heard_s.is_none_or(|heard| heard < released_s) && !member.got_it();
    let is_good = is_good(rollout, member);
    // what does not vote keeps nobody waiting
    let is_mute = !member.votes;
    is_good
        || is_mute
        || member.is_neutral()
        || member.state == MemberState::Refused
        || is_accepted
        || is_unheard
}

fn is_good(rollout: &Rollout, member: &Member) -> bool {
    let is_enough = member.confirmed || !rollout.spec.confirmed;
    member.state == MemberState::Soaked && is_enough
}

fn released(rollout: &Rollout) -> &[Member] {
    let count = rollout.released_members();
    rollout.members.get(..count).unwrap_or_default()
}

/// When the wave that is being updated was released.
fn released_s(rollout: &Rollout) -> u64 {
    let last = rollout.released().checked_sub(1);
    let wave = last.and_then(|last| rollout.waves.get(last));
    wave.and_then(|wave| wave.released_s).unwrap_or(0)
}

/// Whether each member of the released waves is settled.
pub(super) fn is_wave_full(rollout: &Rollout) -> bool {
    let since = released_s(rollout);
    let mut members = released(rollout).iter();
    members.all(|member| is_settled(rollout, member, since))
}

/// Whether enough of the released members are soaked: half, and one at least. Those that
/// take no part do not count.
fn is_enough(rollout: &Rollout) -> bool {
    let members = || released(rollout).iter().filter(|member| member.votes);
    let good = members().filter(|member| is_good(rollout, member)).count();
    let all = members().filter(|member| !member.is_neutral()).count();
    good >= 1 && good * 2 >= all
}

impl Work<'_> {
    /// Goes on to the next phase if it is time.
    pub(super) fn go_on(&mut self, facts: &Facts) {
        let is_waiting = !self.rollout.waiting.is_empty() || self.is_clock_unsure();
        if !self.rollout.is_offering() || self.rollout.paused.is_some() || is_waiting {
            return;
        }
        match self.rollout.phase {
            Phase::Canary | Phase::Soaking => {
                self.replace_canaries();
                self.soaking();
                self.end_wave(facts);
            }
            Phase::Wave => self.end_wave(facts),
            Phase::Watching => self.end_watch(),
            Phase::Done | Phase::Stopped | Phase::Cancelled => {}
        }
    }

    fn soaking(&mut self) {
        let waits = |member: &Member| {
            use MemberState::{Downloaded, Downloading, Eligible, Held, Offered};
            matches!(
                member.state,
                Held | Eligible | Offered | Downloading | Downloaded
            )
        };
        let phase = match released(&self.rollout).iter().any(waits) {
            true => Phase::Canary,
            false => Phase::Soaking,
        };
        if self.rollout.phase != phase {
            self.phase(phase);
        }
    }

    fn end_wave(&mut self, facts: &Facts) {
        if !is_wave_full(&self.rollout) {
            return;
        }
        if !is_enough(&self.rollout) {
            // devices that were not heard since may still come
            let waits = |member: &Member| member.votes && member.state == MemberState::Eligible;
            if !released(&self.rollout).iter().any(waits) {
                self.pause(
                    RULES,
                    "fewer than half of the released devices run the build",
                );
            }
            return;
        }
        match &facts.rates {
            None => return,
            Some(rates) => {
                if self.is_worse(rates) {
                    return;
                }
            }
        }
        let last = self.rollout.released().saturating_sub(1);
        let wall = self.now.wall.to_owned();
        let is_last = last + 1 >= self.rollout.waves.len();
        let mut is_new = false;
        if let Some(wave) = self.rollout.waves.get_mut(last) {
            is_new = wave.over_at.is_none();
            wave.over_at.get_or_insert(wall);
        }
        if is_new {
            let what = match last {
                0 => String::from("the canaries are soaked"),
                _ => format!("wave {} is over", last + 1),
            };
            self.log(RULES, what, None);
        }
        if is_last {
            self.phase(Phase::Watching);
        } else if !self.rollout.spec.gate {
            self.release_next(RULES);
        }
    }

    /// Releases the next wave. Whether there is one.
    pub(in crate::rollouts) fn release_next(&mut self, by: &str) -> bool {
        let (at, wall, now) = (
            self.rollout.released(),
            self.now.wall.to_owned(),
            self.now.s,
        );
        let before = self.rollout.released_members();
        let Some(wave) = self.rollout.waves.get_mut(at) else {
            return false;
        };
        wave.released_at = Some(wall);
        wave.released_s = Some(now);
        let end = self.rollout.released_members();
        for member in before..end {
            if self.rollout.members.get(member).map(|m| m.state) == Some(MemberState::Held) {
                self.set(member, MemberState::Eligible, "its wave is released");
                if let Some(member) = self.rollout.members.get(member) {
                    let device = member.device.clone();
                    self.actions.push(Action::Offered { device });
                }
            }
        }
        self.phase(match at {
            0 => Phase::Canary,
            _ => Phase::Wave,
        });
        let (number, devices) = (at + 1, end - before);
        let what = match at {
            0 => format!("released to {devices} canaries"),
            _ => format!("released wave {number} to {devices} more devices"),
        };
        self.log(by, what, None);
        self.actions.push(Action::Wave { number, devices });
        true
    }

    /// A canary that does not ask, or takes no part, makes room for the next device.
    fn replace_canaries(&mut self) {
        let since = released_s(&self.rollout);
        let count = self.rollout.released_members();
        for at in 0..count {
            let Some(member) = self.rollout.members.get(at) else {
                return;
            };
            let is_late = member.state == MemberState::Eligible
                && member.asked_s.is_none_or(|asked| asked < since)
                && self.now.s.saturating_sub(since.max(member.since_s)) >= ASK_WITHIN;
            if !is_late && !member.is_neutral() {
                continue;
            }
            let why = match is_late {
                true => String::from("it did not ask within 24 h"),
                false => format!("it takes no part ({})", member.evidence),
            };
            let next = (count..self.rollout.members.len()).find(|next| {
                let next = self.rollout.members.get(*next);
                next.is_some_and(|next| next.votes && next.state == MemberState::Held)
            });
            let Some(next) = next else {
                return;
            };
            self.replace(at, next, &why);
        }
    }

    fn replace(&mut self, at: usize, next: usize, why: &str) {
        self.rollout.members.swap(at, next);
        let released = is_released(&self.rollout, at);
        for (place, canary) in [(at, true), (next, false)] {
            if let Some(member) = self.member(place) {
                member.canary = canary;
            }
        }
        if released {
            self.set(
                at,
                MemberState::Eligible,
                "canary in place of another device",
            );
        }
        let keys = [at, next].map(|place| {
            let member = self.rollout.members.get(place);
            member.map(|member| member.device.clone())
        });
        let [Some(new), Some(old)] = keys else {
            return;
        };
        if self.rollout.members.get(next).map(|m| m.state) == Some(MemberState::Eligible) {
            self.set(next, MemberState::Held, why);
        }
        let what = format!("{new} is a canary in place of {old}: {why}");
        self.log(RULES, what, Some(&new));
        self.actions.push(Action::Offered { device: new });
    }

    fn end_watch(&mut self) {
        if self.now.s.saturating_sub(self.rollout.phase_s) < self.rollout.spec.watch {
            return;
        }
        self.phase(Phase::Done);
        self.rollout.effect_due = true;
        self.rollout.ended_at = Some(self.now.wall.to_owned());
        let name = self.rollout.target.name.clone();
        self.log(RULES, format!("done: {name} is active"), None);
        self.actions.push(Action::Done);
    }
}
