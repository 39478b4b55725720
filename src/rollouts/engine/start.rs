//! The start of a rollout: what is refused, what is warned of, and who is in it.

use super::{Error, Rollouts};
use crate::clock::{self, Moment, iso8601};
use crate::device::{DeviceKey, ModelCode};
use crate::fleet::contacts;
use crate::fleet::evidence::Kind;
use crate::journal::Event;
use crate::rollouts::evaluate::{Now, Work};
use crate::rollouts::order::{self, Canaries, Candidate, may_vote};
use crate::rollouts::spec::shown;
use crate::store::firmware::Build;
use crate::store::registry::Device;
use crate::store::rollouts::{Member, MemberState, NamedBuild, Phase, Rollout, Spec};
use std::sync::Arc;

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct Request {
    pub model: ModelCode,
    pub target: Build,
    pub canaries: Canaries,
    pub spec: Spec,
    /// A target that the base cannot replace again is wanted.
    pub no_way_back: bool,
    pub by: String,
}

/// Why a rollout is not started.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("Rollout {0} of this model is running: stop or cancel it first")]
    Running(String),
    #[error("Model {0} is held: unhold it first")]
    Held(ModelCode),
    #[error("Model {0} has no active firmware to go back to: activate one first")]
    NoBase(ModelCode),
    #[error("Firmware {0} is active already")]
    IsActive(String),
    #[error(
        "Firmware {0} has the same version as the active one: devices compare versions, and would \
         not fetch it"
    )]
    SameVersion(String),
    #[error("Firmware {0} is blocked: unblock it first")]
    Blocked(String),
    #[error("Firmware {target} is for {target_chip}, the active one is for {base_chip}")]
    OtherChip {
        target: String,
        target_chip: String,
        base_chip: String,
    },
    #[error(
        "Firmware {target} has secure_version {new}, the active one {old}: boards that ran it \
         cannot go back (--no-way-back allows it)"
    )]
    NoWayBack { target: String, new: u32, old: u32 },
    #[error(transparent)]
    Order(#[from] order::Impossible),
}

/// What would happen.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rollout: Rollout,
    /// One sentence each.
    pub warnings: Vec<String>,
}

impl Rollouts {
    /// What a start would do.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Store`].
    pub fn plan(&self, request: &Request) -> Result<Plan, Error> {
        let base = self.base_of(request)?;
        let devices = self.store.registry.devices.read();
        let registered: Vec<(&DeviceKey, &Device)> = devices
            .of_model(&request.model)
            .filter(|(_, device)| device.registered && !device.is_retired())
            .collect();
        let candidates = registered
            .iter()
            .map(|(key, device)| candidate(key, device, &request.target, &base));
        let (ordered, canaries) =
            order::order(candidates.collect(), &request.canaries).map_err(Refusal::from)?;
        let now = iso8601(Moment::now().wall);
        let members: Vec<Member> = ordered
            .iter()
            .enumerate()
            .map(|(at, one)| {
                let device = devices.get(&one.device);
                Member {
                    // dumps of earlier trials are none of this rollout
                    judged_to: self.store.coredumps.last_sequence(),
                    ..member(one, at < canaries, device, &request.target, &now)
                }
            })
            .collect();
        let waves = order::waves(members.len(), canaries, &request.spec.waves);
        let target = &request.target;
        let rollout = Rollout {
            target_version: target.version.to_string(),
            has_symbols: target.elf_sha256.is_some(),
            started_by: request.by.clone(),
            ..Rollout::planned(
                request.model.clone(),
                named(target),
                named(&base),
                request.spec.clone(),
                members,
                waves,
                &now,
            )
        };
        let mut warnings = warnings(&rollout, &registered);
        if let Canaries::Count(wanted) = request.canaries
            && canaries < wanted
        {
            warnings.push(format!(
                "{canaries} of {wanted} canaries: at most half of the devices that can be one are \
                 chosen; name more (--canary KEY,KEY)"
            ));
        }
        Ok(Plan { rollout, warnings })
    }

    /// The build that devices get until the end, and after a stop.
    fn base_of(&self, request: &Request) -> Result<Build, Error> {
        let (model, target) = (&request.model, &request.target);
        let name = || target.name.clone();
        if let Some(live) = self.store.rollouts.live(model)
            && live.phase != Phase::Stopped
        {
            return Err(Refusal::Running(live.id.clone()).into());
        }
        let models = self.store.registry.models.read();
        let entry = models.models.get(model).cloned().unwrap_or_default();
        let active = entry.active_id();
        let base = active
            .map(|id| self.store.firmware.get(model, id))
            .transpose()?;
        let Some(base) = base.flatten().filter(|base| !entry.is_blocked(base.id())) else {
            return Err(Refusal::NoBase(model.clone()).into());
        };
        let refusal = if entry.held {
            Refusal::Held(model.clone())
        } else if base.id() == target.id() {
            Refusal::IsActive(name())
        } else if base.version == target.version {
            Refusal::SameVersion(name())
        } else if entry.is_blocked(target.id()) {
            Refusal::Blocked(name())
        } else if let Some((target_chip, base_chip)) = other_chip(target, &base) {
            Refusal::OtherChip {
                target: name(),
                target_chip,
                base_chip,
            }
        } else if target.secure_version > base.secure_version && !request.no_way_back {
            Refusal::NoWayBack {
                target: name(),
                new: target.secure_version,
                old: base.secure_version,
            }
        } else {
            return Ok(base);
        };
        Err(refusal.into())
    }

    /// Starts a rollout: it is on the disk when this returns.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn start(&self, request: &Request) -> Result<(Arc<Rollout>, Vec<String>), Error> {
        // nobody activates or removes a build meanwhile
        let _decision = self.store.firmware.decision();
        let plan = self.plan(request)?;
        let wall = iso8601(Moment::now().wall);
        let now = Now {
            s: 0,
            wall: &wall,
            minute: clock::local_minute(clock::wall()),
        };
        let mut work = Work::new(&plan.rollout, now);
        let rollout = &plan.rollout;
        let started = format!(
            "started: {} of {} to {} devices, base {}",
            rollout.target.name,
            rollout.model,
            rollout.members.len(),
            rollout.base.name
        );
        work.log(&request.by, started, None);
        work.release_next(&request.by);
        let outcome = work.done();
        // one that was stopped ends with what it has
        self.supersede(&request.model, &request.by)?;
        let begun = self
            .store
            .rollouts
            .begin(outcome.rollout, |last| match last {
                Some(last) if last.is_live() => Err(Refusal::Running(last.id.clone())),
                _ => Ok(()),
            })??;
        Event::RolloutStarted
            .entry()
            .model(&begun.model)
            .version(&begun.target.name)
            .maybe("ROLLOUT", Some(&begun.id))
            .say(format_args!(
                "{} started rollout {} of {} {}: {} devices in {} waves, {} canaries, base {}",
                request.by,
                begun.id,
                begun.model,
                begun.target.name,
                begun.members.len(),
                begun.waves.len(),
                begun.waves.first().map_or(0, |wave| wave.members),
                begun.base.name
            ));
        self.follow(&begun, &outcome.actions);
        Ok((begun, plan.warnings))
    }

    fn supersede(&self, model: &ModelCode, by: &str) -> Result<(), Error> {
        let wall = iso8601(Moment::now().wall);
        self.store.rollouts.change(model, |before| {
            (before.is_live() && before.phase == Phase::Stopped).then(|| {
                let now = Now {
                    s: before.clock_s,
                    wall: &wall,
                    minute: 0,
                };
                let mut work = Work::new(before, now);
                work.log(by, String::from("ended: another rollout was started"), None);
                let mut next = work.done().rollout;
                next.ended_at = Some(wall.clone());
                (next, crate::store::rollouts::Save::Must, ())
            })
        })?;
        Ok(())
    }
}

fn named(build: &Build) -> NamedBuild {
    NamedBuild {
        build_id: build.id(),
        name: build.name.clone(),
    }
}

fn other_chip(target: &Build, base: &Build) -> Option<(String, String)> {
    let chips = target.chip.clone().zip(base.chip.clone());
    chips.filter(|(target, base)| target != base)
}

fn candidate(key: &DeviceKey, device: &Device, target: &Build, base: &Build) -> Candidate {
    let now = clock::wall();
    let created = clock::parse(&device.created_at);
    let days = created.map_or(0, |created| (now - created).whole_days());
    let was_updated = device
        .builds
        .iter()
        .filter(|seen| seen.certainty.is_some())
        .count()
        > 1;
    let heard = device.last_seen.as_deref().and_then(clock::parse);
    let unheard = heard.map(|heard| (now - heard).whole_seconds().max(0));
    Candidate {
        device: key.clone(),
        hw: device.hw.clone(),
        votes: may_vote(
            device.fleet_token.is_none(),
            u64::try_from(days).unwrap_or(0),
            was_updated,
        ),
        is_neutral: device.pin.is_some() || has_it(device, target) || is_elsewhere(device, base),
        is_regular: contacts::usual_interval(&device.contacts).is_some(),
        unheard: unheard.and_then(|seconds| u64::try_from(seconds).ok()),
    }
}

/// Whether a device runs another build than the one that all should run now: something is
/// wrong with it before the rollout begins.
fn is_elsewhere(device: &Device, base: &Build) -> bool {
    let running = device.running.as_ref();
    let build = running.and_then(|running| running.build_id);
    build.is_some_and(|build| build != base.id())
}

fn has_it(device: &Device, target: &Build) -> bool {
    let running = device.running.as_ref();
    // a download that broke off early looks like a client that compared and hung up
    running.is_some_and(|running| {
        running.build_id == Some(target.id()) && running.from != Kind::HangUp.as_str()
    })
}

fn member(
    one: &Candidate,
    canary: bool,
    device: Option<&Device>,
    target: &Build,
    now: &str,
) -> Member {
    let is_pinned = device.is_some_and(|device| device.pin.is_some());
    let (state, evidence) = match device {
        Some(_) if is_pinned => (MemberState::Pinned, "pinned"),
        Some(device) if has_it(device, target) => (MemberState::HasIt, "runs it already"),
        _ => (MemberState::Held, "its wave is not released"),
    };
    Member {
        usual_s: device.and_then(|device| contacts::usual_interval(&device.contacts)),
        ..Member::new(
            one.device.clone(),
            state,
            evidence,
            now,
            canary,
            one.votes,
            one.hw.clone(),
        )
    }
}

fn warnings(rollout: &Rollout, devices: &[(&DeviceKey, &Device)]) -> Vec<String> {
    let mut warnings = Vec::new();
    if !rollout.has_symbols {
        warnings.push(String::from(
            "no ELF is stored for this build: new crashes only pause the rollout, since they \
             cannot be told apart for sure",
        ));
    }
    let intervals = devices
        .iter()
        .map(|(_, device)| contacts::usual_interval(&device.contacts));
    let (known, unknown): (Vec<_>, Vec<_>) = intervals.partition(Option::is_some);
    if !unknown.is_empty() {
        warnings.push(format!(
            "{} of {} devices are not known for long enough to tell how often they ask",
            unknown.len(),
            devices.len()
        ));
    }
    let slowest = known.into_iter().flatten().max();
    if let Some(slowest) = slowest.filter(|slowest| *slowest > rollout.spec.soak) {
        warnings.push(format!(
            "some devices are heard only every {}, longer than the soak ({})",
            shown(slowest),
            shown(rollout.spec.soak)
        ));
    }
    let mute = rollout
        .members
        .iter()
        .filter(|member| !member.votes)
        .count();
    if mute > 0 {
        warnings.push(format!(
            "{mute} devices are known by a fleet token alone: what happens to them stops nothing"
        ));
    }
    warnings
}
