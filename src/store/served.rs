//! What a model's devices get, or why they get nothing.

use std::collections::BTreeSet;

use super::firmware::Firmware;
use super::registry::Model;
use super::whole::Store;
use crate::device::ModelCode;
use crate::journal::Event;

/// Whether and why not devices get the active build. What comes first is what
/// a person must put right first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Served {
    Served,
    /// The active build is blocked.
    Blocked,
    /// The active build's file is not there.
    Missing,
    Held,
    /// No build is active.
    Nothing,
}

impl Served {
    /// Of a model; `has_file` tells whether a build's file is there.
    pub fn of(model: &Model, has_file: impl FnOnce(&str) -> bool) -> Self {
        match model.active.as_deref() {
            Some(active) if model.is_blocked(active) => Self::Blocked,
            Some(active) if !has_file(active) => Self::Missing,
            _ if model.held => Self::Held,
            Some(_) => Self::Served,
            None => Self::Nothing,
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

/// A folder that cannot be read is another trouble, which requests tell.
pub fn has_file(firmware: &Firmware, code: &ModelCode, name: &str) -> bool {
    firmware.has_file(code, name).unwrap_or(true)
}

impl Store {
    /// Says which builds devices should get but whose files are not there.
    /// Blocks, and reads every model's folder.
    pub(super) fn say_missing_firmware(&self) {
        let mut wanted = BTreeSet::new();
        for (code, model) in &self.registry.models.read().models {
            wanted.extend(model.active.iter().map(|name| (code.clone(), name.clone())));
        }
        for device in self.registry.devices.read().devices.values() {
            wanted.extend(device.model.clone().zip(device.pin.clone()));
        }
        for (code, name) in wanted {
            if !has_file(&self.firmware, &code, &name) {
                Event::BundleUnreadable
                    .entry()
                    .model(&code)
                    .version(&name)
                    .say(format_args!(
                        "firmware {name} of {code}, which devices should get, is not there: \
                         upload it again"
                    ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_devices_from_their_firmware_is_told() {
        let model = |active: Option<&str>, held, blocked: &str| Model {
            active: active.map(str::to_owned),
            held,
            blocked: vec![blocked.to_owned()],
            ..Model::default()
        };
        for (model, has_file, expected) in [
            (model(Some("2"), false, "1"), true, Served::Served),
            (model(Some("2"), false, "2"), true, Served::Blocked),
            (model(Some("2"), true, "2"), true, Served::Blocked),
            (model(Some("2"), false, "1"), false, Served::Missing),
            (model(Some("2"), true, "1"), true, Served::Held),
            (model(None, true, "1"), false, Served::Held),
            (model(None, false, "1"), false, Served::Nothing),
        ] {
            assert_eq!(Served::of(&model, |_| has_file), expected, "{model:?}");
        }
    }
}
