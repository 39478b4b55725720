//! What follows from a decision: the journal, a blocked build, another active build.

use std::convert::Infallible;

use super::Rollouts;
use crate::clock::{Moment, iso8601};
use crate::config::OnStop;
use crate::device::ModelCode;
use crate::journal::{self, Event, chain};
use crate::rollouts::evaluate::{Action, RULES};
use crate::store;
use crate::store::rollouts::{Member, MemberState, Phase, Rollout, Save};

/// Writes the event of an action.
pub(super) fn say(rollout: &Rollout, action: &Action) {
    let (id, model) = (&rollout.id, &rollout.model);
    let (target, base) = (&rollout.target.name, &rollout.base.name);
    let entry = |event: Event| -> journal::Entry {
        let entry = event.entry().model(model).version(target);
        entry.maybe("ROLLOUT", Some(id))
    };
    match action {
        Action::Wave { number, devices } => {
            let what = match number {
                1 => format!("{devices} canaries"),
                _ => format!("wave {number}, {devices} more devices"),
            };
            entry(Event::RolloutWave).say(format_args!(
                "rollout {id} of {model} {target}: released to {what}"
            ));
        }
        Action::DeviceFailed { device, why, crash } => entry(Event::RolloutDeviceFailed)
            .device(device)
            .maybe("CRASH", crash.as_ref())
            .say(format_args!(
                "rollout {id} of {model} {target}: {device} failed: {why}"
            )),
        Action::Paused { why } => entry(Event::RolloutPaused).say(format_args!(
            "rollout {id} of {model} {target} is paused: {why}"
        )),
        Action::Stopped { why, crash } => entry(Event::RolloutStopped)
            .maybe("CRASH", crash.as_ref())
            .say(format_args!(
                "rollout {id} of {model} {target} is stopped: {why}; {}",
                match rollout.spec.on_stop {
                    OnStop::Back => format!("devices go back to {base}"),
                    OnStop::Stay => String::from("devices that got it keep it"),
                }
            )),
        Action::Back { back, stranded } => entry(Event::RolloutBack).say(format_args!(
            "rollout {id} of {model} {target} has ended: {back} devices are back, {stranded} are not"
        )),
        Action::Done => entry(Event::RolloutDone).say(format_args!(
            "rollout {id} of {model} is done: {target} is active"
        )),
    }
}

/// Whether a device would fail again with the target, once that is active.
fn fails_again(member: &Member) -> bool {
    use MemberState::{Crashed, Incompatible, Looping, Refused, Reverted};
    matches!(
        member.state,
        Crashed | Looping | Reverted | Refused | Incompatible
    )
}

impl Rollouts {
    /// At the end of a good rollout: pins the devices that failed to the base, since the
    /// active build is about to be the one that they failed with.
    fn keep_failed(&self, rollout: &Rollout) -> store::Result<()> {
        let failed = rollout.members.iter().filter(|member| fails_again(member));
        let failed: Vec<&Member> = failed.collect();
        if failed.is_empty() || rollout.phase != Phase::Done {
            return Ok(());
        }
        let base = &rollout.base;
        let pinned = self.store.registry.devices.change(|devices| {
            let mut pinned = Vec::new();
            for member in failed {
                let device = devices.get_mut(&member.device);
                if let Some(device) = device.filter(|device| device.pin.is_none()) {
                    device.pin = Some(base.build_id.into());
                    pinned.push(member);
                }
            }
            Ok::<_, Infallible>(pinned)
        })?;
        for member in pinned.unwrap_or_else(|never| match never {}) {
            let entry = Event::DeviceChanged.entry().at(log::Level::Warn);
            entry
                .device(&member.device)
                .model(&rollout.model)
                .maybe("ROLLOUT", Some(&rollout.id))
                .say(format_args!(
                    "device {} is pinned to {}: {} is active now, and it failed there ({})",
                    member.device, base.name, rollout.target.name, member.evidence
                ));
        }
        Ok(())
    }

    /// Does what the end of a rollout asks for: its target is blocked, or active.
    pub(super) fn settle(&self, model: &ModelCode) {
        let Some(rollout) = self.store.rollouts.of_model(model) else {
            return;
        };
        if !rollout.effect_due {
            return;
        }
        let now = iso8601(Moment::now().wall);
        let target = &rollout.target;
        let mut log = rollout.log.iter().rev();
        let stop = log.find(|entry| entry.what.starts_with("stopped"));
        let by = stop.map_or(RULES, |entry| entry.by.as_str());
        let changed = self.keep_failed(&rollout).and_then(|()| {
            self.store.registry.models.change(|models| {
                let entry = models.ensure(model, &now);
                match rollout.phase {
                    Phase::Done => entry.set_active(target.build_id),
                    // who blocked it first said why
                    Phase::Stopped if !entry.is_blocked(target.build_id) => {
                        let why = rollout.why.as_deref().unwrap_or_default();
                        let why = format!("rollout {} stopped: {why}", rollout.id);
                        entry.set_blocked(target.build_id, &rollout.target_version, true);
                        entry.explain_block(target.build_id, by, &now, Some(&why));
                    }
                    _ => {}
                }
                Ok::<_, Infallible>(())
            })
        });
        let noted = changed.and_then(|_| {
            self.store.rollouts.change(model, |before| {
                let mut next = before.clone();
                next.effect_due = false;
                (before.id == rollout.id).then_some((next, Save::Try, ()))
            })
        });
        if let Err(error) = noted {
            let entry = error.event().entry();
            entry.say(format_args!(
                "rollout {} of {model}: cannot change the model: {}; it is tried again",
                rollout.id,
                chain(&error)
            ));
        }
    }
}
