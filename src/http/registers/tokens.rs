//! Tokens over HTTP: made, shown once, listed by id, revoked.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use super::devices::{Change, alter, changed, known};
use super::{json_body, must_exist, name};
use crate::api::devices::{Minted, Revoked};
use crate::api::tokens::{List, Made, Token};
use crate::clock::{Moment, iso8601, parse};
use crate::device::{DeviceKey, ModelCode};
use crate::http::app::App;
use crate::http::error::{Error, Result};
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::registry::tokens::{NamedToken, generate};
use crate::store::registry::{Device, Role};

/// Tokens that a device may hold: one in use and one to change over to.
const DEVICE_TOKENS: usize = 2;
/// Longest time a token may be asked to last.
const MAX_DAYS: i64 = 36500;

#[derive(Debug, Deserialize)]
struct Registration {
    device_key: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// `POST /api/devices` with `device_key` and what `PUT /api/devices/{key}`
/// takes: registers a device and answers with its first token, at once or not at all.
///
/// # Errors
/// 400, 404 for the model, 409 if it is registered already.
pub async fn register(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Minted>> {
    let asked: Registration = json_body(request.into_body()).await?;
    let key: DeviceKey = name(&asked.device_key, "device key")?;
    let change: Change = serde_json::from_value(Value::Object(asked.rest))
        .map_err(|error| Error::Invalid(format!("Invalid request body: {error}")))?;
    let change = change.checked()?;
    let (device, text) = alter(app, &key, move |app, devices, key, now| {
        let model = change.model.as_ref().and_then(Option::as_ref);
        must_exist(&app.store.registry.models.read(), model)?;
        if devices.devices.get(key).is_some_and(|d| d.registered) {
            return Err(Error::Conflict(format!("Device {key} exists already")));
        }
        change.apply(devices, key, now)?;
        add_token(known(devices, key)?, now)
    })
    .await?;
    changed(&key, &device, &caller, "registered");
    announce(&key, &device, &caller);
    Ok(Json(minted(&key, &device, text)))
}

/// `POST /api/devices/{key}/token`: one more token. The older one ends when
/// this one is first used; a third replaces the second.
///
/// # Errors
/// 404.
pub async fn mint_for_device(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Minted>> {
    let key: DeviceKey = name(&key, "device key")?;
    let (device, text) = alter(app, &key, |_, devices, key, now| {
        let device = known(devices, key)?;
        device.registered = true;
        add_token(device, now)
    })
    .await?;
    announce(&key, &device, &caller);
    Ok(Json(minted(&key, &device, text)))
}

fn add_token(device: &mut Device, now: &str) -> Result<String> {
    let (text, credential) = generate(now).map_err(|error| Error::internal(&error))?;
    device.tokens.truncate(DEVICE_TOKENS - 1);
    device.tokens.push(credential);
    Ok(text)
}

fn announce(key: &DeviceKey, device: &Device, caller: &Caller) {
    let id = device.tokens.last().map(|token| token.id.as_str());
    Event::TokenMade
        .entry()
        .device(key)
        .actor(caller)
        .say(format_args!(
            "{caller} made token {} for device {key}",
            id.unwrap_or_default()
        ));
}

fn minted(key: &DeviceKey, device: &Device, token: String) -> Minted {
    Minted {
        device_key: key.to_string(),
        model: device.model.as_ref().map(ToString::to_string),
        token,
    }
}

/// `DELETE /api/devices/{key}/tokens`: the device's tokens open nothing any more.
///
/// # Errors
/// 404.
pub async fn revoke_device(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Revoked>> {
    let key: DeviceKey = name(&key, "device key")?;
    let (_, ended) = alter(app, &key, |_, devices, key, _| {
        Ok(std::mem::take(&mut known(devices, key)?.tokens))
    })
    .await?;
    let ids: Vec<String> = ended.into_iter().map(|token| token.id).collect();
    for id in &ids {
        Event::TokenEnded
            .entry()
            .device(&key)
            .actor(&caller)
            .say(format_args!("{caller} revoked token {id} of device {key}"));
    }
    Ok(Json(Revoked {
        device_key: key.to_string(),
        revoked: ids,
    }))
}

/// `GET /api/tokens`: names, roles and ids; never a secret nor its digest.
pub async fn list(State(app): State<Arc<App>>) -> Json<List> {
    let tokens = app.store.registry.tokens.read();
    let tokens = tokens.tokens.iter();
    let tokens = tokens.map(|(name, token)| Token::of(name, token));
    Json(List {
        tokens: tokens.collect(),
        next_cursor: None,
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    role: Role,
    #[serde(default)]
    model: Option<ModelCode>,
    /// Such as `365d`, or a moment in RFC 3339.
    #[serde(default)]
    expires: Option<String>,
}

/// `POST /api/tokens` with `{"name","role","model","expires"}`.
///
/// # Errors
/// 400, 404 for the model, 409 for a name that is taken.
pub async fn mint(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Made>> {
    let wanted: Wanted = json_body(request.into_body()).await?;
    check_name(&wanted.name)?;
    if wanted.role == Role::Fleet && wanted.model.is_none() {
        return Err(Error::Invalid(String::from(
            "Invalid model: a fleet token needs the model of its devices",
        )));
    }
    let now = Moment::now().wall;
    let expires_at = wanted
        .expires
        .as_deref()
        .map(|text| expiry(text, now).map(iso8601))
        .transpose()?;
    tokio::task::spawn_blocking(move || {
        must_exist(&app.store.registry.models.read(), wanted.model.as_ref())?;
        let (text, credential) =
            generate(&iso8601(now)).map_err(|error| Error::internal(&error))?;
        let token = NamedToken {
            role: wanted.role,
            model: wanted.model,
            expires_at,
            credential,
            extra: Map::new(),
        };
        app.store.registry.tokens.change(|tokens| {
            tokens.schema = 1;
            if tokens.tokens.contains_key(&wanted.name) {
                return Err(Error::Conflict(format!(
                    "Token {} exists already",
                    wanted.name
                )));
            }
            tokens.tokens.insert(wanted.name.clone(), token.clone());
            Ok(())
        })??;
        let role = token.role.as_str();
        Event::TokenMade
            .entry()
            .maybe("MODEL_CODE", token.model.as_ref())
            .actor(&caller)
            .say(format_args!(
                "{caller} made token {} ({}) with the role {role}",
                wanted.name, token.credential.id
            ));
        Ok(Json(Made {
            name: wanted.name,
            role: token.role.into(),
            model: token.model.as_ref().map(ToString::to_string),
            expires_at: token.expires_at,
            token: text,
        }))
    })
    .await?
}

/// `DELETE /api/tokens/{name}`: it opens nothing any more.
///
/// # Errors
/// 404.
pub async fn revoke(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode> {
    tokio::task::spawn_blocking(move || {
        let token = app.store.registry.tokens.change(|tokens| {
            let gone = tokens.tokens.remove(&name);
            gone.ok_or_else(|| Error::NotFound(format!("Token {name}")))
        })??;
        Event::TokenEnded.entry().actor(&caller).say(format_args!(
            "{caller} revoked token {name} ({})",
            token.credential.id
        ));
        Ok(StatusCode::NO_CONTENT)
    })
    .await?
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if matches!(name.len(), 1..=64) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::Invalid(String::from(
        "Invalid name: 1 to 64 of A-Z, a-z, 0-9 and ._@-",
    )))
}

/// When a token ends: `90m`, `12h`, `365d`, `4w` from now, or a moment.
fn expiry(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime> {
    let invalid = |why: &str| Error::Invalid(format!("Invalid expires: {why}"));
    let end = match parse(text) {
        Some(end) => end,
        None => {
            let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
            let number: i64 = number
                .parse()
                .map_err(|_| invalid("such as 365d, 12h, or 2027-01-31T00:00:00Z"))?;
            let seconds = match text.bytes().last() {
                Some(b'm') => 60,
                Some(b'h') => 3600,
                Some(b'd') => 86400,
                Some(b'w') => 7 * 86400,
                _ => return Err(invalid("the unit is one of m, h, d, w")),
            };
            let length = number
                .checked_mul(seconds)
                .filter(|seconds| (1..=MAX_DAYS * 86400).contains(seconds))
                .ok_or_else(|| invalid("must be ahead, and at most 100 years"))?;
            now.saturating_add(Duration::seconds(length))
        }
    };
    if end <= now {
        return Err(invalid("that moment is past"));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_as_long_as_asked_for() {
        let now = parse("2026-01-01T00:00:00Z").unwrap();
        for (text, end) in [
            ("365d", Some("2027-01-01T00:00:00.000000Z")),
            ("90m", Some("2026-01-01T01:30:00.000000Z")),
            ("2w", Some("2026-01-15T00:00:00.000000Z")),
            (
                "2026-03-01T00:00:00+01:00",
                Some("2026-02-28T23:00:00.000000Z"),
            ),
            ("2025-01-01T00:00:00Z", None),
            ("0d", None),
            ("-1d", None),
            ("9223372036854775807w", None),
            ("d", None),
            ("", None),
            ("12", None),
            ("1ü", None),
        ] {
            let found = expiry(text, now).ok().map(iso8601);
            assert_eq!(found.as_deref(), end, "{text}");
        }
    }

    #[test]
    fn a_third_token_of_a_device_replaces_the_second() {
        let mut device = Device::default();
        add_token(&mut device, "1").unwrap();
        add_token(&mut device, "2").unwrap();
        add_token(&mut device, "3").unwrap();
        let made: Vec<_> = device
            .tokens
            .iter()
            .map(|t| t.created_at.as_str())
            .collect();
        assert_eq!(made, ["1", "3"]);
    }
}
