//! Routes for models, devices and tokens; the rules are in [`crate::fleet`].

mod device_view;
pub mod devices;
pub mod import;
pub mod models;
pub mod tokens;

pub(in crate::http) use device_view::Hearing;

use axum::body::Body;
use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use serde::de::DeserializeOwned;

use super::error::{Error, Result};
use crate::device::ModelCode;
use crate::fleet::Condition;
use crate::http::server::read_limited;

/// Largest JSON body of an administrative request.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Reads a request's JSON body; an empty one stands for `{}`.
///
/// # Errors
/// 400 for what is not the JSON that is wanted, with the place in it.
pub async fn json_body<T: DeserializeOwned>(body: Body) -> Result<T> {
    json_body_of(body, MAX_BODY_BYTES).await
}

/// The same for a body of at most `limit` bytes.
async fn json_body_of<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T> {
    let bytes = read_limited(body, limit).await?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text)
        .map_err(|error| Error::Invalid(format!("Invalid request body: {error}")))
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

/// What the headers ask for: `If-None-Match: *` only creates, `If-Match: *`
/// only changes.
fn condition(headers: &HeaderMap) -> Condition {
    let is_star = |name| headers.get(name).is_some_and(|value| value == "*");
    if is_star(IF_NONE_MATCH) {
        Condition::Create
    } else if is_star(IF_MATCH) {
        Condition::Change
    } else {
        Condition::Any
    }
}
