//! Builds that go: by a person's word, or by the rule.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Value, json};

use super::manage::find;
use super::upload::known_model;
use crate::clock::{Moment, iso8601, parse};
use crate::device::{DeviceKey, ModelCode};
use crate::http::app::App;
use crate::http::error::{Error, Result};
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::firmware::Use;

/// `DELETE /api/models/{code}/firmware/{version}`
///
/// # Errors
/// 404, 409 for a build that is active or pinned.
pub async fn one(
    State(app): State<Arc<App>>,
    Path((code, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode> {
    let model = known_model(&app, &code)?;
    tokio::task::spawn_blocking(move || {
        let build = find(&app, &model, &name)?;
        if is_served(&app, &model, &build.name) {
            return Err(Error::Conflict(format!(
                "Firmware {name} of {model} is active or pinned"
            )));
        }
        app.store.firmware.delete(&model, &build.name)?;
        say_removed(&model, &build.name, &caller);
        Ok(StatusCode::NO_CONTENT)
    })
    .await?
}

/// `DELETE /api/models/{code}/firmware`: every build, the active one and the
/// image for older tools too. The model stays and serves nothing.
///
/// # Errors
/// 404; 409 while a device is pinned to a build, which it would ask for in vain.
pub async fn all(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>> {
    let model = known_model(&app, &code)?;
    tokio::task::spawn_blocking(move || {
        if let Some((device, pin)) = pinned(&app, &model) {
            return Err(Error::Conflict(format!(
                "Device {device} is pinned to firmware {pin} of {model}"
            )));
        }
        // Nothing is served that is about to go.
        let outcome = app.store.registry.models.change(|models| {
            let entry = models.ensure(&model, &iso8601(Moment::now().wall));
            entry.active = None;
            entry.previous.clear();
            Ok::<_, std::convert::Infallible>(())
        })?;
        outcome.unwrap_or_else(|never| match never {});
        let mut deleted = Vec::new();
        for build in app.store.firmware.builds(&model)? {
            app.store.firmware.delete(&model, &build.name)?;
            say_removed(&model, &build.name, &caller);
            deleted.push(build.name);
        }
        app.store.firmware.delete_loose(&model)?;
        Ok(Json(json!({ "deleted": deleted })))
    })
    .await?
}

fn say_removed(model: &ModelCode, name: &str, caller: &Caller) {
    Event::BundleRemoved
        .entry()
        .model(model)
        .version(&name)
        .actor(caller)
        .say(format_args!("{caller} deleted firmware {name} of {model}"));
}

/// A device of the model with a pin, and the pin.
fn pinned(app: &App, model: &ModelCode) -> Option<(DeviceKey, String)> {
    let devices = app.store.registry.devices.read();
    devices
        .devices
        .iter()
        .filter(|(_, device)| device.model.as_ref() == Some(model))
        .find_map(|(key, device)| Some((key.clone(), device.pin.clone()?)))
}

fn is_served(app: &App, model: &ModelCode, name: &str) -> bool {
    let registry = &app.store.registry;
    let (models, devices) = (registry.models.read(), registry.devices.read());
    let is_active = models
        .models
        .get(model)
        .is_some_and(|model| model.active.as_deref() == Some(name));
    is_active
        || devices.devices.values().any(|device| {
            device.model.as_ref() == Some(model) && device.pin.as_deref() == Some(name)
        })
}

/// Removes builds by the rule.
///
/// # Errors
/// As [`crate::store::firmware::Firmware::sweep`].
pub fn sweep(app: &App) -> crate::store::Result<()> {
    let now = Moment::now();
    let keep = app.config().firmware.keep_versions;
    let devices = app.store.registry.devices.read();
    let dumps = app.store.coredumps.collect(|_, entry| {
        Some((
            entry.model_code.clone(),
            entry.firmware_version.clone(),
            entry.app_elf_sha256.clone(),
        ))
    });
    app.store.firmware.sweep(keep, &now, |model, build| {
        let fits = |version: &Option<String>, app_elf: &Option<String>| match app_elf {
            Some(prefix) => build
                .app_elf_sha256
                .is_some_and(|digest| digest.has_prefix(prefix)),
            None => version.as_deref() == Some(build.version.as_str()),
        };
        let last_run = devices
            .devices
            .values()
            .filter(|device| device.model.as_ref() == Some(model))
            .filter_map(|device| device.running.as_ref())
            .filter(|running| fits(&running.version, &running.app_elf_sha256))
            .filter_map(|running| Duration::try_from(now.wall - parse(&running.at)?).ok())
            .min();
        Use {
            served: is_served(app, model, &build.name),
            last_run,
            needed: dumps.iter().any(|(of, version, app_elf)| {
                let same = of.as_deref().is_none_or(|of| of == model.as_str());
                same && fits(version, app_elf)
            }),
        }
    })?;
    Ok(())
}
