//! What a model's devices get, or why they get nothing.

use std::collections::BTreeSet;

use super::offer::{Withheld, offer};
use super::resolve_build::name_of;
use crate::build_id::BuildId;
use crate::device::ModelCode;
use crate::journal::Event;
use crate::store::Store;
use crate::store::registry::{BuildRef, Model};

/// Whether and why not devices get the active build. What comes first is what
/// a person must put right first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ModelState {
    Served,
    /// The active build is blocked.
    Blocked,
    /// The active build's file is not there.
    Missing,
    Held,
    /// No build is active.
    Nothing,
}

impl ModelState {
    /// Of a model; `has_file` tells whether a build's file is there.
    pub fn of(model: &Model, has_file: impl FnOnce(BuildId) -> bool) -> Self {
        let offered = offer(model, None, None, None);
        let is_there = match (&model.active, offered) {
            (None, _) | (_, Err(Withheld::Blocked)) => true,
            (Some(active), _) => active.id().is_some_and(has_file),
        };
        match offered {
            Err(Withheld::Blocked) => Self::Blocked,
            _ if !is_there => Self::Missing,
            Err(Withheld::Held) => Self::Held,
            Err(Withheld::NothingActive | Withheld::Rollout) => Self::Nothing,
            Ok(_) => Self::Served,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Blocked => "blocked",
            Self::Missing => "missing",
            Self::Held => "held",
            Self::Nothing => "nothing",
        }
    }
}

/// What devices of a model get. Reads the model's folder if necessary.
pub fn state_of(store: &Store, code: &ModelCode, model: &Model) -> ModelState {
    ModelState::of(model, |build| has_file(store, code, build))
}

/// An unreadable folder is another error, reported by requests.
fn has_file(store: &Store, code: &ModelCode, build: BuildId) -> bool {
    store.firmware.has_file(code, build).unwrap_or(true)
}

/// Reports active and pinned builds whose files are missing.
/// Blocks, and reads every model's folder.
pub fn say_missing(store: &Store) {
    let mut wanted = BTreeSet::new();
    for (code, model) in &store.registry.models.read().models {
        wanted.extend(model.active_id().map(|build| (code.clone(), build)));
    }
    for device in store.registry.devices.read().devices.values() {
        let pin = device.pin.as_ref().and_then(BuildRef::id);
        wanted.extend(device.model.clone().zip(pin));
    }
    for (code, build) in wanted {
        if !has_file(store, &code, build) {
            let name = name_of(store, &code, build);
            Event::BundleUnreadable
                .entry()
                .model(&code)
                .version(&name)
                .say(format_args!(
                    "file of active or pinned firmware {name} of {code} missing: upload it again"
                ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn what_keeps_devices_from_their_firmware_is_told() {
        let build = |number: u8| BuildId::from(Sha256::of(&[number]));
        let model = |active: Option<u8>, held, blocked: u8| {
            let mut model = Model {
                active: active.map(|active| build(active).into()),
                held,
                ..Model::default()
            };
            model.set_blocked(build(blocked), "v", true);
            model
        };
        let mut unknown = model(None, false, 1);
        unknown.active = Some(BuildRef::Name(String::from("1.2.3")));
        for (model, has_file, expected) in [
            (model(Some(2), false, 1), true, ModelState::Served),
            (model(Some(2), false, 2), true, ModelState::Blocked),
            (model(Some(2), true, 2), true, ModelState::Blocked),
            (model(Some(2), false, 1), false, ModelState::Missing),
            (model(Some(2), true, 1), false, ModelState::Missing),
            (model(Some(2), true, 1), true, ModelState::Held),
            (model(None, true, 1), false, ModelState::Held),
            (model(None, false, 1), false, ModelState::Nothing),
            (unknown, true, ModelState::Missing),
        ] {
            assert_eq!(ModelState::of(&model, |_| has_file), expected, "{model:?}");
        }
    }
}
