//! What a rollout does next: one pure function of what it is, what happened and the time.
//! No clock, no disk and no network: a simulated fleet drives it in tests.

mod advance;
mod crashed;
mod event;
mod happened;
mod other_build;
mod passing_time;
mod takes_part;
#[cfg(test)]
mod tests;
mod verdict;

pub use event::{Crash, Event, What};

use std::collections::HashMap;

use crate::device::DeviceKey;
use crate::store::rollouts::{LogEntry, Member, MemberState, Phase, Rollout};

/// The name of the rules in logs.
pub const RULES: &str = "rules";
/// Entries of a log that are kept.
const MAX_LOG: usize = 1000;
/// For fewer events no index of the members is worth while.
const FEW: usize = 32;

/// The time.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// On the rollout's own clock, seconds.
    pub s: u64,
    /// ISO 8601, UTC.
    pub wall: &'a str,
    /// Minutes after midnight, local time.
    pub minute: u16,
}

/// What else is known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether the next two were counted. Nobody is taken for lost before.
    pub others_known: bool,
    /// Devices outside of the wave that is being updated whose usual contact fell in the last
    /// `return_within`, and how many of them were not heard.
    pub others_expected: u32,
    pub others_missed: u32,
    /// How often known bugs happen. Needed if [`wants_rates`] says so.
    pub rates: Option<Rates>,
}

/// Crashes of known groups on the target and on the base.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    pub target_hours: f64,
    pub base_hours: f64,
    pub groups: Vec<GroupRate>,
}

/// One group.
#[derive(Clone, Debug)]
pub struct GroupRate {
    pub group: String,
    pub signature: String,
    pub target: u64,
    pub base: u64,
}

/// What others must be told. What must be so at the end (the target of a stopped rollout is
/// blocked, that of a finished one is active) follows from the rollout itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Wave `number`, counted from 1, is released to so many more devices.
    Wave {
        number: usize,
        devices: usize,
    },
    DeviceFailed {
        device: DeviceKey,
        why: String,
        crash: Option<String>,
    },
    Paused {
        why: String,
    },
    Stopped {
        why: String,
        crash: Option<String>,
    },
    /// After a stop all devices that got the target run another build again, or the time
    /// for that is over.
    Back {
        back: usize,
        stranded: usize,
    },
    Done,
}

/// The rollout afterwards.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub rollout: Rollout,
    pub actions: Vec<Action>,
    /// Whether more changed than what is known again after a restart: it must be saved
    /// before anything is done by it.
    pub is_decision: bool,
}

/// What happens next. Events of one device are in the order in which they happened; of one
/// request or banner `Booted` comes before what it says of the build.
pub fn evaluate(before: &Rollout, events: &[Event], facts: &Facts, now: Now<'_>) -> Outcome {
    evaluate_owned(before.clone(), events, facts, now)
}

/// As [`evaluate`], without a copy of the rollout, which costs most of the time.
pub fn evaluate_owned(before: Rollout, events: &[Event], facts: &Facts, now: Now<'_>) -> Outcome {
    if !before.is_live() {
        return Outcome {
            rollout: before,
            actions: Vec::new(),
            is_decision: false,
        };
    }
    let mut work = Work::on(before, now);
    work.take_over(events);
    work.time_passes(facts);
    work.judge();
    work.go_on(facts);
    work.done()
}

/// Whether the next evaluation may end a wave, for which the rates of known bugs count.
pub fn wants_rates(rollout: &Rollout) -> bool {
    let is_over = || {
        let last = rollout.released().checked_sub(1);
        let wave = last.and_then(|last| rollout.waves.get(last));
        wave.is_some_and(|wave| wave.over_at.is_some())
    };
    rollout.is_offering()
        && rollout.paused.is_none()
        && rollout.waiting.is_empty()
        && !is_over()
        && advance::is_wave_full(rollout)
}

/// A rollout while it is evaluated.
pub(super) struct Work<'a> {
    pub(super) rollout: Rollout,
    pub(super) actions: Vec<Action>,
    pub(super) is_decision: bool,
    pub(super) now: Now<'a>,
}

impl<'a> Work<'a> {
    pub(super) fn new(before: &Rollout, now: Now<'a>) -> Self {
        Self::on(before.clone(), now)
    }

    fn on(mut rollout: Rollout, now: Now<'a>) -> Self {
        rollout.clock_s = rollout.clock_s.max(now.s);
        Self {
            rollout,
            actions: Vec::new(),
            is_decision: false,
            now,
        }
    }

    fn take_over(&mut self, events: &[Event]) {
        let places: HashMap<DeviceKey, usize> = match events.len() {
            0..FEW => HashMap::new(),
            _ => {
                let members = self.rollout.members.iter().enumerate();
                members.map(|(at, one)| (one.device.clone(), at)).collect()
            }
        };
        for event in events {
            let at = match places.is_empty() {
                true => happened::place(&self.rollout.members, &event.device),
                false => places.get(&event.device).copied(),
            };
            if let Some(at) = at {
                self.happened(at, event);
            }
        }
    }

    pub(super) fn done(mut self) -> Outcome {
        // how it began is kept
        let surplus = self.rollout.log.len().saturating_sub(MAX_LOG);
        if surplus > 0 {
            self.rollout.log.drain(1..=surplus);
        }
        Outcome {
            rollout: self.rollout,
            actions: self.actions,
            is_decision: self.is_decision,
        }
    }

    /// Notes a decision.
    pub(super) fn log(&mut self, by: &str, what: String, device: Option<&DeviceKey>) {
        self.is_decision = true;
        self.rollout.log.push(LogEntry {
            at: self.now.wall.to_owned(),
            by: by.to_owned(),
            what,
            device: device.cloned(),
        });
    }

    pub(super) fn phase(&mut self, phase: Phase) {
        self.rollout.phase = phase;
        self.rollout.phase_s = self.now.s;
        self.is_decision = true;
    }

    /// Changes a member's state. Does nothing if it is in that state.
    pub(super) fn set(&mut self, at: usize, state: MemberState, evidence: &str) {
        let (now, wall) = (self.now.s, self.now.wall);
        let Some(member) = self.rollout.members.get_mut(at) else {
            return;
        };
        if member.state == state {
            return;
        }
        member.state = state;
        member.since_s = now;
        wall.clone_into(&mut member.at);
        evidence.clone_into(&mut member.evidence);
        self.is_decision = true;
    }

    pub(super) fn member(&mut self, at: usize) -> Option<&mut Member> {
        self.rollout.members.get_mut(at)
    }
}

/// Whether a member in a released wave, not before.
pub(super) fn is_released(rollout: &Rollout, at: usize) -> bool {
    at < rollout.released_members()
}
