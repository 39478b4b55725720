//! Devices over HTTP: list, show, register, change, pin, remove.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{condition, json_body, name};
use crate::clock::{Moment, iso8601};
use crate::device::{DeviceKey, Version};
use crate::fleet::devices::{self as fleet, Change, say_changed};
use crate::http::app::App;
use crate::http::error::{Error, Result};
use crate::identity::Caller;
use crate::store::registry::{Device, Devices};

/// `GET /api/devices`
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let devices = app.store.registry.devices.read();
    let shown: Vec<Value> = devices
        .devices
        .iter()
        .map(|(key, device)| shown(key, device))
        .collect();
    Json(json!({ "devices": shown, "next_cursor": null }))
}

/// `GET /api/devices/{key}`
///
/// # Errors
/// 404.
pub async fn show(State(app): State<Arc<App>>, Path(key): Path<String>) -> Result<Json<Value>> {
    let key: DeviceKey = name(&key, "device key")?;
    let devices = app.store.registry.devices.read();
    let device = devices.devices.get(&key).ok_or_else(|| no_device(&key))?;
    Ok(Json(shown(&key, device)))
}

/// A device as answers show it: of its tokens the ids alone.
fn shown(key: &DeviceKey, device: &Device) -> Value {
    let tokens: Vec<Value> = device
        .tokens
        .iter()
        .map(|token| {
            json!({
                "id": token.id,
                "created_at": token.created_at,
                "first_used_at": token.first_used_at,
            })
        })
        .collect();
    json!({
        "device_key": key,
        "model": device.model,
        "name": device.name,
        "mac": device.mac,
        "usb_serial": device.usb_serial,
        "pin": device.pin,
        "registered": device.registered,
        "fleet_token": device.fleet_token,
        "tokens": tokens,
        "created_at": device.created_at,
        "last_seen": device.last_seen,
        "running": device.running,
    })
}

fn no_device(key: &DeviceKey) -> Error {
    Error::NotFound(format!("Device {key}"))
}

/// `PUT /api/devices/{key}` with any of `model`, `name`, `mac`, `usb_serial`:
/// registers or changes; with `If-None-Match: *` it only registers, with
/// `If-Match: *` it only changes.
///
/// # Errors
/// 400, 404 for the model, 409.
pub async fn put(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Value>> {
    let key: DeviceKey = name(&key, "device key")?;
    let (parts, body) = request.into_parts();
    let condition = condition(&parts.headers);
    let change: Change = json_body(body).await?;
    tokio::task::spawn_blocking(move || {
        let change = change.checked()?;
        let device = fleet::put(&app.store.registry, &key, &change, condition, &caller)?;
        Ok(Json(shown(&key, &device)))
    })
    .await?
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    version: String,
}

/// `PUT /api/devices/{key}/pin` with `{"version":..}`: the device gets this
/// version whatever its model's active one is.
///
/// # Errors
/// 400, 404 for the device or the version, 409 for a device without a model.
pub async fn pin(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Value>> {
    let key: DeviceKey = name(&key, "device key")?;
    let pin: Pin = json_body(request.into_body()).await?;
    let base = pin.version.split('~').next().unwrap_or_default();
    name::<Version>(base, "version")?;
    let version = pin.version.clone();
    let (device, ()) = alter(app, &key, move |app, devices, key, _| {
        let device = known(devices, key)?;
        let Some(model) = &device.model else {
            return Err(Error::Conflict(format!("Device {key} has no model")));
        };
        if app.store.firmware.find(model, &pin.version)?.is_none() {
            let what = format!("Firmware {} of {model}", pin.version);
            return Err(Error::NotFound(what));
        }
        device.pin = Some(pin.version);
        Ok(())
    })
    .await?;
    say_changed(&key, &device, &caller, &format!("pinned to {version}"));
    Ok(Json(shown(&key, &device)))
}

/// `DELETE /api/devices/{key}/pin`
///
/// # Errors
/// 404.
pub async fn unpin(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>> {
    let key: DeviceKey = name(&key, "device key")?;
    let (device, ()) = alter(app, &key, |_, devices, key, _| {
        known(devices, key)?.pin = None;
        Ok(())
    })
    .await?;
    say_changed(&key, &device, &caller, "unpinned");
    Ok(Json(shown(&key, &device)))
}

/// `DELETE /api/devices/{key}`: forgets the device and its tokens; its dumps stay.
///
/// # Errors
/// 404.
pub async fn remove(
    State(app): State<Arc<App>>,
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

/// A device of the register, for changing it.
///
/// # Errors
/// 404.
fn known<'a>(devices: &'a mut Devices, key: &DeviceKey) -> Result<&'a mut Device> {
    devices.devices.get_mut(key).ok_or_else(|| no_device(key))
}

/// Changes the register off the async threads and gives the device as it is then.
///
/// # Errors
/// What `change` says; nothing is changed then.
async fn alter<R: Send + 'static>(
    app: Arc<App>,
    key: &DeviceKey,
    change: impl FnOnce(&App, &mut Devices, &DeviceKey, &str) -> Result<R> + Send + 'static,
) -> Result<(Device, R)> {
    let key = key.clone();
    tokio::task::spawn_blocking(move || {
        let now = iso8601(Moment::now().wall);
        app.store.registry.devices.change(|devices| {
            let answer = change(&app, devices, &key, &now)?;
            let device = devices.devices.get(&key).cloned().unwrap_or_default();
            Ok((device, answer))
        })?
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::registry::tokens::generate;

    #[test]
    fn what_is_shown_of_a_token_opens_nothing() {
        let (text, credential) = generate("t").unwrap();
        let device = Device {
            tokens: vec![credential.clone()],
            ..Device::default()
        };
        let shown = shown(&"k1".parse().unwrap(), &device).to_string();
        assert!(shown.contains(&credential.id));
        assert!(!shown.contains(&credential.sha256));
        assert!(!shown.contains(text.rsplit('_').next().unwrap()));
    }
}
