//! Whether an upload becomes active: a decision, without I/O.

use crate::store::firmware::Build;
use crate::store::registry::{Activate, Model};

/// What an upload does to its model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Activation {
    Active,
    /// It goes out in a rollout, which is to be started.
    ByRollout,
    /// The model's uploads are activated by a person.
    Manual,
    /// Devices could not run it: another chip, or a lower `secure_version`.
    Unsuitable,
    Held,
    /// A rollout of the model is running.
    Rollout,
    /// A build of this version is blocked.
    Blocked,
}

impl Activation {
    /// Of an upload; `suitable` tells whether devices could run it, `in_rollout` whether a
    /// rollout of the model is running.
    pub(super) fn of(model: &Model, build: &Build, suitable: bool, in_rollout: bool) -> Self {
        let version = build.version.as_str();
        if model.is_blocked(build.id()) || model.blocks_version(version) {
            Self::Blocked
        } else if model.held {
            Self::Held
        } else if in_rollout {
            Self::Rollout
        } else if !suitable {
            Self::Unsuitable
        } else {
            match model.activate {
                Activate::OnUpload => Self::Active,
                Activate::Manual => Self::Manual,
                // there is nothing to go back to from a model's first build
                Activate::Rollout if model.active.is_none() => Self::Active,
                Activate::Rollout if model.active_id() == Some(build.id()) => Self::Active,
                Activate::Rollout => Self::ByRollout,
            }
        }
    }

    /// What the uploader is warned of; what makes a build unsuitable is a warning already.
    pub(super) fn warning(self, model: &str, version: &str) -> Option<String> {
        match self {
            Self::Held => Some(format!("model {model} is held: stored, not activated")),
            Self::Blocked => Some(format!(
                "version {version} is blocked: stored, not activated"
            )),
            Self::Rollout => Some(format!(
                "a rollout of {model} is running: stored, not activated"
            )),
            Self::Active | Self::ByRollout | Self::Manual | Self::Unsuitable => None,
        }
    }
}
