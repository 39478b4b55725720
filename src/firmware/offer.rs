//! Which build a device gets, or why none.

use std::time::Instant;

use super::{Part, Sequences};
use crate::build_id::BuildId;
use crate::device::{DeviceKey, ModelCode};
use crate::rollouts::serve::Gets;
use crate::store::Store;
use crate::store::registry::{BuildRef, Device, Model};

/// Why a device gets nothing. What comes first is what a person must put right first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Withheld {
    /// The build it should get is blocked.
    Blocked,
    /// Its model is held.
    Held,
    /// No build is active, or what the register names is no build.
    NothingActive,
    /// A rollout does not give it this build, or leaves it with what it has.
    Rollout,
}

/// What a rollout of the model gives a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FromRollout {
    pub gets: Gets,
    pub target: BuildId,
}

/// The build for a device: the one it asks for itself, else its pinned one, else the one
/// that a rollout gives it, else its model's active one; never a blocked one, and of a held
/// model nothing but a pinned one. The target of a rollout goes only to whom the rollout
/// gives it, or who is pinned to it.
///
/// # Errors
/// [`Withheld`].
pub fn offer(
    model: &Model,
    device: Option<&Device>,
    asked: Option<BuildId>,
    rollout: Option<FromRollout>,
) -> Result<BuildId, Withheld> {
    let pin = device.and_then(|device| device.pin.as_ref());
    // a pin that stands for no build is still a pin
    let target = rollout.filter(|rollout| rollout.gets == Gets::Target);
    let meant = match (pin, target) {
        (Some(pin), _) => pin.id(),
        (None, Some(rollout)) => Some(rollout.target),
        (None, None) => model.active_id(),
    };
    let chosen = asked.or(meant);
    if chosen.is_some_and(|chosen| model.is_blocked(chosen)) {
        return Err(Withheld::Blocked);
    }
    // a person who pins a device of a held model means it
    let is_pinned = chosen.is_some() && pin.and_then(BuildRef::id) == chosen;
    if model.held && !is_pinned {
        return Err(Withheld::Held);
    }
    let chosen = chosen.ok_or(Withheld::NothingActive)?;
    let is_kept = |rollout: &FromRollout| {
        let is_nothing = rollout.gets == Gets::Nothing && asked.is_none();
        is_nothing || (rollout.gets != Gets::Target && rollout.target == chosen)
    };
    match rollout.as_ref().is_some_and(is_kept) && !is_pinned {
        true => Err(Withheld::Rollout),
        false => Ok(chosen),
    }
}

/// A device's request for firmware.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub model: &'a ModelCode,
    pub device: &'a DeviceKey,
    /// The build that it names itself.
    pub asked: Option<BuildId>,
    /// What of the image it asks for.
    pub part: Part,
    /// What a rollout gives it.
    pub rollout: Option<FromRollout>,
}

/// What a device gets for its request: as [`offer`] says, but the next parts of a build that
/// it began with, unless that build was blocked since.
///
/// # Errors
/// [`Withheld`].
pub fn offer_for(
    store: &Store,
    sequences: &Sequences,
    question: &Question<'_>,
    now: Instant,
) -> Result<BuildId, Withheld> {
    let (models, devices) = (store.registry.models.read(), store.registry.devices.read());
    let model = models.models.get(question.model);
    let model = model.ok_or(Withheld::NothingActive)?;
    let device = devices.get(question.device);
    let current = offer(model, device, question.asked, question.rollout)?;
    if question.asked.is_some() {
        return Ok(current);
    }
    let build = sequences.build_for(question.device, question.part, current, now);
    match model.is_blocked(build) {
        true => Err(Withheld::Blocked),
        // the rollout was stopped meanwhile, or the device failed
        false if build != current => offer(model, device, Some(build), question.rollout),
        false => Ok(build),
    }
}

/// What a device would get if it asked now.
///
/// # Errors
/// [`Withheld`].
pub fn offer_now(
    store: &Store,
    model: &ModelCode,
    device: &DeviceKey,
    rollout: Option<FromRollout>,
) -> Result<BuildId, Withheld> {
    let (models, devices) = (store.registry.models.read(), store.registry.devices.read());
    let model = models.models.get(model).ok_or(Withheld::NothingActive)?;
    offer(model, devices.get(device), None, rollout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    fn build(number: u8) -> BuildId {
        Sha256::of(&[number]).into()
    }

    fn model(active: u8, held: bool, blocked: u8) -> Model {
        let mut model = Model {
            active: Some(build(active).into()),
            held,
            ..Model::default()
        };
        model.set_blocked(build(blocked), "v", true);
        model
    }

    fn pinned(pin: BuildRef) -> Device {
        Device {
            pin: Some(pin),
            ..Device::default()
        }
    }

    #[test]
    fn pins_go_before_active_and_holds_and_blocks_before_both() {
        let one = pinned(build(1).into());
        for (model, device, asked, expected) in [
            (model(2, false, 9), None, None, Ok(2)),
            (model(2, false, 9), Some(&one), None, Ok(1)),
            (model(2, false, 9), Some(&one), Some(3), Ok(3)),
            (model(2, true, 9), None, None, Err(Withheld::Held)),
            (model(2, true, 9), Some(&one), None, Ok(1)),
            (model(2, true, 9), Some(&one), Some(1), Ok(1)),
            (model(2, true, 9), None, Some(2), Err(Withheld::Held)),
            (model(2, false, 2), None, None, Err(Withheld::Blocked)),
            (model(2, true, 2), None, None, Err(Withheld::Blocked)),
            (model(2, false, 1), Some(&one), None, Err(Withheld::Blocked)),
            (model(2, false, 3), None, Some(3), Err(Withheld::Blocked)),
            (Model::default(), None, None, Err(Withheld::NothingActive)),
            (Model::default(), Some(&one), None, Ok(1)),
        ] {
            assert_eq!(
                offer(&model, device, asked.map(build), None),
                expected.map(build),
                "{model:?} {device:?} {asked:?}"
            );
        }
    }

    #[test]
    fn a_name_that_stands_for_no_build_serves_nothing() {
        let name = || BuildRef::Name(String::from("1.2.3"));
        let mut model = model(2, false, 9);
        let device = pinned(name());
        assert_eq!(
            offer(&model, Some(&device), None, None),
            Err(Withheld::NothingActive)
        );
        model.active = Some(name());
        assert_eq!(
            offer(&model, None, None, None),
            Err(Withheld::NothingActive)
        );
    }

    #[test]
    fn a_target_goes_to_whom_the_rollout_gives_it_and_to_pinned_devices() {
        let on_target = pinned(build(2).into());
        let on_other = pinned(build(3).into());
        use Gets::{Base, Nothing, Target};
        for (gets, device, asked, expected) in [
            (Target, None, None, Ok(2)),
            (Target, None, Some(2), Ok(2)),
            (Target, None, Some(1), Ok(1)),
            (Target, Some(&on_other), None, Ok(3)),
            (Base, None, None, Ok(1)),
            (Base, None, Some(2), Err(Withheld::Rollout)),
            (Base, None, Some(3), Ok(3)),
            (Base, Some(&on_target), None, Ok(2)),
            (Base, Some(&on_target), Some(2), Ok(2)),
            (Nothing, None, None, Err(Withheld::Rollout)),
            (Nothing, None, Some(1), Ok(1)),
            (Nothing, Some(&on_other), None, Ok(3)),
        ] {
            let model = model(1, false, 9);
            let rollout = FromRollout {
                gets,
                target: build(2),
            };
            assert_eq!(
                offer(&model, device, asked.map(build), Some(rollout)),
                expected.map(build),
                "{gets:?} {device:?} {asked:?}"
            );
        }
    }
}
