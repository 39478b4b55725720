//! From one wave to the next: when a wave is over, which canary is replaced, when all is
//! done.

use super::verdict::names;
use super::{Action, Facts, RULES, Work};
use crate::store::rollouts::{Member, MemberState, Phase, Rollout, Wave};

/// A canary that does not ask within this time is replaced, seconds; devices of a later
/// wave that were not heard for long have as much time to come.
const ASK_WITHIN: u64 = 24 * 3600;

/// A device that is not heard for this time, seconds, and for three times its usual
/// interval is silent: nobody waits for it.
const SILENT: u64 = 24 * 3600;

/// Whether nothing more is expected of a member's wave.
fn is_settled(rollout: &Rollout, member: &Member, released_s: u64) -> bool {
    let is_accepted = member
        .failure
        .as_ref()
        .is_some_and(|failure| failure.accepted);
    // what does not vote keeps nobody waiting, but for as long as it would soak
    let released_for = rollout.clock_s.saturating_sub(released_s);
    let is_mute = !member.votes && released_for >= rollout.spec.soak;
    is_good(rollout, member)
        || is_mute
        || member.is_neutral()
        || member.state == MemberState::Refused
        || is_accepted
        || is_silent(rollout, member, released_s)
}

/// Not heard since the release, and for long enough to tell.
fn is_silent(rollout: &Rollout, member: &Member, released_s: u64) -> bool {
    let unheard = rollout.clock_s.saturating_sub(member.heard_s.unwrap_or(0));
    let usual = member.usual_s.map_or(0, |usual| usual.saturating_mul(3));
    member.heard_s.is_none_or(|heard| heard < released_s)
        && !member.got_it()
        && unheard >= SILENT.max(usual)
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
pub(super) fn released_s(rollout: &Rollout) -> u64 {
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

/// How many of the released members are soaked, and of how many. Those that take no part
/// do not count.
fn good_of_all(rollout: &Rollout) -> (usize, usize) {
    let members = || released(rollout).iter().filter(|member| member.votes);
    let good = members().filter(|member| is_good(rollout, member)).count();
    let all = members().filter(|member| !member.is_neutral()).count();
    (good, all)
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
        if !self.is_enough() {
            return;
        }
        let last = self.rollout.released().saturating_sub(1);
        let is_over = |wave: &Wave| wave.over_at.is_some();
        if !self.rollout.waves.get(last).is_some_and(is_over) {
            match &facts.rates {
                None => return,
                Some(rates) if self.is_worse(rates) => return,
                Some(_) => {}
            }
        }
        let wall = self.now.wall.to_owned();
        let is_last = last + 1 >= self.rollout.waves.len();
        let mut is_new = false;
        if let Some(wave) = self.rollout.waves.get_mut(last) {
            is_new = wave.over_at.is_none();
            wave.over_at.get_or_insert(wall);
        }
        if is_new {
            let what = match last {
                0 if good_of_all(&self.rollout).0 == 0 => {
                    String::from("the canaries are over, none of them soaked")
                }
                0 => String::from("the canaries are soaked"),
                _ => format!("wave {} is over", last + 1),
            };
            self.log(RULES, what, None);
        }
        if is_last {
            self.rollout.finishing_from = None;
            self.phase(Phase::Watching);
        } else if !self.rollout.spec.gate {
            self.release_next(RULES);
        }
    }

    /// Whether half of the released members, and one at least, are soaked. Pauses once if
    /// not; who resumes then goes on without the others.
    fn is_enough(&mut self) -> bool {
        let (good, all) = good_of_all(&self.rollout);
        // nobody of it takes part: nothing is to be learned from it
        let is_empty = released(&self.rollout).iter().all(Member::is_neutral);
        if is_empty || (good >= 1 && good * 2 >= all) {
            return true;
        }
        let mut members = released(&self.rollout).iter();
        let may_come = members.any(|one| one.votes && one.state == MemberState::Eligible);
        let is_early = self.now.s.saturating_sub(released_s(&self.rollout)) < ASK_WITHIN;
        let last = self.rollout.released().saturating_sub(1);
        let wall = self.now.wall.to_owned();
        let Some(wave) = self.rollout.waves.get_mut(last) else {
            return false;
        };
        if may_come && is_early {
            return false;
        }
        if wave.too_few_at.is_some() {
            return true;
        }
        wave.too_few_at = Some(wall);
        let is_missing = |member: &&Member| {
            member.votes && !member.is_neutral() && !is_good(&self.rollout, member)
        };
        let missing = released(&self.rollout).iter().filter(is_missing);
        let missing = names(missing);
        let why = match all {
            0 => String::from(
                "what happens to the released devices decides nothing: they are known by a fleet \
                 token alone, or take no part",
            ),
            _ => format!("only {good} of {all} released devices run the build; not {missing}"),
        };
        self.pause(RULES, &why);
        false
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
            let since = since.max(member.since_s);
            let is_late = member.state == MemberState::Eligible
                && !member.got_it()
                && member.asked_s.is_none_or(|asked| asked < since)
                && self.now.s.saturating_sub(since) >= ASK_WITHIN;
            if !is_late && !member.is_neutral() && member.votes {
                continue;
            }
            let is_heard = member.heard_s.is_some_and(|heard| heard >= since);
            let why = match is_late {
                true => String::from("it did not ask within 24 h"),
                false if !member.votes => String::from("a fleet token registered it again"),
                false => format!("it takes no part ({})", member.evidence),
            };
            let next = (count..self.rollout.members.len()).find(|next| {
                let next = self.rollout.members.get(*next);
                next.is_some_and(|next| next.votes && next.state == MemberState::Held)
            });
            match next {
                Some(next) => self.replace(at, next, &why),
                None if is_late && is_heard => {
                    self.no_data(
                        at,
                        "is heard, and does not ask for firmware: power-cycle it",
                    );
                }
                None => {}
            }
        }
    }

    /// Who is replaced comes last.
    fn replace(&mut self, at: usize, next: usize, why: &str) {
        let members = &mut self.rollout.members;
        let mut new = members.remove(next);
        new.canary = true;
        let new_key = new.device.clone();
        members.insert(at, new);
        let mut old = members.remove(at + 1);
        old.canary = false;
        let old_key = old.device.clone();
        members.push(old);
        let last = members.len() - 1;
        let why_new = "canary in place of another device";
        self.set(at, MemberState::Eligible, why_new);
        if self.state(last) == Some(MemberState::Eligible) {
            self.set(last, MemberState::Held, why);
        }
        let what = format!("{new_key} is a canary in place of {old_key}: {why}");
        self.log(RULES, what, Some(&new_key));
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
