//! What people register: models, devices, tokens. Every change is an event that
//! says who made it.

pub mod devices;
pub mod models;
pub mod tokens;

use axum::body::Body;
use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

use super::error::{Error, Result};
use crate::device::ModelCode;
use crate::http::server::read_limited;
use crate::store::registry::Models;

/// Largest JSON body of an administrative request.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Reads a request's JSON body; an empty one stands for `{}`.
///
/// # Errors
/// 400 for what is not the JSON that is wanted, with the place in it.
pub async fn json_body<T: DeserializeOwned>(body: Body) -> Result<T> {
    let bytes = read_limited(body, MAX_BODY_BYTES).await?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text)
        .map_err(|error| Error::Invalid(format!("Invalid request body: {error}")))
}

/// A field of a change: absent leaves the value as it is, `null` removes it.
fn given<'de, D, T>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// A name from a path, parsed.
fn name<T>(text: &str, what: &str) -> Result<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error| Error::Invalid(format!("Invalid {what}: {error}")))
}

fn no_model(code: &ModelCode) -> Error {
    Error::NotFound(format!("DeviceModel {code}"))
}

/// Checks that a model is registered.
fn must_exist(models: &Models, code: Option<&ModelCode>) -> Result<()> {
    match code {
        Some(code) if !models.models.contains_key(code) => Err(no_model(code)),
        _ => Ok(()),
    }
}

/// Whether a `PUT` may create, change, or both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Condition {
    Any,
    /// `If-None-Match: *`
    Create,
    /// `If-Match: *`
    Change,
}

impl Condition {
    fn of(headers: &HeaderMap) -> Self {
        let is_star = |name| headers.get(name).is_some_and(|value| value == "*");
        if is_star(IF_NONE_MATCH) {
            Self::Create
        } else if is_star(IF_MATCH) {
            Self::Change
        } else {
            Self::Any
        }
    }

    /// # Errors
    /// 409 for what is there already, 404 for what is not.
    fn check(self, is_known: bool, what: impl FnOnce() -> String) -> Result<()> {
        match (self, is_known) {
            (Self::Create, true) => Err(Error::Conflict(format!("{} exists already", what()))),
            (Self::Change, false) => Err(Error::NotFound(what())),
            _ => Ok(()),
        }
    }
}
