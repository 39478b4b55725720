//! What follows from time alone: soaks that are over, devices that were not heard,
//! reservations and dumps that nobody waits for any longer.

use super::happened::MAX_WAIT;
use super::{Action, Facts, RULES, Work};
use crate::rollouts::serve::{IDLE_DOWNLOAD, RESERVATION};
use crate::rollouts::spec::shown;
use crate::store::rollouts::{Failure, Member, MemberState, Phase, Rollout, Rule};

/// A dump is decoded within this time, or is never.
const DECODE_WITHIN: u64 = 300;
/// After a stop devices have so long to come back, seconds.
const COME_BACK_WITHIN: u64 = 7 * 24 * 3600;
/// A device that tries in vain for so long, seconds, and so often is looked at by a person.
const TRIES_WITHIN: u64 = 48 * 3600;
const MAX_TRIES: u32 = 5;
/// An outage is noted, and saved, once in so many seconds.
const OUTAGE_STEP: u64 = 60;

/// After so many seconds without a contact something may be wrong with a device.
pub(super) fn patience(rollout: &Rollout, member: &Member) -> u64 {
    let usual = member.usual_s.map_or(0, |usual| usual.saturating_mul(3));
    rollout.spec.return_within.max(usual)
}

/// What time changes of a member.
enum Due {
    NotFetched,
    Stalled,
    Lost(String),
    /// No data is not success.
    NoData(String),
    /// Whether it is confirmed.
    Soaked(bool),
    Confirmed,
    Stranded,
}

impl Work<'_> {
    /// Takes the passing of time over.
    pub(super) fn time_passes(&mut self, facts: &Facts) {
        let is_stopped = self.rollout.phase == Phase::Stopped;
        if !is_stopped {
            self.give_up_decoding();
        }
        // when half of the others are not heard either it is the network
        let is_missed = facts.others_expected > 0
            && facts.others_missed.saturating_mul(2) >= facts.others_expected;
        if is_missed
            && self
                .rollout
                .network_out_s
                .is_none_or(|s| self.now.s.saturating_sub(s) >= OUTAGE_STEP)
        {
            self.rollout.network_out_s = Some(self.now.s);
            self.is_decision = true;
        }
        let is_network = is_missed || !facts.others_known;
        for at in 0..self.rollout.members.len() {
            let Some(member) = self.rollout.members.get(at) else {
                return;
            };
            let due = match is_stopped {
                true => after_stop(&self.rollout, member, self.now.s),
                false => due(&self.rollout, member, self.now.s, is_network),
            };
            if let Some(due) = due {
                self.is_due(at, due);
            }
        }
        if is_stopped {
            self.end_if_all_are_back();
        }
    }

    fn give_up_decoding(&mut self) {
        let now = self.now.s;
        let waiting = self.rollout.waiting.iter();
        let overdue: Vec<_> = waiting
            .filter(|(_, dump)| now.saturating_sub(dump.since_s) >= DECODE_WITHIN)
            .map(|(id, dump)| (id.clone(), dump.device.clone()))
            .collect();
        for (id, device) in overdue {
            self.rollout.waiting.remove(&id);
            self.pause(
                RULES,
                &format!("coredump {id} of {device} was not decoded within 5 minutes"),
            );
        }
    }

    /// Whether the wall clock jumped within the last hour.
    pub(super) fn is_clock_unsure(&self) -> bool {
        let until = self.rollout.clock_unsure_until_s;
        until.is_some_and(|until| self.now.s < until)
    }

    fn is_due(&mut self, at: usize, due: Due) {
        use MemberState::{Lost, Soaked, Stranded};
        match due {
            Due::NotFetched => self.failed_try(at, "told of it, and did not fetch it"),
            Due::Stalled => self.failed_try(at, "its download stalled"),
            Due::Lost(why) => self.fail(at, Lost, Rule::Lost, &why, None),
            Due::NoData(why) => self.no_data(at, &why),
            Due::Soaked(is_confirmed) => {
                let evidence = match is_confirmed {
                    true => "confirmed: heard after its soak",
                    false => "presumed: seen on it, no crash and no boot since",
                };
                self.change(at, |member| {
                    member.confirmed = is_confirmed;
                    member.failure = None;
                });
                self.set(at, Soaked, evidence);
            }
            Due::Confirmed => {
                self.change(at, |member| {
                    member.confirmed = true;
                    member.evidence = String::from("confirmed: heard after its soak");
                    member.failure = None;
                });
                self.is_decision = true;
            }
            Due::Stranded => {
                self.set(at, Stranded, "not heard since the stop");
                self.log_member(at, "not heard since the stop");
            }
        }
    }

    fn failed_try(&mut self, at: usize, why: &str) {
        self.change(at, |member| {
            member.failed_tries = member.failed_tries.saturating_add(1);
            member.progress_s = None;
        });
        self.set(at, self.before_it(at), why);
    }

    pub(super) fn no_data(&mut self, at: usize, why: &str) {
        let wall = self.now.wall.to_owned();
        let Some(member) = self.member(at) else {
            return;
        };
        if member.failure.is_some() {
            return;
        }
        member.failure = Some(Failure {
            rule: Rule::NoData,
            why: why.to_owned(),
            crash: None,
            at: wall,
            accepted: false,
        });
        self.log_member(at, why);
    }

    fn end_if_all_are_back(&mut self) {
        let (mut all, mut back) = (0, 0);
        for member in &self.rollout.members {
            // what a pinned or retired device runs is up to who pinned or retired it
            let is_expected = member.got_it() && !member.is_neutral();
            all += usize::from(is_expected);
            back += usize::from(is_expected && member.state == MemberState::Back);
        }
        let is_over = self.now.s.saturating_sub(self.rollout.phase_s) >= COME_BACK_WITHIN;
        // the last byte of a download that is being cut may have arrived
        let now = self.now.s;
        let is_under_way = |one: &Member| {
            let is_recent = one
                .progress_s
                .is_some_and(|s| now.saturating_sub(s) < IDLE_DOWNLOAD);
            one.state == MemberState::Downloading && is_recent
        };
        let is_open = back < all || self.rollout.members.iter().any(is_under_way);
        if is_open && !is_over {
            return;
        }
        self.rollout.ended_at = Some(self.now.wall.to_owned());
        let stranded = all - back;
        self.log(RULES, format!("ended: {back} back, {stranded} not"), None);
        self.actions.push(Action::Back { back, stranded });
    }
}

fn after(since: Option<u64>, now: u64) -> u64 {
    since.map_or(0, |since| now.saturating_sub(since))
}

fn due(rollout: &Rollout, member: &Member, now: u64, is_network: bool) -> Option<Due> {
    match member.state {
        MemberState::Offered if after(Some(member.since_s), now) >= RESERVATION => {
            Some(Due::NotFetched)
        }
        MemberState::Downloading
            if member
                .progress_s
                .is_none_or(|s| now.saturating_sub(s) >= IDLE_DOWNLOAD) =>
        {
            Some(Due::Stalled)
        }
        MemberState::Eligible => eligible(rollout, member, now, is_network),
        MemberState::Downloaded => downloaded(rollout, member, now, is_network),
        MemberState::Running => running(rollout, member, now, is_network),
        MemberState::Soaked if !member.confirmed => presumed(rollout, member, now),
        _ => None,
    }
}

fn soak_of(rollout: &Rollout, member: &Member) -> u64 {
    match member.canary {
        true => rollout.spec.canary_soak,
        false => rollout.spec.soak,
    }
}

fn eligible(rollout: &Rollout, member: &Member, now: u64, is_network: bool) -> Option<Due> {
    let since = member.since_s;
    let waited = after(Some(since), now);
    let unheard = after(Some(since).max(rollout.network_out_s), now);
    if member.maybe_delivered && member.delivered_s.is_none() && !member.heard_since {
        let is_lost = unheard >= patience(rollout, member) && !is_network;
        let why = format!("not heard for {} after a download", shown(waited));
        return is_lost.then_some(Due::Lost(why));
    }
    if member.failure.is_some() {
        return None;
    }
    let is_heard = member.heard_s.is_some_and(|heard| heard >= since);
    let asks = member.asked_s.is_some_and(|asked| asked >= since);
    // canaries are replaced
    if !member.canary && is_heard && !asks && waited >= MAX_WAIT {
        let why = "is heard, and does not ask for firmware: power-cycle it";
        return Some(Due::NoData(why.to_owned()));
    }
    let is_in_vain = member.failed_tries >= MAX_TRIES && after(member.tried_s, now) >= TRIES_WITHIN;
    let why = || {
        let tries = member.failed_tries;
        format!("was offered it, and did not get it in {tries} tries")
    };
    is_in_vain.then(|| Due::NoData(why()))
}

fn downloaded(rollout: &Rollout, member: &Member, now: u64, is_network: bool) -> Option<Due> {
    let since = after(member.delivered_s, now);
    let patience = patience(rollout, member);
    if !member.heard_since {
        let unheard = after(member.delivered_s.max(rollout.network_out_s), now);
        let is_lost = unheard >= patience && !is_network;
        let why = || format!("not heard for {} after the download", shown(since));
        return is_lost.then(|| Due::Lost(why()));
    }
    let longest = soak_of(rollout, member)
        .max(MAX_WAIT)
        .saturating_add(patience);
    let is_due = since >= longest && member.failure.is_none();
    let why = || match &member.other_build {
        Some(build) => format!("has the build, is heard, and still runs {build}"),
        None => String::from("has the build, is heard, and is not known to run it"),
    };
    is_due.then(|| Due::NoData(why()))
}

fn running(rollout: &Rollout, member: &Member, now: u64, is_network: bool) -> Option<Due> {
    let soak = soak_of(rollout, member);
    let ran = after(member.ran_s, now);
    if ran < soak {
        return None;
    }
    // as with those that are lost: when the others are not heard either it is the network
    let ended = member.ran_s.map(|ran| ran.saturating_add(soak));
    let unheard = after(ended.max(rollout.network_out_s), now);
    let is_overdue = unheard >= patience(rollout, member) && !is_network;
    let is_due = is_overdue && member.failure.is_none();
    if let Some(build) = &member.other_build {
        let why = || format!("ran the build, and runs {build} now");
        return is_due.then(|| Due::NoData(why()));
    }
    if is_heard_after(member, soak) {
        return Some(Due::Soaked(true));
    }
    let is_missed = member
        .usual_s
        .is_some_and(|usual| after(member.heard_s, now) >= usual.saturating_mul(3));
    if !member.rebooted && member.known_crashes == 0 && !is_missed {
        return Some(Due::Soaked(false));
    }
    let why = "ran the build, and was not heard after its soak";
    is_due.then(|| Due::NoData(why.to_owned()))
}

fn presumed(rollout: &Rollout, member: &Member, now: u64) -> Option<Due> {
    let soak = soak_of(rollout, member);
    if is_heard_after(member, soak) && member.other_build.is_none() {
        return Some(Due::Confirmed);
    }
    let longest = soak.saturating_add(patience(rollout, member).max(MAX_WAIT));
    let is_due =
        rollout.spec.confirmed && member.failure.is_none() && after(member.ran_s, now) >= longest;
    let why = "ran the build, and was not heard after its soak to confirm it";
    is_due.then(|| Due::NoData(why.to_owned()))
}

fn is_heard_after(member: &Member, soak: u64) -> bool {
    let ended = member.ran_s.unwrap_or(0).saturating_add(soak);
    member.heard_s.is_some_and(|heard| heard >= ended)
}

fn after_stop(rollout: &Rollout, member: &Member, now: u64) -> Option<Due> {
    let is_settled = matches!(member.state, MemberState::Back | MemberState::Stranded);
    if !member.got_it() || is_settled || member.is_neutral() {
        return None;
    }
    let stopped = rollout.phase_s;
    let heard = member.heard_s.filter(|heard| *heard >= stopped);
    let quiet = now.saturating_sub(heard.unwrap_or(stopped));
    (quiet >= patience(rollout, member)).then_some(Due::Stranded)
}
