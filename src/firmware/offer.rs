//! Which build a device gets, or why none.

use std::time::Instant;

use super::Sequences;
use crate::build_id::BuildId;
use crate::device::{DeviceKey, ModelCode};
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
}

/// The build for a device: the one it asks for itself, else its pinned one, else its model's
/// active one; never a blocked one, and of a held model nothing but a pinned one.
///
/// # Errors
/// [`Withheld`].
pub fn offer(
    model: &Model,
    device: Option<&Device>,
    asked: Option<BuildId>,
) -> Result<BuildId, Withheld> {
    let pin = device.and_then(|device| device.pin.as_ref());
    // a pin that stands for no build is still a pin
    let meant = pin.or(model.active.as_ref()).and_then(BuildRef::id);
    let chosen = asked.or(meant);
    if chosen.is_some_and(|chosen| model.is_blocked(chosen)) {
        return Err(Withheld::Blocked);
    }
    // a person who pins a device of a held model means it
    let is_pinned = chosen.is_some() && pin.and_then(BuildRef::id) == chosen;
    if model.held && !is_pinned {
        return Err(Withheld::Held);
    }
    chosen.ok_or(Withheld::NothingActive)
}

/// A device's request for firmware.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub model: &'a ModelCode,
    pub device: &'a DeviceKey,
    /// The build that it names itself.
    pub asked: Option<BuildId>,
    /// Whether it asks for a part only.
    pub is_range: bool,
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
    let current = offer(model, device, question.asked)?;
    if question.asked.is_some() {
        return Ok(current);
    }
    let build = sequences.build_for(question.device, question.is_range, current, now);
    match model.is_blocked(build) {
        true => Err(Withheld::Blocked),
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
) -> Result<BuildId, Withheld> {
    let (models, devices) = (store.registry.models.read(), store.registry.devices.read());
    let model = models.models.get(model).ok_or(Withheld::NothingActive)?;
    offer(model, devices.get(device), None)
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
                offer(&model, device, asked.map(build)),
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
            offer(&model, Some(&device), None),
            Err(Withheld::NothingActive)
        );
        model.active = Some(name());
        assert_eq!(offer(&model, None, None), Err(Withheld::NothingActive));
    }
}
