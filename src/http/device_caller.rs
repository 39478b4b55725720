//! The device and model of a request, from its token or query.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::app_state::AppState;
use super::authentication;
use super::error::{Error, Result};
use super::query::Query;
use crate::config::AuthMode;
use crate::device::{DeviceKey, ModelCode};
use crate::fleet::evidence::{Kind, Names};
use crate::fleet::fleet_tokens::{self, Admission, FleetToken};
use crate::fleet::last_contact::{self, Contact};
use crate::fleet::reported::Reported;
use crate::identity::{Caller, RequiredRole, check, presented_user};
use crate::store::registry::Role;

/// The identity of who shows a fleet's token.
const FLEET_TOKEN: &str = "fleet-token";

/// An identified device.
#[derive(Clone, Debug)]
pub struct DeviceCaller {
    pub key: DeviceKey,
    pub model: Option<ModelCode>,
    /// `token`, `fleet-token` or `open`.
    pub identity: &'static str,
    /// When it was heard before this request.
    pub last_contact: Option<String>,
    /// Whether the request says what the device runs.
    pub says_running: bool,
}

/// The sender of a dump.
#[derive(Clone, Debug)]
pub enum Sender {
    Device(DeviceCaller),
    /// A board of which only the dump is stored.
    DumpOnly {
        /// The key under which the dump is stored.
        device: DeviceCaller,
        /// The key that the board claims to have.
        claimed: DeviceKey,
        /// Why it gets nothing else.
        why: String,
    },
}

impl DeviceCaller {
    fn new(key: DeviceKey, model: Option<ModelCode>, identity: &'static str) -> Self {
        Self {
            key,
            model,
            identity,
            last_contact: None,
            says_running: false,
        }
    }

    /// Whether it used a token of its own. A fleet token is in every board, so it
    /// does not give access to data of a single device or to bundles with symbols.
    pub fn has_own_credential(&self) -> bool {
        self.identity != FLEET_TOKEN
    }

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

/// Identifies the device by its own token, by a fleet token and `?device_key=`, or,
/// in open mode, by `?device_key=` alone. Notes the contact.
///
/// # Errors
/// 400, 401, 403 or 404 as the contract says.
pub async fn identify(app: &Arc<AppState>, parts: &Parts, query: &Query) -> Result<DeviceCaller> {
    match sender(app, parts, query).await? {
        Sender::Device(device) => Ok(device),
        Sender::DumpOnly { why, .. } => Err(Error::Forbidden(why)),
    }
}

/// As [`identify`], for a dump, which is also stored for boards that get nothing
/// else.
///
/// # Errors
/// As [`identify`].
pub async fn sender(app: &Arc<AppState>, parts: &Parts, query: &Query) -> Result<Sender> {
    let open = app.config().auth.devices == AuthMode::Open;
    let caller = authentication::caller(app, parts).await?;
    let mut sender = if open && matches!(caller, Caller::Anonymous | Caller::Local { .. }) {
        {
            let device = open_device(app, query)?;
            authentication::signed_in(parts);
            Sender::Device(device)
        }
    } else {
        check(RequiredRole::Device, &caller, None)?;
        match caller {
            Caller::Device { key, model, .. } => {
                Sender::Device(DeviceCaller::new(key, model, "token"))
            }
            Caller::Token {
                role: Role::Fleet,
                name,
                token_id,
                model,
            } => fleet_board(app, fleet_key(parts, query)?, name, token_id, model).await?,
            _ => return Err(Error::DeviceUnknown),
        }
    };
    if let Sender::Device(device) = &mut sender {
        note(app, device, query).await?;
    }
    Ok(sender)
}

/// Notes the contact, and what the device reports of itself with it.
async fn note(app: &Arc<AppState>, device: &mut DeviceCaller, query: &Query) -> Result<()> {
    let reported = Reported::of(|name| query.get(name));
    let heard = last_contact::heard(&app.store.registry, &device.key, &reported);
    device.last_contact = heard.before;
    device.says_running = reported.running.is_some();
    if reported.running.is_none() && heard.reset.is_none() {
        return Ok(());
    }
    let (app, key, model) = (Arc::clone(app), device.key.clone(), device.model.clone());
    tokio::task::spawn_blocking(move || {
        if let Some(running) = &reported.running {
            let contact = Contact {
                device: &key,
                model: model.as_ref(),
                is_usb: false,
            };
            last_contact::learned(&app.store, contact, &[(Kind::Running, Names::Any(running))]);
        }
        let devices = app.store.registry.devices.read();
        if let Some((reason, device)) = heard.reset.zip(devices.get(&key)) {
            app.ingest.crashes().count_reset(&key, device, reason);
        }
    })
    .await?;
    Ok(())
}

fn device_key(query: &Query) -> Result<DeviceKey> {
    query
        .get("device_key")
        .ok_or(Error::DeviceUnknown)?
        .parse()
        .map_err(|_| Error::Invalid(String::from("Invalid device key format")))
}

/// The board that shows a fleet's token: in the query, or as the user name of Basic.
fn fleet_key(parts: &Parts, query: &Query) -> Result<DeviceKey> {
    let header = parts.headers.get(AUTHORIZATION);
    let user = header
        .and_then(|value| presented_user(value.to_str().ok()?))
        .filter(|user| !user.is_empty());
    match (query.get("device_key"), user) {
        (None, Some(user)) => user
            .parse()
            .map_err(|_| Error::Invalid(String::from("Invalid device key format"))),
        _ => device_key(query),
    }
}

fn open_device(app: &AppState, query: &Query) -> Result<DeviceCaller> {
    let key = device_key(query)?;
    let devices = app.store.registry.devices.read();
    match devices.devices.get(&key).filter(|device| device.registered) {
        Some(device) => Ok(DeviceCaller::new(key, device.model.clone(), "open")),
        None => Err(Error::NotFound(format!("Device {key}"))),
    }
}

async fn fleet_board(
    app: &Arc<AppState>,
    claimed: DeviceKey,
    name: String,
    token_id: String,
    model: Option<ModelCode>,
) -> Result<Sender> {
    let token = FleetToken {
        id: &token_id,
        name: &name,
        model: model.as_ref(),
    };
    let known = fleet_tokens::known(&app.store.registry.devices.read(), &claimed, token);
    let admission = match known {
        Some(admission) => admission,
        None => {
            let (app, key, model) = (Arc::clone(app), claimed.clone(), model.clone());
            tokio::task::spawn_blocking(move || {
                let token = FleetToken {
                    id: &token_id,
                    name: &name,
                    model: model.as_ref(),
                };
                let limits = app.config().auth.fleet;
                let registry = &app.store.registry;
                app.fleet_tokens.admit(registry, &key, token, limits)
            })
            .await?
        }
    };
    let device = |key| DeviceCaller::new(key, model, FLEET_TOKEN);
    Ok(match admission {
        Admission::Registered => Sender::Device(device(claimed)),
        Admission::DumpOnly { key, why } => Sender::DumpOnly {
            device: device(key),
            claimed,
            why,
        },
    })
}
