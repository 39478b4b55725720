//! The rules that pause or stop a rollout.

use super::{Action, RULES, Rates, Work};
use crate::config::OnStop;
use crate::rollouts::order::rounded_up;
use crate::rollouts::poisson::p_value;
use crate::store::rollouts::{Member, MemberState, Pause, Phase, Rollout, Rule};

/// Of the devices that the build was released to, percent: so many failures stop it.
const STOP_SHARE: f64 = 5.0;
/// After the canaries no single device stops a rollout.
const STOP_AT_LEAST: usize = 2;
/// A known bug that is worse now: how unlikely it is by chance, and in how many cases.
const UNLIKELY: f64 = 0.01;
const CASES_AT_LEAST: u64 = 3;

/// Failures that stop a rollout in the wave it is in.
pub(super) fn stops_at(rollout: &Rollout) -> usize {
    match rollout.is_canary_wave() {
        true => 1,
        false => STOP_AT_LEAST.max(rounded_up(rollout.released_members(), STOP_SHARE)),
    }
}

impl Work<'_> {
    /// Stops or pauses the rollout if devices failed.
    pub(super) fn judge(&mut self) {
        if !self.rollout.is_offering() {
            return;
        }
        let members = || self.rollout.members.iter().filter(|member| member.votes);
        let open = || members().filter(|member| is_open(member));
        // what a person accepted still counts when one more fails
        let stopping = || members().filter(|member| rule(member).is_some_and(Rule::stops));
        let is_new = open().any(|member| rule(member).is_some_and(Rule::stops));
        if is_new && stopping().count() >= stops_at(&self.rollout) {
            let why = reason(&self.rollout, stopping());
            let crash = stopping().find_map(|member| member.failure.as_ref()?.crash.clone());
            return self.stop(RULES, &why, crash);
        }
        if open().next().is_none() || self.rollout.paused.is_some() {
            return;
        }
        let why = match is_new {
            false => reason(&self.rollout, open()),
            true => {
                let stops = |member: &&Member| rule(member).is_some_and(Rule::stops);
                reason(&self.rollout, open().filter(stops))
            }
        };
        self.pause(RULES, &why);
    }

    /// Pauses because of known bugs that are worse than before. Whether it did.
    pub(super) fn is_worse(&mut self, rates: &Rates) -> bool {
        for group in &rates.groups {
            let p = p_value(
                group.target,
                rates.target_hours,
                group.base,
                rates.base_hours,
            );
            if group.target >= CASES_AT_LEAST && p < UNLIKELY {
                let why = format!(
                    "known crash {} \"{}\" happens more often: {} in {:.0} device-hours, {} in \
                     {:.0} with {} (p = {p:.4})",
                    group.group,
                    group.signature,
                    group.target,
                    rates.target_hours,
                    group.base,
                    rates.base_hours,
                    self.rollout.base.name,
                );
                // said once: who resumes knows of it
                let is_said = self.rollout.log.iter().any(|entry| {
                    entry
                        .what
                        .contains(&format!("known crash {} \"", group.group))
                        && entry.what.starts_with("paused")
                });
                if !is_said {
                    self.pause(RULES, &why);
                    return true;
                }
            }
        }
        false
    }

    /// No new offers until a person resumes it.
    pub(in crate::rollouts) fn pause(&mut self, by: &str, why: &str) {
        if !self.rollout.is_offering() {
            return;
        }
        if self.rollout.paused.is_some() {
            self.log(by, format!("also: {why}"), None);
            return;
        }
        self.rollout.paused = Some(Pause {
            why: why.to_owned(),
            by: by.to_owned(),
            at: self.now.wall.to_owned(),
        });
        self.log(by, format!("paused: {why}"), None);
        self.actions.push(Action::Paused {
            why: why.to_owned(),
        });
    }

    /// Nobody gets the target any more.
    pub(in crate::rollouts) fn stop(&mut self, by: &str, why: &str, crash: Option<String>) {
        self.rollout.why = Some(why.to_owned());
        self.rollout.paused = None;
        self.rollout.waiting.clear();
        self.rollout.effect_due = true;
        self.phase(Phase::Stopped);
        let stays = self.rollout.spec.on_stop == OnStop::Stay;
        for at in 0..self.rollout.members.len() {
            match self.state(at) {
                Some(MemberState::Eligible | MemberState::Offered) => {
                    self.set(at, MemberState::Held, "stopped before it got it");
                }
                Some(MemberState::Downloading) if stays => {
                    self.set(at, MemberState::Held, "its download was cut by the stop");
                }
                _ => {}
            }
        }
        self.log(by, format!("stopped: {why}"), None);
        if stays {
            // nobody is waited for
            self.rollout.ended_at = Some(self.now.wall.to_owned());
        }
        let why = why.to_owned();
        self.actions.push(Action::Stopped { why, crash });
    }
}

fn rule(member: &Member) -> Option<Rule> {
    member.failure.as_ref().map(|failure| failure.rule)
}

/// A failure that no person accepted yet.
fn is_open(member: &Member) -> bool {
    let is_new = member
        .failure
        .as_ref()
        .is_some_and(|failure| !failure.accepted);
    is_new && member.votes
}

/// Names of devices that are listed.
const NAMED: usize = 5;

/// `new crash c7k2fq "abort | app_main" on kitchen1 (canary, 1 of 2)`
fn reason<'a>(rollout: &Rollout, failed: impl Iterator<Item = &'a Member> + Clone) -> String {
    let why = failed.clone().find_map(|member| member.failure.as_ref());
    let why = why.map_or("", |failure| failure.why.as_str());
    let count = failed.clone().count();
    let of = rollout.released_members();
    let wave = match rollout.is_canary_wave() {
        true => String::from("canary"),
        false => format!("wave {}", rollout.released()),
    };
    format!("{why} on {} ({wave}, {count} of {of})", names(failed))
}

/// The first few, and how many more.
pub(super) fn names<'a>(members: impl Iterator<Item = &'a Member> + Clone) -> String {
    let more = members.clone().count().saturating_sub(NAMED);
    let first = members.take(NAMED).map(|member| member.device.as_str());
    let mut names: Vec<String> = first.map(str::to_owned).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}
