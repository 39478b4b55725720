//! Routes for builds: list, activate, roll back, block, delete, download; and the
//! upload scripts.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::file_response::answer;
use crate::api::builds::Reason;
use crate::api::firmware::{Activated, Blocked, Build, Deleted, List, Named, Version};
use crate::device::ModelCode;
use crate::firmware::{self, build_named, known_model, manage};
use crate::http::app_state::AppState;
use crate::http::error::{Error, Result};
use crate::http::registry::json_body;
use crate::http::upload_scripts::Script;
use crate::identity::Caller;
use crate::store::firmware::Kind;
use crate::store::registry::Model;

/// `GET /api/pipeline/models/{code}/firmware-version`
///
/// # Errors
/// 404.
pub async fn version(
    State(app): State<Arc<AppState>>,
    Path(code): Path<String>,
) -> Result<Json<Version>> {
    tokio::task::spawn_blocking(move || {
        let model = known_model(&app.store, &code)?;
        let models = app.store.registry.models.read();
        let active = models.models.get(&model).and_then(Model::active_id);
        let active = active.map(|id| app.store.firmware.get(&model, id));
        let active = active.transpose()?.flatten();
        Ok(Json(Version {
            code: model.to_string(),
            firmware_version: active.map(|build| build.version.to_string()),
        }))
    })
    .await?
}

/// `GET /api/pipeline/upload.sh`
///
/// # Errors
/// 500 if the certificate's names make no address.
pub async fn upload_sh(State(app): State<Arc<AppState>>) -> Result<Response> {
    script(&app, Script::Shell)
}

/// `GET /api/pipeline/upload.ps1`
///
/// # Errors
/// As [`upload_sh`].
pub async fn upload_ps1(State(app): State<Arc<AppState>>) -> Result<Response> {
    script(&app, Script::PowerShell)
}

fn script(app: &AppState, script: Script) -> Result<Response> {
    let text = script
        .render(&app.public_url(), app.tls.ca_pem().as_deref())
        .map_err(|error| Error::internal(&error))?;
    Ok(([(CONTENT_TYPE, script.content_type())], text).into_response())
}

/// `GET /api/models/{code}/firmware`, newest first.
///
/// # Errors
/// 404.
pub async fn list(
    State(app): State<Arc<AppState>>,
    Path(code): Path<String>,
) -> Result<Json<List>> {
    tokio::task::spawn_blocking(move || {
        let model = known_model(&app.store, &code)?;
        let models = app.store.registry.models.read();
        let entry = models.models.get(&model).cloned().unwrap_or_default();
        let builds = app.store.firmware.builds(&model)?;
        Ok(Json(List {
            firmware: builds
                .iter()
                .map(|build| Build::of(build, &entry))
                .collect(),
            next_cursor: None,
        }))
    })
    .await?
}

/// `PUT /api/models/{code}/active`
///
/// # Errors
/// 404 for an unknown model or build, 409 for a blocked one.
pub async fn activate(
    State(app): State<Arc<AppState>>,
    Path(code): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Activated>> {
    let named: Named = json_body(request.into_body()).await?;
    tokio::task::spawn_blocking(move || {
        let model = known_model(&app.store, &code)?;
        let activated = manage::activate(&app.store, &model, &named.version, &caller)?;
        Ok(Json(shown(&model, activated)))
    })
    .await?
}

/// `POST /api/models/{code}/rollback`: the build that was active before.
///
/// # Errors
/// 404, 409 if there is no previous build.
pub async fn rollback(
    State(app): State<Arc<AppState>>,
    Path(code): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Activated>> {
    tokio::task::spawn_blocking(move || {
        let model = known_model(&app.store, &code)?;
        let activated = manage::roll_back(&app.store, &model, &caller)?;
        Ok(Json(shown(&model, activated)))
    })
    .await?
}

fn shown(model: &ModelCode, activated: manage::Activated) -> Activated {
    let build = activated.build;
    Activated {
        id: activated.model_id,
        code: model.to_string(),
        firmware_version: build.version.to_string(),
        build_id: build.id().to_string(),
        name: build.name,
        active: true,
    }
}

/// Longest reason for a block, in characters.
const MAX_REASON: usize = 500;

/// `PUT /api/models/{code}/blocked/{version}`, also with `{"why":..}`: never serve it
/// again. The answer says whether nothing is served for the model now.
///
/// # Errors
/// 400, 404.
pub async fn block(
    State(app): State<Arc<AppState>>,
    Path((code, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Blocked>> {
    let Reason { why } = json_body(request.into_body()).await?;
    let why = why.filter(|why| !why.trim().is_empty());
    if why
        .as_ref()
        .is_some_and(|why| why.chars().count() > MAX_REASON)
    {
        return Err(Error::Invalid(format!(
            "Invalid why: at most {MAX_REASON} characters"
        )));
    }
    tokio::task::spawn_blocking(move || {
        let model = known_model(&app.store, &code)?;
        let blocked = manage::block(&app.store, &model, &name, why.as_deref(), &caller)?;
        app.rollouts.was_blocked(
            &model,
            blocked.build.id(),
            why.as_deref(),
            &caller.to_string(),
        );
        Ok(Json(Blocked {
            code: model.to_string(),
            build_id: blocked.build.id().to_string(),
            name: blocked.build.name,
            blocked: true,
            active: blocked.is_active,
            still_active: blocked.still_active,
        }))
    })
    .await?
}

/// `DELETE /api/models/{code}/blocked/{version}`
///
/// # Errors
/// 404.
pub async fn unblock(
    State(app): State<Arc<AppState>>,
    Path((code, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode> {
    tokio::task::spawn_blocking(move || {
        let model = known_model(&app.store, &code)?;
        manage::unblock(&app.store, &model, &name, &caller)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await?
}

/// `DELETE /api/models/{code}/firmware/{version}`
///
/// # Errors
/// 404, 409 for a build that is active or pinned.
pub async fn delete(
    State(app): State<Arc<AppState>>,
    Path((code, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode> {
    tokio::task::spawn_blocking(move || {
        let model = known_model(&app.store, &code)?;
        firmware::remove::one(&app.store, &model, &name, &caller)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await?
}

/// `DELETE /api/models/{code}/firmware`: every build, the active one too.
///
/// # Errors
/// 404; 409 while a device is pinned to a build.
pub async fn delete_all(
    State(app): State<Arc<AppState>>,
    Path(code): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Deleted>> {
    tokio::task::spawn_blocking(move || {
        let model = known_model(&app.store, &code)?;
        let deleted = firmware::remove::all(&app.store, &model, &caller)?;
        Ok(Json(Deleted { deleted }))
    })
    .await?
}

/// `GET /api/models/{code}/firmware/{version}.zip` (or `.bin`)
///
/// # Errors
/// 404.
pub async fn export(
    State(app): State<Arc<AppState>>,
    Path((code, file)): Path<(String, String)>,
    request: Request,
) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let missing = Error::NotFound(format!("Firmware file {file} of {code}"));
    let (name, wanted, kind) = match (file.strip_suffix(".zip"), file.strip_suffix(".bin")) {
        (Some(name), _) => (name.to_owned(), Kind::Zip, "application/zip"),
        (_, Some(name)) => (name.to_owned(), Kind::Bin, "application/octet-stream"),
        _ => return Err(missing),
    };
    let file_name = format!("{code}-{file}");
    let opened = tokio::task::spawn_blocking(move || -> Result<_> {
        let model = known_model(&app.store, &code)?;
        let build = build_named(&app.store, &model, &name)?;
        Ok(match wanted {
            Kind::Zip => app.store.firmware.bundle(&model, build.id())?,
            Kind::Bin => app.store.firmware.image(&model, build.id())?,
        })
    });
    let stored = opened.await??.ok_or(missing)?;
    answer(&parts, stored, None, kind, &file_name, |_, _| {})
}
