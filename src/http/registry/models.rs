//! Models over HTTP: list, show, create, change.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::{Extension, Json};

use super::{condition, json_body, name, no_model};
use crate::api::models::{Change, List, Model as Shown};
use crate::device::ModelCode;
use crate::firmware;
use crate::fleet::models as fleet;
use crate::http::app_state::AppState;
use crate::http::error::Result;
use crate::identity::Caller;
use crate::store::Store;
use crate::store::registry::Model;

/// `GET /api/models`
///
/// # Errors
/// None of its own.
pub async fn list(State(app): State<Arc<AppState>>) -> Result<Json<List>> {
    tokio::task::spawn_blocking(move || {
        let models = app.store.registry.models.read().models.clone();
        let models = models.iter();
        let models = models.map(|(code, model)| shown(&app.store, code, model));
        Ok(Json(List {
            models: models.collect(),
            next_cursor: None,
        }))
    })
    .await?
}

/// `GET /api/models/{code}`
///
/// # Errors
/// 404.
pub async fn show(
    State(app): State<Arc<AppState>>,
    Path(code): Path<String>,
) -> Result<Json<Shown>> {
    let code: ModelCode = name(&code, "model code")?;
    tokio::task::spawn_blocking(move || {
        let model = app.store.registry.models.read().models.get(&code).cloned();
        let model = model.ok_or_else(|| no_model(&code))?;
        Ok(Json(shown(&app.store, &code, &model)))
    })
    .await?
}

/// Reads the model's folder if nobody did yet.
fn shown(store: &Store, code: &ModelCode, model: &Model) -> Shown {
    let devices = store.registry.devices.read();
    let of_model = devices.devices.values();
    let of_model =
        of_model.filter(|device| device.model.as_ref() == Some(code) && device.retired.is_none());
    let count = of_model.count() as u64;
    let state = firmware::state_of(store, code, model);
    Shown::of(code, model, state.as_str(), count, |build| {
        firmware::shown_name(store, code, build)
    })
}

/// `PUT /api/models/{code}` with `{"activate":"on-upload|rollout|manual","held":bool}`:
/// creates or changes; with `If-None-Match: *` it only creates, with
/// `If-Match: *` it only changes.
///
/// # Errors
/// 400, 404, 409.
pub async fn put(
    State(app): State<Arc<AppState>>,
    Path(code): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Shown>> {
    let code: ModelCode = name(&code, "model code")?;
    let (parts, body) = request.into_parts();
    let condition = condition(&parts.headers);
    let change: Change = json_body(body).await?;
    tokio::task::spawn_blocking(move || {
        let registry = &app.store.registry;
        let model = fleet::put(registry, &code, &change, condition, &caller)?;
        if change.held == Some(true) {
            app.rollouts.was_held(&code, &caller.to_string());
        }
        Ok(Json(shown(&app.store, &code, &model)))
    })
    .await?
}
