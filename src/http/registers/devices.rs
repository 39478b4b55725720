//! Devices over HTTP: list, show, register, change, pin, remove.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Condition, given, json_body, must_exist, name};
use crate::clock::{Moment, iso8601};
use crate::device::{DeviceKey, MacAddress, ModelCode};
use crate::firmware;
use crate::http::app::App;
use crate::http::error::{Error, Result};
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::Store;
use crate::store::registry::{BuildRef, Device, Devices};

/// Longest name or USB serial number, in characters.
const MAX_TEXT: usize = 128;

/// `GET /api/devices`
///
/// # Errors
/// None of its own.
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<Value>> {
    tokio::task::spawn_blocking(move || {
        let devices = app.store.registry.devices.read();
        let shown: Vec<Value> = devices
            .devices
            .iter()
            .map(|(key, device)| shown(&app.store, key, device))
            .collect();
        Ok(Json(json!({ "devices": shown, "next_cursor": null })))
    })
    .await?
}

/// `GET /api/devices/{key}`
///
/// # Errors
/// 404.
pub async fn show(State(app): State<Arc<App>>, Path(key): Path<String>) -> Result<Json<Value>> {
    let key: DeviceKey = name(&key, "device key")?;
    tokio::task::spawn_blocking(move || {
        let devices = app.store.registry.devices.read();
        let device = devices.devices.get(&key).ok_or_else(|| no_device(&key))?;
        Ok(Json(shown(&app.store, &key, device)))
    })
    .await?
}

/// A device as answers show it: of its tokens the ids alone. Reads the folder of its
/// model if it is pinned and nobody did yet.
fn shown(store: &Store, key: &DeviceKey, device: &Device) -> Value {
    let pin = device.pin.as_ref();
    let pin_name = pin.zip(device.model.as_ref());
    let pin_name = pin_name.map(|(pin, model)| firmware::shown_name(store, model, pin));
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
        "pin": pin_name,
        "pin_build_id": pin.and_then(BuildRef::id),
        "registered": device.registered,
        "tokens": tokens,
        "created_at": device.created_at,
        "last_seen": device.last_seen,
        "running": device.running,
    })
}

pub(super) fn no_device(key: &DeviceKey) -> Error {
    Error::NotFound(format!("Device {key}"))
}

/// What a change may say; what is absent stays, `null` removes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Change {
    #[serde(deserialize_with = "given")]
    pub(super) model: Option<Option<ModelCode>>,
    #[serde(deserialize_with = "given")]
    name: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    mac: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    usb_serial: Option<Option<String>>,
}

impl Change {
    /// Checks the values and gives the MAC address the form it is kept in.
    ///
    /// # Errors
    /// 400.
    pub(super) fn checked(mut self) -> Result<Self> {
        for (what, text) in [("name", &self.name), ("usb_serial", &self.usb_serial)] {
            let length = text.iter().flatten().map(|text| text.chars().count()).max();
            if length.is_some_and(|length| length == 0 || length > MAX_TEXT) {
                return Err(Error::Invalid(format!(
                    "Invalid {what}: 1 to {MAX_TEXT} characters"
                )));
            }
        }
        if let Some(Some(mac)) = &mut self.mac {
            let parsed: MacAddress = name(mac, "mac")?;
            *mac = parsed.to_string();
        }
        Ok(self)
    }

    /// Applies the change and marks the device as registered.
    ///
    /// # Errors
    /// 409 if another device has the MAC address or the USB serial number.
    pub(super) fn apply(&self, devices: &mut Devices, key: &DeviceKey, now: &str) -> Result<()> {
        let is_taken = |what: &str, value: &str, of: fn(&Device) -> Option<&String>| {
            let other = devices
                .devices
                .iter()
                .find(|(other, device)| *other != key && of(device).is_some_and(|v| v == value));
            match other {
                Some((other, _)) => Err(Error::Conflict(format!(
                    "{what} {value} is device {other}'s already"
                ))),
                None => Ok(()),
            }
        };
        if let Some(Some(mac)) = &self.mac {
            is_taken("MAC address", mac, |device| device.mac.as_ref())?;
        }
        if let Some(Some(serial)) = &self.usb_serial {
            is_taken("USB serial number", serial, |d| d.usb_serial.as_ref())?;
        }
        let device = devices.ensure(key, now);
        device.registered = true;
        let text = [
            (&self.name, &mut device.name),
            (&self.mac, &mut device.mac),
            (&self.usb_serial, &mut device.usb_serial),
        ];
        for (given, kept) in text {
            if let Some(value) = given {
                kept.clone_from(value);
            }
        }
        if let Some(model) = &self.model {
            device.model.clone_from(model);
        }
        Ok(())
    }
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
    let condition = Condition::of(&parts.headers);
    let change: Change = json_body::<Change>(body).await?.checked()?;
    let store = Arc::clone(&app.store);
    let (device, was_known) = alter(app, &key, move |app, devices, key, now| {
        let model = change.model.as_ref().and_then(Option::as_ref);
        must_exist(&app.store.registry.models.read(), model)?;
        let known = devices.devices.get(key);
        let is_known =
            known.is_some_and(|device| device.registered || condition == Condition::Change);
        condition.check(is_known, || format!("Device {key}"))?;
        change.apply(devices, key, now)?;
        Ok(is_known)
    })
    .await?;
    let done = if was_known { "changed" } else { "registered" };
    changed(&key, &device, &caller, done);
    answer(store, key, device).await
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
    let store = Arc::clone(&app.store);
    let (device, pinned) = alter(app, &key, move |app, devices, key, _| {
        let device = known(devices, key)?;
        let Some(model) = &device.model else {
            return Err(Error::Conflict(format!("Device {key} has no model")));
        };
        let build = firmware::build_named(&app.store, model, &pin.version)?;
        device.pin = Some(build.id().into());
        Ok(build.name)
    })
    .await?;
    changed(&key, &device, &caller, &format!("pinned to {pinned}"));
    answer(store, key, device).await
}

/// A device as it is now, off the async threads.
async fn answer(store: Arc<Store>, key: DeviceKey, device: Device) -> Result<Json<Value>> {
    let shown = tokio::task::spawn_blocking(move || shown(&store, &key, &device));
    Ok(Json(shown.await?))
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
    let store = Arc::clone(&app.store);
    let (device, ()) = alter(app, &key, |_, devices, key, _| {
        known(devices, key)?.pin = None;
        Ok(())
    })
    .await?;
    changed(&key, &device, &caller, "unpinned");
    answer(store, key, device).await
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
    let gone = key.clone();
    let device = tokio::task::spawn_blocking(move || {
        app.store.registry.devices.change(|devices| {
            let device = devices.devices.remove(&gone);
            device.ok_or_else(|| no_device(&gone))
        })?
    })
    .await??;
    changed(&key, &device, &caller, "removed");
    Ok(StatusCode::NO_CONTENT)
}

/// A device of the register, for changing it.
///
/// # Errors
/// 404.
pub(super) fn known<'a>(devices: &'a mut Devices, key: &DeviceKey) -> Result<&'a mut Device> {
    devices.devices.get_mut(key).ok_or_else(|| no_device(key))
}

/// Changes the register off the async threads and gives the device as it is then.
///
/// # Errors
/// What `change` says; nothing is changed then.
pub(super) async fn alter<R: Send + 'static>(
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

/// Writes down who did what to a device.
pub(super) fn changed(key: &DeviceKey, device: &Device, caller: &Caller, done: &str) {
    Event::DeviceChanged
        .entry()
        .device(key)
        .maybe("MODEL_CODE", device.model.as_ref())
        .actor(caller)
        .say(format_args!("device {key} was {done} by {caller}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::registry::tokens::generate;

    fn change(text: &str) -> Result<Change> {
        serde_json::from_str::<Change>(text).unwrap().checked()
    }

    #[test]
    fn absent_values_stay_and_null_removes_them() {
        let mut devices = Devices::default();
        let key: DeviceKey = "k1".parse().unwrap();
        let first = r#"{"name":"Kitchen","mac":"AA:BB:CC:00:11:22","model":"m"}"#;
        change(first)
            .unwrap()
            .apply(&mut devices, &key, "t")
            .unwrap();
        let second = r#"{"name":null,"usb_serial":"S1"}"#;
        change(second)
            .unwrap()
            .apply(&mut devices, &key, "t")
            .unwrap();
        let device = &devices.devices[&key];
        assert_eq!(device.name, None);
        assert_eq!(device.mac.as_deref(), Some("aabbcc001122"));
        assert_eq!(device.usb_serial.as_deref(), Some("S1"));
        assert_eq!(device.model.as_ref().map(ModelCode::as_str), Some("m"));
        assert!(device.registered);
    }

    #[test]
    fn two_devices_never_share_a_mac_address_or_usb_serial_number() {
        let mut devices = Devices::default();
        let (a, b): (DeviceKey, DeviceKey) = ("a".parse().unwrap(), "b".parse().unwrap());
        let same = r#"{"mac":"aa-bb-cc-00-11-22","usb_serial":"S"}"#;
        change(same).unwrap().apply(&mut devices, &a, "t").unwrap();
        change(same).unwrap().apply(&mut devices, &a, "t").unwrap();
        for taken in [r#"{"mac":"AABBCC001122"}"#, r#"{"usb_serial":"S"}"#] {
            let error = change(taken).unwrap().apply(&mut devices, &b, "t");
            assert!(matches!(error, Err(Error::Conflict(_))), "{taken}");
        }
        assert!(!devices.devices.contains_key(&b));
    }

    #[test]
    fn impossible_values_are_refused() {
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(129));
        for text in [r#"{"mac":"12"}"#, r#"{"name":""}"#, &long] {
            assert!(matches!(change(text), Err(Error::Invalid(_))), "{text}");
        }
        assert!(serde_json::from_str::<Change>(r#"{"nam":"x"}"#).is_err());
    }

    #[test]
    fn what_is_shown_of_a_token_opens_nothing() {
        let (text, credential) = generate("t").unwrap();
        let device = Device {
            tokens: vec![credential.clone()],
            ..Device::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let limits = crate::bundle::Limits::for_bundles_of(1);
        let store = Store::open(folder.path(), None, None, limits).unwrap();
        let shown = shown(&store, &"k1".parse().unwrap(), &device).to_string();
        assert!(shown.contains(&credential.id));
        assert!(!shown.contains(&credential.sha256));
        assert!(!shown.contains(text.rsplit('_').next().unwrap()));
    }
}
