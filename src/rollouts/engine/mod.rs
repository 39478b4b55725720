//! Rollouts meet the clock, the registers and the disk. What is decided here is decided by
//! [`super::evaluate`]; here it is told what happened, and what it decided is done.

mod automatic;
mod crashes;
mod effects;
mod facts;
mod observe;
mod show;
mod start;

pub use automatic::Automatic;
pub use start::{Plan, Refusal, Request};

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::build_id::BuildId;
use crate::clock::{self, Moment, iso8601};
use crate::config::Config;
use crate::crashes::Crashes;
use crate::device::{DeviceKey, ModelCode};
use crate::journal::chain;
use crate::store::registry::Device;
use crate::store::rollouts::{Member, MemberState, Phase, Rollout, Save};
use crate::store::{self, Store};

use super::by_person::{self, Command, Impossible};
use super::evaluate::{Action, Event, Facts, Now, Outcome, What, evaluate, wants_rates};
use super::serve::{Gets, Served, Why, goes_behind, places_taken, serve};
use super::{RunningDownloads, RunningUploads};

/// The name of a restore in logs.
const RESTORE: &str = "restore";
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

/// What a device does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    /// It wants to know the version.
    Version,
    /// It fetches the image.
    Image,
    /// It shows that it has the image.
    HasIt,
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

    /// How many more downloads all rollouts may have, beside those of `rollout`.
    fn free(&self, rollout: &Rollout) -> usize {
        let others = self.store.rollouts.all_latest();
        let others = others
            .iter()
            .filter(|other| other.id != rollout.id && other.is_offering());
        let taken: usize = others
            .map(|other| places_taken(other, self.clock_s(other)))
            .sum();
        let own = places_taken(rollout, self.clock_s(rollout));
        let allowed = self.config.borrow().rollouts.max_downloads;
        usize::try_from(allowed)
            .unwrap_or(usize::MAX)
            .saturating_sub(taken + own)
    }

    /// What the model's last rollout says a device gets if it asks for a version; `None` if it says nothing: then
    /// the model's active build counts.
    pub fn serves(&self, model: &ModelCode, device: &DeviceKey) -> Option<(Arc<Rollout>, Served)> {
        self.serves_for(model, device, Ask::Version)
    }

    fn serves_for(
        &self,
        model: &ModelCode,
        device: &DeviceKey,
        ask: Ask,
    ) -> Option<(Arc<Rollout>, Served)> {
        let rollout = self.store.rollouts.of_model(model)?;
        if !self.counts(&rollout) {
            return None;
        }
        let served = self.at(&rollout, |now| self.served(&rollout, device, ask, now));
        Some((rollout, served))
    }

    /// What a rollout gives a device that asks now. Whoever gives a place away by it holds
    /// the rollouts still: the places of all of them are counted.
    fn served(&self, rollout: &Rollout, device: &DeviceKey, ask: Ask, now: Now<'_>) -> Served {
        let served = serve(rollout, device, now, self.free(rollout));
        let is_new = matches!(served.why, Why::Eligible | Why::Offered);
        let is_promise = served.gets == Gets::Target && is_new && ask == Ask::Version;
        // a download is noted first, or does not begin
        if is_promise && self.store.rollouts.is_behind(&rollout.model) {
            return Served::base(Why::NotSaved);
        }
        match is_promise && served.why == Why::Eligible && goes_behind(rollout, device, now.s) {
            true => Served::base(Why::OthersFirst),
            false => served,
        }
    }

    /// Whether a rollout still decides what devices get: while it is live, at its end until
    /// its target is the active build, and after a stop that leaves devices where they are,
    /// until another build is active.
    fn counts(&self, rollout: &Rollout) -> bool {
        use crate::config::OnStop;
        if rollout.is_live() || rollout.effect_due {
            return true;
        }
        let stays = rollout.phase == Phase::Stopped && rollout.spec.on_stop == OnStop::Stay;
        let models = self.store.registry.models.read();
        let active = models.models.get(&rollout.model);
        let active = active.and_then(store::registry::Model::active_id);
        stays && active == Some(rollout.base.build_id)
    }

    /// A device asks, and what it gets is noted before it gets it. `named` is a build that
    /// it names itself or goes on with. `None` if no rollout says anything.
    ///
    /// # Errors
    /// What the disk says: it is served nothing by the rollout then.
    pub fn ask(
        &self,
        model: &ModelCode,
        device: &DeviceKey,
        ask: Ask,
        named: Option<BuildId>,
    ) -> store::Result<Option<(BuildId, Gets)>> {
        let Some((rollout, served)) = self.serves_for(model, device, ask) else {
            return Ok(None);
        };
        let wants_it = named.is_none_or(|named| named == rollout.target.build_id);
        let gets_it = served.gets == Gets::Target && wants_it;
        // who shows its ETag has it, whatever its wave
        let shows_it = ask == Ask::HasIt && wants_it;
        let told = (gets_it || shows_it).then_some(ask);
        if !rollout.is_live() || !self.is_news(&rollout, device, told) {
            return Ok(Some((rollout.target.build_id, served.gets)));
        }
        self.see(&rollout, device);
        if shows_it {
            let evidence = String::from("etag");
            let has_it = event(device, What::HasIt { evidence });
            self.tell(model, vec![has_it], &Facts::default());
        }
        let answer = self.change(model, |rollout, now| {
            let mut events = vec![event(device, What::Asked)];
            // somebody else may have got the last place meanwhile
            let served = self.served(rollout, device, ask, now);
            let gets_it = served.gets == Gets::Target && wants_it;
            match ask {
                Ask::Version if gets_it => events.push(event(device, What::Answered)),
                Ask::Image if gets_it => {
                    // of what it crashed with before its first download it was not served
                    let is_first = rollout.member(device).is_some_and(is_untouched);
                    if is_first {
                        let sequence = self.store.coredumps.last_sequence();
                        events.push(event(device, What::Judged { sequence }));
                    }
                    events.push(event(device, What::Began));
                }
                Ask::Version | Ask::Image | Ask::HasIt => {}
            }
            let outcome = evaluate(rollout, &events, &Facts::default(), now);
            let save = match (gets_it && ask == Ask::Image, outcome.is_decision) {
                (true, true) => Save::Must,
                // what was only promised is promised again after a restart
                (false, true) if ask == Ask::Version => Save::Later,
                (false, true) => Save::Try,
                (_, false) => Save::Later,
            };
            (outcome, save, (rollout.target.build_id, served.gets))
        })?;
        Ok(answer)
    }

    /// All of an image was delivered to a device.
    pub fn delivered(&self, model: &ModelCode, device: &DeviceKey, build: BuildId) {
        self.download(model, device, build, What::Delivered);
    }

    /// A download broke off after so many bytes of the image.
    pub fn broke_off(&self, model: &ModelCode, device: &DeviceKey, build: BuildId, offset: u64) {
        self.download(model, device, build, What::BrokeOff { offset });
    }

    /// The image does not fit a device.
    pub fn incompatible(&self, model: &ModelCode, device: &DeviceKey, build: BuildId, why: &str) {
        let why = why.to_owned();
        self.download(model, device, build, What::Incompatible { why });
    }

    fn download(&self, model: &ModelCode, device: &DeviceKey, build: BuildId, what: What) {
        let Some(rollout) = self.store.rollouts.live(model) else {
            return;
        };
        if rollout.member(device).is_none() {
            return;
        }
        let what = match what {
            what if rollout.target.build_id == build => what,
            What::Delivered if rollout.base.build_id == build => What::TookBase,
            _ => return,
        };
        // what it said before is from before
        self.see(&rollout, device);
        self.tell(model, vec![event(device, what)], &Facts::default());
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

    /// The downloads under way.
    pub fn downloads(&self) -> &RunningDownloads {
        &self.downloads
    }

    /// The uploads of dumps under way.
    pub fn uploads(&self) -> &RunningUploads {
        &self.uploads
    }

    /// Whether nobody may get a build any more: it is blocked, or its rollout was stopped.
    pub fn is_cut_off(&self, model: &ModelCode, build: BuildId) -> bool {
        let last = self.store.rollouts.of_model(model);
        let is_stopped = last.is_some_and(|last| {
            last.effect_due && last.phase == Phase::Stopped && last.target.build_id == build
        });
        let models = self.store.registry.models.read();
        let entry = models.models.get(model);
        is_stopped || entry.is_some_and(|entry| entry.is_blocked(build))
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

    /// A person's command.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn command(&self, id: &str, command: &Command, by: &str) -> Result<Arc<Rollout>, Error> {
        let not_found = || Error::NotFound(id.to_owned());
        let rollout = self.store.rollouts.get(id)?.ok_or_else(not_found)?;
        let model = rollout.model.clone();
        if *command == Command::Resume && self.is_held(&model) {
            return Err(Refusal::Held(model).into());
        }
        let changed = self.store.rollouts.change(&model, |last| {
            let outcome = match last.id == rollout.id {
                true => self.at(last, |now| by_person::apply(last, command, by, now)),
                // an older one of the model
                false => Err(Impossible::Ended(rollout.id.clone())),
            };
            Some(match outcome {
                Ok(outcome) => {
                    // what people hold back is held back, whatever the disk says
                    let save = match command {
                        Command::Pause { .. } | Command::Stop { .. } => Save::Try,
                        _ => Save::Must,
                    };
                    let after = outcome.rollout;
                    (after.clone(), save, Ok((after, outcome.actions)))
                }
                Err(error) => (last.clone(), Save::Later, Err(error)),
            })
        })?;
        let (after, actions) = changed.ok_or_else(not_found)??;
        self.follow(&after, &actions);
        self.store.rollouts.get(id)?.ok_or_else(not_found)
    }

    /// What is due once a second.
    pub fn tick(&self) {
        self.look_at_clock();
        for rollout in self.store.rollouts.all_latest() {
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

    /// A person blocked a build: its downloads end, and a rollout of it is stopped.
    pub fn was_blocked(&self, model: &ModelCode, build: BuildId, why: Option<&str>, by: &str) {
        self.downloads.cut(build);
        let live = self.store.rollouts.live(model);
        let Some(rollout) = live.filter(|live| live.is_offering()) else {
            return;
        };
        if rollout.target.build_id == build {
            let why = match why {
                Some(why) => format!("{by} blocked it: {why}"),
                None => format!("{by} blocked it"),
            };
            self.command_or_log(&rollout, &Command::Stop { why }, by);
        }
    }

    /// A person held a model: its rollout is paused.
    pub fn was_held(&self, model: &ModelCode, by: &str) {
        let live = self.store.rollouts.live(model);
        if let Some(rollout) = live.filter(|live| live.is_offering() && live.paused.is_none()) {
            self.command_or_log(&rollout, &Command::Pause { why: None }, by);
        }
    }

    fn is_held(&self, model: &ModelCode) -> bool {
        let models = self.store.registry.models.read();
        models.models.get(model).is_some_and(|model| model.held)
    }

    fn command_or_log(&self, rollout: &Rollout, command: &Command, by: &str) {
        if let Err(error) = self.command(&rollout.id, command, by) {
            log::error!("rollout {}: {}", rollout.id, chain(&error));
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

    /// After a restore everything waits for a person: what happened since the backup is not
    /// known here.
    pub fn pause_all(&self, why: &str) {
        for rollout in self.store.rollouts.all_latest() {
            // what was stopped gives nothing away
            if rollout.is_offering() {
                let why = Some(why.to_owned());
                self.command_or_log(&rollout, &Command::Pause { why }, RESTORE);
            }
        }
    }
}

/// Whether no download of the target to a device came far.
fn is_untouched(member: &Member) -> bool {
    !member.got_it() && member.broke_off.is_empty() && member.progress_s.is_none()
}

fn event(device: &DeviceKey, what: What) -> Event {
    Event {
        device: device.clone(),
        what,
    }
}
