//! What follows from time alone: soaks that are over, devices that were not heard,
//! reservations and dumps that nobody waits for any longer.

use super::{Facts, RULES, Work};
use crate::rollouts::serve::{IDLE_DOWNLOAD, RESERVATION};
use crate::store::rollouts::{Failure, Member, MemberState, Phase, Rollout, Rule};

/// A dump is decoded within this time, or is never.
const DECODE_WITHIN: u64 = 300;
/// A device that has the image and is heard may wait for its night so long, seconds.
const MAX_WAIT: u64 = 24 * 3600;
/// After a stop devices have so long to come back, seconds.
const COME_BACK_WITHIN: u64 = 7 * 24 * 3600;

/// After so many seconds without a contact something may be wrong with a device.
pub(super) fn patience(rollout: &Rollout, member: &Member) -> u64 {
    let usual = member.usual_s.map_or(0, |usual| usual.saturating_mul(3));
    rollout.spec.return_within.max(usual)
}

impl Work<'_> {
    /// Takes the passing of time over.
    pub(super) fn time_passes(&mut self, facts: &Facts) {
        self.give_up_decoding();
        let is_stopped = self.rollout.phase == Phase::Stopped;
        // when half of the others are not heard either it is the network
        let is_network = facts.others_expected > 0
            && facts.others_missed.saturating_mul(2) >= facts.others_expected;
        for at in 0..self.rollout.members.len() {
            match is_stopped {
                true => self.come_back(at),
                false => self.member_time(at, is_network),
            }
        }
        if is_stopped {
            self.end_if_all_are_back();
        }
    }

    fn since(&self, s: Option<u64>) -> u64 {
        s.map_or(0, |s| self.now.s.saturating_sub(s))
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

    fn member_time(&mut self, at: usize, is_network: bool) {
        let Some(member) = self.rollout.members.get(at).cloned() else {
            return;
        };
        match member.state {
            MemberState::Offered if self.since(Some(member.since_s)) >= RESERVATION => {
                self.set(
                    at,
                    MemberState::Eligible,
                    "told of it, and did not fetch it",
                );
            }
            MemberState::Downloading if self.since(member.progress_s) >= IDLE_DOWNLOAD => {
                if let Some(member) = self.member(at) {
                    member.progress_s = None;
                }
            }
            MemberState::Eligible => self.eligible(at, &member),
            MemberState::Downloaded => self.downloaded(at, &member, is_network),
            MemberState::Running => self.running(at, &member),
            MemberState::Soaked if !member.confirmed => self.confirm(at, &member),
            _ => {}
        }
    }

    /// A device of a later wave that is heard and does not ask. Canaries are replaced.
    fn eligible(&mut self, at: usize, member: &Member) {
        let since = member.since_s;
        let is_heard = member.heard_s.is_some_and(|heard| heard >= since);
        let asks = member.asked_s.is_some_and(|asked| asked >= since);
        if !member.canary && is_heard && !asks && self.since(Some(since)) >= MAX_WAIT {
            self.no_data(
                at,
                "is heard, and does not ask for firmware: power-cycle it",
            );
        }
    }

    /// Whether the wall clock jumped within the last hour.
    pub(super) fn is_clock_unsure(&self) -> bool {
        let until = self.rollout.clock_unsure_until_s;
        until.is_some_and(|until| self.now.s < until)
    }

    fn downloaded(&mut self, at: usize, member: &Member, is_network: bool) {
        let since = self.since(member.delivered_s);
        if !member.heard_since {
            if since >= patience(&self.rollout, member) && !is_network {
                let minutes = since / 60;
                let why = format!("not heard for {minutes} min after the download");
                self.fail(at, MemberState::Lost, Rule::Lost, &why, None);
            }
        } else if since >= self.soak_of(member).max(MAX_WAIT) {
            self.no_data(at, "has the build, is heard, and is not known to run it");
        }
    }

    fn soak_of(&self, member: &Member) -> u64 {
        let spec = &self.rollout.spec;
        match member.canary {
            true => spec.canary_soak,
            false => spec.soak,
        }
    }

    fn running(&mut self, at: usize, member: &Member) {
        let soak = self.soak_of(member);
        let ran = self.since(member.ran_s);
        if ran < soak {
            return;
        }
        let ended = member.ran_s.unwrap_or(0).saturating_add(soak);
        let is_confirmed = member.heard_s.is_some_and(|heard| heard >= ended);
        let unheard = self.since(member.heard_s);
        let is_missed = member
            .usual_s
            .is_some_and(|usual| unheard >= usual.saturating_mul(3));
        let is_calm = !member.rebooted && member.known_crashes == 0 && !is_missed;
        if is_confirmed || is_calm {
            let evidence = match is_confirmed {
                true => "confirmed: heard after its soak",
                false => "presumed: seen on it, no crash and no boot since",
            };
            if let Some(member) = self.member(at) {
                member.confirmed = is_confirmed;
                member.failure = None;
            }
            self.set(at, MemberState::Soaked, evidence);
        } else if ran >= soak.saturating_add(patience(&self.rollout, member)) {
            self.no_data(at, "ran the build, and was not heard after its soak");
        }
    }

    fn confirm(&mut self, at: usize, member: &Member) {
        let soak = self.soak_of(member);
        let ended = member.ran_s.unwrap_or(0).saturating_add(soak);
        if member.heard_s.is_some_and(|heard| heard >= ended) {
            if let Some(member) = self.member(at) {
                member.confirmed = true;
                member.evidence = String::from("confirmed: heard after its soak");
            }
            self.is_decision = true;
        }
    }

    /// No data is not success.
    fn no_data(&mut self, at: usize, why: &str) {
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
        let device = member.device.clone();
        self.log(RULES, format!("{device} {why}"), Some(&device));
    }

    fn come_back(&mut self, at: usize) {
        let Some(member) = self.rollout.members.get(at).cloned() else {
            return;
        };
        if !member.got_it() || matches!(member.state, MemberState::Back | MemberState::Stranded) {
            return;
        }
        // a board that never ran the target runs what it ran before
        let heard = member
            .heard_s
            .filter(|heard| *heard >= self.rollout.phase_s);
        let quiet = self.since(Some(heard.unwrap_or(self.rollout.phase_s)));
        if quiet >= patience(&self.rollout, &member) {
            let why = "not heard since the stop";
            self.set(at, MemberState::Stranded, why);
            let device = member.device;
            self.log(RULES, format!("{device}: {why}"), Some(&device));
        }
    }

    fn end_if_all_are_back(&mut self) {
        let got_it = || {
            let members = self.rollout.members.iter();
            members.filter(|member| member.got_it())
        };
        let all = got_it().count();
        let back = got_it()
            .filter(|member| member.state == MemberState::Back)
            .count();
        let is_over = self.since(Some(self.rollout.phase_s)) >= COME_BACK_WITHIN;
        if back < all && !is_over {
            return;
        }
        self.rollout.ended_at = Some(self.now.wall.to_owned());
        let stranded = all - back;
        self.log(RULES, format!("ended: {back} back, {stranded} not"), None);
        self.actions.push(super::Action::Back { back, stranded });
    }
}
