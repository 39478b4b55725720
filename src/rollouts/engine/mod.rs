//! Rollouts meet the clock, the registers and the disk. What is decided here is decided by
//! [`super::evaluate`]; here it is told what happened, and what it decided is done.

mod asking;
mod automatic;
mod commands;
mod crashes;
mod effects;
mod facts;
mod observe;
mod show;
mod start;

pub use asking::Ask;
pub use automatic::Automatic;
pub use start::{Plan, Refusal, Request};

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::clock::{self, Moment, iso8601};
use crate::config::Config;
use crate::crashes::Crashes;
use crate::device::{DeviceKey, ModelCode};
use crate::journal::chain;
use crate::store::registry::Device;
use crate::store::rollouts::{MemberState, Phase, Rollout, Save};
use crate::store::{self, Store};

use super::by_person::Impossible;
use super::evaluate::{Action, Event, Facts, Now, Outcome, What, evaluate, wants_rates};
use super::{RunningDownloads, RunningUploads};

/// A step of the wall clock beyond this is a jump, seconds.
const JUMP: i128 = 300;
/// A device that asks at boot only is made to boot if it does not ask within this time,
/// seconds.
const ASKS_WITHIN: u64 = 60;
/// Its clock is saved every so many seconds, if nothing else is.
const CLOCK_SAVED: u64 = 300;
/// After a jump nothing is offered for this time, seconds.
const UNSURE: u64 = 3600;

/// The rollouts of the gateway. All methods block.
#[derive(Debug)]
pub struct Rollouts {
    store: Arc<Store>,
    crashes: Arc<Crashes>,
    config: watch::Receiver<Arc<Config>>,
    downloads: RunningDownloads,
    uploads: RunningUploads,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// What was seen last of each device of a live rollout.
    seen: HashMap<DeviceKey, Arc<Device>>,
    /// Devices that were made to boot, or could not be, by rollout.
    nudged: HashSet<(String, DeviceKey)>,
    /// The clocks at the last tick, or at the start.
    last: Option<Moment>,
    /// Seconds since the start of the daemon, and what of them each rollout's clock has.
    clocks: HashMap<String, Clock>,
}

/// A rollout's own clock: what it stood at when the daemon began to run it.
#[derive(Clone, Copy, Debug)]
struct Clock {
    base_s: u64,
    since_us: u64,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Rollout {0} was not found")]
    NotFound(String),
    #[error(transparent)]
    Impossible(#[from] Impossible),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Rollouts {
    /// The rollouts in `store`.
    pub fn new(
        store: Arc<Store>,
        crashes: Arc<Crashes>,
        config: watch::Receiver<Arc<Config>>,
    ) -> Self {
        Self {
            store,
            crashes,
            config,
            downloads: RunningDownloads::default(),
            uploads: RunningUploads::default(),
            memory: Mutex::new(Memory {
                last: Some(Moment::now()),
                ..Memory::default()
            }),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds on a rollout's own clock.
    fn clock_s(&self, rollout: &Rollout) -> u64 {
        let now_us = clock::monotonic_us();
        let mut memory = self.memory();
        let clock = memory.clocks.entry(rollout.id.clone()).or_insert(Clock {
            base_s: rollout.clock_s,
            since_us: now_us,
        });
        clock.base_s + now_us.saturating_sub(clock.since_us) / 1_000_000
    }

    /// Does something at the present time of a rollout.
    fn at<R>(&self, rollout: &Rollout, work: impl FnOnce(Now<'_>) -> R) -> R {
        let wall = clock::wall();
        let text = iso8601(wall);
        work(Now {
            s: self.clock_s(rollout),
            wall: &text,
            minute: clock::local_minute(wall),
        })
    }

    /// Takes over what the register knows of one device by now.
    fn see(&self, rollout: &Rollout, device: &DeviceKey) {
        let events = self.observe(rollout, Some(device));
        if !events.is_empty() {
            self.tell(&rollout.model, events, &Facts::default());
        }
    }

    fn tell(&self, model: &ModelCode, events: Vec<Event>, facts: &Facts) {
        let told = self.change(model, |rollout, now| {
            let outcome = evaluate(rollout, &events, facts, now);
            // how far its clock went is not lost altogether by a power cut
            let is_due = outcome.rollout.clock_s / CLOCK_SAVED > rollout.clock_s / CLOCK_SAVED;
            let save = match outcome.is_decision || is_due {
                true => Save::Try,
                false => Save::Later,
            };
            (outcome, save, ())
        });
        if let Err(error) = told {
            log::warn!("a rollout of {model} was not changed: {}", chain(&error));
        }
    }

    /// Changes the live rollout of a model, and does what follows.
    fn change<R>(
        &self,
        model: &ModelCode,
        change: impl FnOnce(&Rollout, Now<'_>) -> (Outcome, Save, R),
    ) -> store::Result<Option<R>> {
        let changed = self.store.rollouts.change(model, |rollout| {
            if !rollout.is_live() {
                return None;
            }
            let (outcome, save, answer) = self.at(rollout, |now| change(rollout, now));
            let actions = outcome.actions;
            let after = outcome.rollout;
            Some((after.clone(), save, (after, actions, answer)))
        })?;
        let Some((rollout, actions, answer)) = changed else {
            return Ok(None);
        };
        self.follow(&rollout, &actions);
        Ok(Some(answer))
    }

    fn follow(&self, rollout: &Rollout, actions: &[Action]) {
        if rollout.effect_due && rollout.phase == Phase::Stopped {
            self.downloads.cut(rollout.target.build_id);
        }
        for action in actions {
            effects::say(rollout, action);
        }
        if rollout.effect_due {
            self.settle(&rollout.model);
        }
    }

    /// What is due once a second.
    pub fn tick(&self) {
        self.look_at_clock();
        let latest = self.store.rollouts.all_latest();
        if !latest.iter().any(|rollout| rollout.is_live()) {
            // devices that are held here are copied when they change
            let mut memory = self.memory();
            memory.seen.clear();
            memory.nudged.clear();
        }
        for rollout in latest {
            if rollout.effect_due {
                self.settle(&rollout.model);
            }
            if rollout.is_live() {
                self.go_on(&rollout);
            }
            if self.store.rollouts.is_behind(&rollout.model) {
                self.save_again(&rollout);
            }
        }
    }

    fn go_on(&self, rollout: &Rollout) {
        let events = self.observe(rollout, None);
        let facts = self.facts(rollout, wants_rates(rollout));
        self.tell(&rollout.model, events, &facts);
    }

    /// The disk failed; it may be better now.
    fn save_again(&self, rollout: &Rollout) {
        let again = |before: &Rollout| Some((before.clone(), Save::Try, ()));
        if let Err(error) = self.store.rollouts.change(&rollout.model, again) {
            log::warn!("rollout {} is not saved: {}", rollout.id, chain(&error));
        }
    }

    /// Devices that may get a target and do not ask for it: once each.
    pub fn not_asking(&self) -> Vec<DeviceKey> {
        let mut found = Vec::new();
        for rollout in self.store.rollouts.all_latest() {
            if !rollout.is_offering() || rollout.paused.is_some() {
                continue;
            }
            let now = self.clock_s(&rollout);
            let mut memory = self.memory();
            for member in &rollout.members {
                let asks = member.asked_s.is_some_and(|asked| asked >= member.since_s);
                let is_late = now.saturating_sub(member.since_s) >= ASKS_WITHIN;
                if member.state != MemberState::Eligible || asks || !is_late {
                    continue;
                }
                let offer = (rollout.id.clone(), member.device.clone());
                if memory.nudged.insert(offer) {
                    found.push(member.device.clone());
                }
            }
        }
        found
    }

    /// A step of the wall clock: windows and dates mean something else now.
    fn look_at_clock(&self) {
        let now = Moment::now();
        let Some(before) = self.memory().last.replace(now.clone()) else {
            return;
        };
        let wall = (now.wall - before.wall).whole_seconds();
        let passed = now.monotonic_us.saturating_sub(before.monotonic_us) / 1_000_000;
        if (i128::from(wall) - i128::from(passed)).abs() <= JUMP {
            return;
        }
        self.store.clock_jump.note();
        for rollout in self.store.rollouts.all_latest() {
            let until = self.clock_s(&rollout).saturating_add(UNSURE);
            let unsure = |before: &Rollout| {
                before.is_offering().then(|| {
                    let mut next = before.clone();
                    next.clock_unsure_until_s = Some(until);
                    (next, Save::Try, ())
                })
            };
            match self.store.rollouts.change(&rollout.model, unsure) {
                Ok(_) => {}
                Err(error) => log::warn!("rollout {}: {}", rollout.id, chain(&error)),
            }
        }
    }

    /// At the start of the daemon: what was under way when it ended.
    pub fn resume_all(&self) {
        for rollout in self.store.rollouts.all_latest() {
            if !rollout.is_live() {
                continue;
            }
            let members = rollout.members.iter();
            let interrupted = members.filter(|member| member.state == MemberState::Downloading);
            let events: Vec<Event> = interrupted
                .map(|member| event(&member.device, What::Interrupted))
                .collect();
            self.tell(&rollout.model, events, &Facts::default());
        }
    }
}

fn event(device: &DeviceKey, what: What) -> Event {
    Event {
        device: device.clone(),
        what,
    }
}
