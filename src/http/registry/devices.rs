//! Devices over HTTP: list, show, register, change, pin, remove.

use std::ops::Bound;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::{Extension, Json};
use http::StatusCode;

use super::device_view::{DeviceView, filter_of};
use super::{condition, json_body, name};
use crate::api::devices::{Change, Device as Shown, Gets, Pin};
use crate::build_id::BuildId;
use crate::device::DeviceKey;
use crate::firmware;
use crate::fleet::{devices as fleet, pins};
use crate::http::app_state::AppState;
use crate::http::error::{Error, Result};
use crate::http::query::Query;
use crate::http::streamed_list::{self, Piece};
use crate::identity::Caller;
use crate::store::registry::Device;

/// `GET /api/devices`, with the filters of `espgate devices list`.
///
/// # Errors
/// 400.
pub async fn list(State(app): State<Arc<AppState>>, request: Request) -> Result<Response> {
    let filter = filter_of(&Query::parse(request.uri().query().unwrap_or_default()))?;
    let mut sent: Option<DeviceKey> = None;
    let mut view = None;
    let fill = move |piece: &mut Piece| {
        let view = view.get_or_insert_with(|| DeviceView::new(&app));
        // not held while a piece is sent: changes would have to leave it as it is
        let devices = app.store.registry.devices.read();
        let after = sent.take().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = devices.devices.range((after, Bound::Unbounded));
        let mut rest = rest
            .filter(|(_, device)| view.fits(device, &filter))
            .peekable();
        while let Some((key, device)) = rest.next() {
            piece.push(&view.shown(key, device))?;
            if piece.is_full() && rest.peek().is_some() {
                sent = Some(key.clone());
                return Ok(true);
            }
        }
        Ok(false)
    };
    streamed_list::answer("devices", None, fill).await
}

/// `GET /api/devices/{key}`
///
/// # Errors
/// 404.
pub async fn show(
    State(app): State<Arc<AppState>>,
    Path(key): Path<String>,
) -> Result<Json<Shown>> {
    let key: DeviceKey = name(&key, "device key")?;
    tokio::task::spawn_blocking(move || {
        let devices = app.store.registry.devices.read();
        let device = devices.get(&key).ok_or_else(|| no_device(&key))?;
        Ok(Json(shown(&app, &key, device)))
    })
    .await?
}

fn shown(app: &Arc<AppState>, key: &DeviceKey, device: &Device) -> Shown {
    Shown {
        gets: gets(app, key, device),
        ..DeviceView::new(app).shown(key, device)
    }
}

/// What a device gets if it asks now.
fn gets(app: &AppState, key: &DeviceKey, device: &Device) -> Option<Gets> {
    let code = device.model.as_ref()?;
    let models = app.store.registry.models.read();
    let model = models.models.get(code)?;
    let name = |build: BuildId| firmware::shown_name(&app.store, code, &build.into());
    let served = app.rollouts.serves(code, key);
    let rollout = served
        .as_ref()
        .map(|(rollout, served)| (&**rollout, served));
    let explained = firmware::explain(code, model, device, rollout, name);
    Some(Gets {
        build_id: explained.build.map(|build| build.to_string()),
        name: explained.build.map(name),
        why: explained.why,
    })
}

fn no_device(key: &DeviceKey) -> Error {
    Error::NotFound(format!("Device {key}"))
}

/// `PUT /api/devices/{key}` with any of `model`, `name`, `mac`, `usb_serial`, `hw`, `retired`:
/// registers or changes; with `If-None-Match: *` it only registers, with
/// `If-Match: *` it only changes.
///
/// # Errors
/// 400, 404 for the model, 409.
pub async fn put(
    State(app): State<Arc<AppState>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Shown>> {
    let key: DeviceKey = name(&key, "device key")?;
    let (parts, body) = request.into_parts();
    let condition = condition(&parts.headers);
    let change: Change = json_body(body).await?;
    tokio::task::spawn_blocking(move || {
        let device = fleet::put(&app.store.registry, &key, change, condition, &caller)?;
        Ok(Json(shown(&app, &key, &device)))
    })
    .await?
}

/// `PUT /api/devices/{key}/pin` with `{"version":..}`: the device gets this
/// version whatever its model's active one is.
///
/// # Errors
/// 400, 404 for the device or the version, 409 for a device without a model.
pub async fn pin(
    State(app): State<Arc<AppState>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Shown>> {
    let key: DeviceKey = name(&key, "device key")?;
    let pin: Pin = json_body(request.into_body()).await?;
    tokio::task::spawn_blocking(move || {
        let model = pins::model_of(&app.store.registry.devices.read(), &key)?;
        let build = firmware::build_named(&app.store, &model, &pin.version)?;
        let device = pins::pin(&app.store, &key, &model, &build, &caller)?;
        Ok(Json(shown(&app, &key, &device)))
    })
    .await?
}

/// `DELETE /api/devices/{key}/pin`
///
/// # Errors
/// 404.
pub async fn unpin(
    State(app): State<Arc<AppState>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Shown>> {
    let key: DeviceKey = name(&key, "device key")?;
    tokio::task::spawn_blocking(move || {
        let device = pins::unpin(&app.store.registry, &key, &caller)?;
        Ok(Json(shown(&app, &key, &device)))
    })
    .await?
}

/// `DELETE /api/devices/{key}`: forgets the device and its tokens; its dumps stay.
///
/// # Errors
/// 404.
pub async fn remove(
    State(app): State<Arc<AppState>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode> {
    let key: DeviceKey = name(&key, "device key")?;
    tokio::task::spawn_blocking(move || {
        fleet::remove(&app.store.registry, &key, &caller)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await?
}
