//! Models, devices and tokens. Each file has its rules as plain functions over the
//! registers, and below them the functions that save and report a change; these
//! block.

pub mod build_use;
pub mod contacts;
pub mod device_config;
pub mod device_csv;
pub mod device_filter;
pub mod device_import;
pub mod device_tokens;
pub mod devices;
pub mod evidence;
pub mod fleet_tokens;
pub mod last_contact;
pub mod models;
pub mod named_tokens;
pub mod pins;
mod registration_limit;
pub mod reported;
pub mod reset_reason;
pub mod running;
pub mod unregistered;

use crate::device::{DeviceKey, ModelCode};
use crate::store;
use crate::store::registry::Models;

/// Why a change failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An invalid value.
    #[error("{0}")]
    Invalid(String),
    #[error("{0} was not found")]
    Missing(String),
    /// It already exists, or conflicts with another one.
    #[error("{0}")]
    Conflict(String),
    #[error("cannot create a token")]
    Random(#[source] getrandom::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Result of a change.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether a change may create, change, or both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    Any,
    Create,
    Change,
}

impl Condition {
    /// # Errors
    /// [`Error::Conflict`] for what is there already, [`Error::Missing`] for
    /// what is not.
    fn check(self, is_known: bool, what: impl FnOnce() -> String) -> Result<()> {
        match (self, is_known) {
            (Self::Create, true) => Err(Error::Conflict(format!("{} already exists", what()))),
            (Self::Change, false) => Err(Error::Missing(what())),
            _ => Ok(()),
        }
    }
}

fn no_device(key: &DeviceKey) -> Error {
    Error::Missing(format!("Device {key}"))
}

/// Checks that a model is registered.
fn must_exist(models: &Models, code: Option<&ModelCode>) -> Result<()> {
    match code {
        Some(code) if !models.models.contains_key(code) => {
            Err(Error::Missing(format!("DeviceModel {code}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_created_and_what_is_not_there_is_not_changed() {
        let check = |condition: Condition, is_known| condition.check(is_known, String::new);
        for condition in [Condition::Any, Condition::Create] {
            assert!(check(condition, false).is_ok(), "{condition:?}");
        }
        for condition in [Condition::Any, Condition::Change] {
            assert!(check(condition, true).is_ok(), "{condition:?}");
        }
        let exists = check(Condition::Create, true);
        assert!(matches!(exists, Err(Error::Conflict(_))));
        let missing = check(Condition::Change, false);
        assert!(matches!(missing, Err(Error::Missing(_))));
    }
}
