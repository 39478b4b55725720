//! Which device a request of a device is from, and of which model.

use std::convert::Infallible;
use std::sync::Arc;

use http::request::Parts;

use super::app::App;
use super::auth;
use super::error::{Error, Result};
use super::query::Query;
use crate::clock::{Moment, iso8601};
use crate::config::AuthMode;
use crate::device::{DeviceKey, ModelCode};
use crate::identity::{Caller, Need, check};
use crate::journal::Event;
use crate::store::registry::Role;

/// A device that speaks to us.
#[derive(Clone, Debug)]
pub struct DeviceCaller {
    pub key: DeviceKey,
    pub model: Option<ModelCode>,
    /// `token`, `fleet-token` or `open`.
    pub identity: &'static str,
}

impl DeviceCaller {
    /// The model, which firmware requests cannot do without.
    ///
    /// # Errors
    /// 404, as for a device whose model has no firmware.
    pub fn model(&self) -> Result<&ModelCode> {
        self.model
            .as_ref()
            .ok_or_else(|| Error::NotFound(format!("Firmware for device {}", self.key)))
    }
}

/// Tells the device: its own token; a fleet's token and `?device_key=`; or, in
/// open mode, `?device_key=` alone.
///
/// # Errors
/// 400, 401, 403 or 404 in the words devices know.
pub async fn identify(app: &Arc<App>, parts: &Parts, query: &Query) -> Result<DeviceCaller> {
    let open = app.config().auth.devices == AuthMode::Open;
    let caller = auth::caller(app, parts)?;
    if open && matches!(caller, Caller::Anonymous | Caller::Local { .. }) {
        return open_device(app, query);
    }
    check(Need::Device, &caller, None)?;
    match settle(app, caller).await? {
        Caller::Device { key, model, .. } => Ok(DeviceCaller {
            key,
            model,
            identity: "token",
        }),
        Caller::Token {
            role: Role::Fleet,
            name,
            model,
            ..
        } => fleet_device(app, query, &name, model).await,
        _ => Err(Error::DeviceUnknown),
    }
}

/// The first use of a device's newer token ends the older one.
///
/// # Errors
/// When that cannot be written down.
pub async fn settle(app: &Arc<App>, caller: Caller) -> Result<Caller> {
    if let Caller::Device {
        key,
        token_id,
        first_use: true,
        ..
    } = &caller
    {
        let (app, key, token_id) = (Arc::clone(app), key.clone(), token_id.clone());
        tokio::task::spawn_blocking(move || end_older_tokens(&app, &key, &token_id)).await??;
    }
    Ok(caller)
}

fn end_older_tokens(app: &App, key: &DeviceKey, token_id: &str) -> Result<()> {
    let now = iso8601(Moment::now().wall);
    let ended = app.store.registry.devices.change(|devices| {
        let Some(device) = devices.devices.get_mut(key) else {
            return Ok::<_, Infallible>(Vec::new());
        };
        let at = device
            .tokens
            .iter()
            .position(|token| token.id == token_id)
            .unwrap_or(0);
        // Older ones stand before it, a still newer one after it.
        let ended: Vec<String> = device.tokens.drain(..at).map(|token| token.id).collect();
        if let Some(token) = device.tokens.first_mut() {
            token.first_used_at.get_or_insert(now);
        }
        Ok(ended)
    })?;
    for id in ended.unwrap_or_else(|never| match never {}) {
        Event::TokenEnded.entry().device(key).say(format_args!(
            "token {id} of {key} ended: the newer one is in use"
        ));
    }
    Ok(())
}

fn device_key(query: &Query) -> Result<DeviceKey> {
    query
        .get("device_key")
        .ok_or(Error::DeviceUnknown)?
        .parse()
        .map_err(|_| Error::Invalid(String::from("Invalid device key format")))
}

fn open_device(app: &App, query: &Query) -> Result<DeviceCaller> {
    let key = device_key(query)?;
    let devices = app.store.registry.devices.read();
    match devices.devices.get(&key).filter(|device| device.registered) {
        Some(device) => Ok(DeviceCaller {
            model: device.model.clone(),
            key,
            identity: "open",
        }),
        None => Err(Error::NotFound(format!("Device {key}"))),
    }
}

/// A fleet's device is registered when it is first heard of.
async fn fleet_device(
    app: &Arc<App>,
    query: &Query,
    fleet: &str,
    model: Option<ModelCode>,
) -> Result<DeviceCaller> {
    let key = device_key(query)?;
    let known = app.store.registry.devices.read().devices.get(&key).cloned();
    if let Some(device) = known.filter(|device| device.registered) {
        if device.model.is_some() && device.model != model {
            return Err(Error::Forbidden(format!(
                "Device {key} is not of this fleet's model"
            )));
        }
    } else {
        let (app, key, model) = (Arc::clone(app), key.clone(), model.clone());
        let fleet = fleet.to_owned();
        tokio::task::spawn_blocking(move || register(&app, &key, model, &fleet)).await??;
    }
    Ok(DeviceCaller {
        key,
        model,
        identity: "fleet-token",
    })
}

fn register(app: &App, key: &DeviceKey, model: Option<ModelCode>, fleet: &str) -> Result<()> {
    let now = iso8601(Moment::now().wall);
    let outcome = app.store.registry.devices.change(|devices| {
        let device = devices.ensure(key, &now);
        device.registered = true;
        device.model.clone_from(&model);
        Ok::<_, Infallible>(())
    })?;
    outcome.unwrap_or_else(|never| match never {});
    Event::DeviceFirstSeen
        .entry()
        .device(key)
        .maybe("MODEL_CODE", model.as_ref())
        .at(log::Level::Info)
        .say(format_args!(
            "device {key} came with the fleet token {fleet} and is registered now; name it with \
             `espgate devices set {key} --name NAME`"
        ));
    Ok(())
}
