//! Routes for tokens: create, list, revoke.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{json_body, name};
use crate::api::devices::{Change, Minted, Revoked};
use crate::api::tokens::{List, Made, NewToken, Token};
use crate::device::DeviceKey;
use crate::fleet::{device_tokens, named_tokens};
use crate::http::app_state::AppState;
use crate::http::error::{Error, Result};
use crate::identity::Caller;
use crate::store::registry::Device;

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
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Minted>> {
    let asked: Registration = json_body(request.into_body()).await?;
    let key: DeviceKey = name(&asked.device_key, "device key")?;
    let change: Change = serde_json::from_value(Value::Object(asked.rest))
        .map_err(|error| Error::Invalid(format!("Invalid request body: {error}")))?;
    tokio::task::spawn_blocking(move || {
        let (device, text) = device_tokens::register(&app.store.registry, &key, change, &caller)?;
        Ok(Json(minted(&key, &device, text)))
    })
    .await?
}

/// `POST /api/devices/{key}/token`: one more token. The older one ends when
/// this one is first used; a third replaces the second.
///
/// # Errors
/// 404.
pub async fn mint_for_device(
    State(app): State<Arc<AppState>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Minted>> {
    let key: DeviceKey = name(&key, "device key")?;
    tokio::task::spawn_blocking(move || {
        let (device, text) = device_tokens::add(&app.store.registry, &key, &caller)?;
        Ok(Json(minted(&key, &device, text)))
    })
    .await?
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
    State(app): State<Arc<AppState>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Revoked>> {
    let key: DeviceKey = name(&key, "device key")?;
    tokio::task::spawn_blocking(move || {
        let ids = device_tokens::revoke(&app.store.registry, &key, &caller)?;
        Ok(Json(Revoked {
            device_key: key.to_string(),
            revoked: ids,
        }))
    })
    .await?
}

/// `GET /api/tokens`: names, roles and ids; never a secret nor its digest.
pub async fn list(State(app): State<Arc<AppState>>) -> Json<List> {
    let tokens = app.store.registry.tokens.read();
    let tokens = tokens.tokens.iter();
    let tokens = tokens.map(|(name, token)| Token::of(name, token));
    Json(List {
        tokens: tokens.collect(),
        next_cursor: None,
    })
}

/// `POST /api/tokens` with `{"name","role","model","expires"}`.
///
/// # Errors
/// 400, 404 for the model, 409 for a name that is taken.
pub async fn mint(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Made>> {
    let wanted: NewToken = json_body(request.into_body()).await?;
    tokio::task::spawn_blocking(move || {
        let (token, text) = named_tokens::mint(&app.store.registry, &wanted, &caller)?;
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
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode> {
    tokio::task::spawn_blocking(move || {
        named_tokens::revoke(&app.store.registry, &name, &caller)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await?
}
