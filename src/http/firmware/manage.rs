//! Builds for people: list, activate, roll back, block, fetch; and the upload
//! scripts.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};

use super::device::{answer, shown_version};
use super::upload::known_model;
use crate::clock::{Moment, iso8601};
use crate::device::ModelCode;
use crate::http::app::App;
use crate::http::error::{Error, Result};
use crate::http::upload_scripts::Script;
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::firmware::Build;
use crate::store::registry::Model;

/// `GET /api/pipeline/models/{code}/firmware-version`
///
/// # Errors
/// 404.
pub async fn version(State(app): State<Arc<App>>, Path(code): Path<String>) -> Result<Json<Value>> {
    let model = known_model(&app, &code)?;
    let models = app.store.registry.models.read();
    let active = models
        .models
        .get(&model)
        .and_then(|model| model.active.as_deref());
    Ok(Json(
        json!({ "code": model, "firmware_version": active.map(shown_version) }),
    ))
}

/// `GET /api/pipeline/upload.sh`
///
/// # Errors
/// 500 if the certificate's names make no address.
pub async fn upload_sh(State(app): State<Arc<App>>) -> Result<Response> {
    script(&app, Script::Shell)
}

/// `GET /api/pipeline/upload.ps1`
///
/// # Errors
/// As [`upload_sh`].
pub async fn upload_ps1(State(app): State<Arc<App>>) -> Result<Response> {
    script(&app, Script::PowerShell)
}

fn script(app: &App, script: Script) -> Result<Response> {
    let text = script
        .render(&app.public_url(), app.tls.ca_pem().as_deref())
        .map_err(|error| Error::internal(&error))?;
    Ok(([(CONTENT_TYPE, script.content_type())], text).into_response())
}

/// `GET /api/models/{code}/firmware`, newest first.
///
/// # Errors
/// 404.
pub async fn list(State(app): State<Arc<App>>, Path(code): Path<String>) -> Result<Json<Value>> {
    let model = known_model(&app, &code)?;
    tokio::task::spawn_blocking(move || {
        let models = app.store.registry.models.read();
        let entry = models.models.get(&model).cloned().unwrap_or_default();
        let builds: Vec<Value> = app
            .store
            .firmware
            .builds(&model)?
            .iter()
            .map(|build| shown(build, &entry))
            .collect();
        Ok(Json(json!({ "firmware": builds, "next_cursor": null })))
    })
    .await?
}

fn shown(build: &Build, model: &Model) -> Value {
    let mut value = serde_json::to_value(build).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        let is_active = model.active.as_deref() == Some(build.name.as_str());
        object.insert("active".into(), is_active.into());
        object.insert("blocked".into(), model.blocked.contains(&build.name).into());
    }
    value
}

/// A build that a person names.
#[derive(Debug, Deserialize)]
pub struct Named {
    version: String,
}

/// `PUT /api/models/{code}/active`
///
/// # Errors
/// 404 for an unknown model or build, 409 for a blocked one.
pub async fn activate(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    Extension(caller): Extension<Caller>,
    Json(named): Json<Named>,
) -> Result<Json<Value>> {
    let model = known_model(&app, &code)?;
    tokio::task::spawn_blocking(move || {
        let build = find(&app, &model, &named.version)?;
        set_active(&app, &model, &build.name, &caller)
    })
    .await?
}

pub(super) fn find(app: &App, model: &ModelCode, name: &str) -> Result<Build> {
    app.store
        .firmware
        .find(model, name)?
        .ok_or_else(|| Error::NotFound(format!("Firmware {name} of {model}")))
}

fn set_active(app: &App, model: &ModelCode, name: &str, caller: &Caller) -> Result<Json<Value>> {
    let outcome = app.store.registry.models.change(|models| {
        let entry = models.ensure(model, &iso8601(Moment::now().wall));
        if entry.is_blocked(name) {
            return Err(Error::Conflict(format!(
                "Firmware {name} of {model} is blocked"
            )));
        }
        entry.set_active(name);
        Ok(entry.id)
    })?;
    let id = outcome?;
    say_activated(model, name, caller);
    Ok(Json(json!({
        "id": id,
        "code": model,
        "firmware_version": shown_version(name),
        "active": true,
    })))
}

fn say_activated(model: &ModelCode, name: &str, caller: &Caller) {
    Event::FirmwareActivated
        .entry()
        .model(model)
        .version(&name)
        .actor(caller)
        .say(format_args!(
            "{caller} made firmware {name} of {model} active"
        ));
}

/// `POST /api/models/{code}/rollback`: the build that was active before.
///
/// # Errors
/// 404, 409 if there is none to go back to.
pub async fn rollback(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>> {
    let model = known_model(&app, &code)?;
    tokio::task::spawn_blocking(move || {
        let there: Vec<String> = app
            .store
            .firmware
            .builds(&model)?
            .into_iter()
            .map(|build| build.name)
            .collect();
        let outcome = app.store.registry.models.change(|models| {
            let entry = models.ensure(&model, &iso8601(Moment::now().wall));
            let usable = |name: &String| there.contains(name) && !entry.is_blocked(name);
            let at = entry.previous.iter().rposition(usable).ok_or_else(|| {
                Error::Conflict(format!(
                    "Model {model} has no earlier firmware to go back to"
                ))
            })?;
            // What was tried in between is not gone back to again.
            let name = entry.previous.drain(at..).next().unwrap_or_default();
            entry.active = Some(name.clone());
            Ok::<_, Error>((entry.id, name))
        })?;
        let (id, name) = outcome?;
        say_activated(&model, &name, &caller);
        Ok(Json(json!({
            "id": id,
            "code": model,
            "firmware_version": shown_version(&name),
            "name": name,
            "active": true,
        })))
    })
    .await?
}

/// `PUT /api/models/{code}/blocked/{version}`: never serve it again. The answer
/// tells whether the model serves nothing now.
///
/// # Errors
/// 404.
pub async fn block(
    State(app): State<Arc<App>>,
    Path((code, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>> {
    let model = known_model(&app, &code)?;
    tokio::task::spawn_blocking(move || {
        find(&app, &model, &name)?;
        let is_active = set_blocked(&app, &model, &name, true)?;
        let entry = Event::ModelChanged
            .entry()
            .model(&model)
            .version(&name)
            .actor(&caller);
        match is_active {
            true => entry.at(log::Level::Warn).say(format_args!(
                "{caller} blocked firmware {name} of {model}, which is active: the model serves \
                 nothing now"
            )),
            false => entry.say(format_args!("{caller} blocked firmware {name} of {model}")),
        }
        Ok(Json(json!({
            "code": model,
            "name": name,
            "blocked": true,
            "active": is_active,
        })))
    })
    .await?
}

/// `DELETE /api/models/{code}/blocked/{version}`
///
/// # Errors
/// 404.
pub async fn unblock(
    State(app): State<Arc<App>>,
    Path((code, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode> {
    let model = known_model(&app, &code)?;
    tokio::task::spawn_blocking(move || {
        set_blocked(&app, &model, &name, false)?;
        Event::ModelChanged
            .entry()
            .model(&model)
            .version(&name)
            .actor(&caller)
            .say(format_args!(
                "{caller} unblocked firmware {name} of {model}"
            ));
        Ok(StatusCode::NO_CONTENT)
    })
    .await?
}

/// Gives whether it is the active build.
fn set_blocked(app: &App, model: &ModelCode, name: &str, blocked: bool) -> Result<bool> {
    let outcome = app.store.registry.models.change(|models| {
        let entry = models.ensure(model, &iso8601(Moment::now().wall));
        entry.blocked.retain(|other| other != name);
        if blocked {
            entry.blocked.push(name.to_owned());
        }
        Ok::<_, Infallible>(entry.active.as_deref() == Some(name))
    })?;
    Ok(outcome.unwrap_or_else(|never| match never {}))
}

/// `GET /api/models/{code}/firmware/{version}.zip` (or `.bin`)
///
/// # Errors
/// 404.
pub async fn export(
    State(app): State<Arc<App>>,
    Path((code, file)): Path<(String, String)>,
    request: Request,
) -> Result<Response> {
    let model = known_model(&app, &code)?;
    let (parts, _) = request.into_parts();
    let missing = || Error::NotFound(format!("Firmware file {file} of {model}"));
    let (name, is_zip) = match (file.strip_suffix(".zip"), file.strip_suffix(".bin")) {
        (Some(name), _) => (name, true),
        (_, Some(name)) => (name, false),
        _ => return Err(missing()),
    };
    let opened = {
        let (app, model, name) = (Arc::clone(&app), model.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || match is_zip {
            true => app.store.firmware.bundle(&model, &name),
            false => app.store.firmware.image(&model, &name),
        })
        .await??
    };
    let stored = opened.ok_or_else(missing)?;
    let kind = match is_zip {
        true => "application/zip",
        false => "application/octet-stream",
    };
    answer(
        &parts,
        stored,
        None,
        kind,
        &format!("{model}-{file}"),
        |_, _| {},
    )
}
