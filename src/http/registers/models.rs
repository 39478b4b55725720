//! Models over HTTP: list, show, create, change.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::{condition, json_body, name, no_model};
use crate::device::ModelCode;
use crate::firmware;
use crate::fleet::models::{self as fleet, Change};
use crate::http::app::App;
use crate::http::error::Result;
use crate::identity::Caller;
use crate::store::Store;
use crate::store::registry::{BuildRef, Model};

/// `GET /api/models`
///
/// # Errors
/// None of its own.
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<Value>> {
    tokio::task::spawn_blocking(move || {
        let models = app.store.registry.models.read().models.clone();
        let shown: Vec<Value> = models
            .iter()
            .map(|(code, model)| shown(&app.store, code, model))
            .collect();
        Ok(Json(json!({ "models": shown, "next_cursor": null })))
    })
    .await?
}

/// `GET /api/models/{code}`
///
/// # Errors
/// 404.
pub async fn show(State(app): State<Arc<App>>, Path(code): Path<String>) -> Result<Json<Value>> {
    let code: ModelCode = name(&code, "model code")?;
    tokio::task::spawn_blocking(move || {
        let model = app.store.registry.models.read().models.get(&code).cloned();
        let model = model.ok_or_else(|| no_model(&code))?;
        Ok(Json(shown(&app.store, &code, &model)))
    })
    .await?
}

/// Reads the model's folder if nobody did yet.
fn shown(store: &Store, code: &ModelCode, model: &Model) -> Value {
    let name = |build: &BuildRef| firmware::shown_name(store, code, build);
    let devices = store.registry.devices.read();
    let count = devices
        .devices
        .values()
        .filter(|device| device.model.as_ref() == Some(code))
        .count();
    json!({
        "code": code,
        "id": model.id,
        "activate": model.activate,
        "held": model.held,
        "active": model.active.as_ref().map(name),
        "active_build_id": model.active_id(),
        "state": firmware::state_of(store, code, model).as_str(),
        "previous": model.previous.iter().map(name).collect::<Vec<_>>(),
        "blocked": model.blocked.iter().map(|block| name(&block.build)).collect::<Vec<_>>(),
        "created_at": model.created_at,
        "devices": count,
    })
}

/// `PUT /api/models/{code}` with `{"activate":"on-upload|manual","held":bool}`:
/// creates or changes; with `If-None-Match: *` it only creates, with
/// `If-Match: *` it only changes.
///
/// # Errors
/// 400, 404, 409.
pub async fn put(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Value>> {
    let code: ModelCode = name(&code, "model code")?;
    let (parts, body) = request.into_parts();
    let condition = condition(&parts.headers);
    let change: Change = json_body(body).await?;
    tokio::task::spawn_blocking(move || {
        let registry = &app.store.registry;
        let model = fleet::put(registry, &code, &change, condition, &caller)?;
        Ok(Json(shown(&app.store, &code, &model)))
    })
    .await?
}
