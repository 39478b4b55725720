//! Firmware rules: builds are added, activated, offered to devices, removed.
//!
//! The rules are here, over plain values; the store keeps the files, and who asks over HTTP
//! or at the control socket adds none.

mod activation;
mod add;
mod delivered_ranges;
mod explain;
pub mod httpupdate;
pub mod manage;
mod model_state;
mod offer;
mod poll_after;
mod range_sequence;
pub mod remove;
mod resolve_build;

pub use add::{TakenIn, add_build, keep_free};
pub use delivered_ranges::DeliveredRanges;
pub use explain::{Explained, explain};
pub use model_state::{ModelState, say_missing, state_of};
pub use offer::{FromRollout, Question, Withheld, offer, offer_for, offer_now};
pub use poll_after::poll_after;
pub use range_sequence::{Part, Sequences};
pub use resolve_build::{build_named, known_model, shown_name};

use crate::bundle::Refusal;
use crate::device::{DeviceKey, ModelCode};
use crate::store;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("DeviceModel {0} was not found")]
    NoModel(String),
    #[error("Firmware {name} of {model} was not found")]
    NoBuild { model: ModelCode, name: String },
    #[error("Firmware {name} of {model} is ambiguous: {}", .builds.join(", "))]
    Ambiguous {
        model: ModelCode,
        name: String,
        /// Each with its version and id.
        builds: Vec<String>,
    },
    #[error("Firmware {name} of {model} is blocked")]
    Blocked { model: ModelCode, name: String },
    #[error("Firmware {name} of {model} is active or pinned")]
    InUse { model: ModelCode, name: String },
    #[error("Device {device} is pinned to firmware {name} of {model}")]
    Pinned {
        device: DeviceKey,
        model: ModelCode,
        name: String,
    },
    #[error("Rollout {id} of {model} is running: stop, finish or cancel it first")]
    Rollout { model: ModelCode, id: String },
    #[error("Model {0} has no earlier firmware to roll back to")]
    NothingBefore(ModelCode),
    /// An upload that is no firmware of this model.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Result of an operation on firmware.
pub type Result<T> = std::result::Result<T, Error>;
