//! `GET /api/iot/config`: a file of the gateway's operator, as it is.

use std::fs;
use std::io;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::fleet::device_config;
use crate::http::app_state::AppState;
use crate::http::device_caller::{self, DeviceCaller};
use crate::http::error::{Error, Result};
use crate::http::query::Query;
use crate::journal::Event;

/// `GET /api/iot/config`: a file for the device, else for its model.
///
/// # Errors
/// 401, 403, 404.
pub async fn config(State(app): State<Arc<AppState>>, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let device = device_caller::identify(&app, &parts, &query).await?;
    let places = device_config::places(
        device.has_own_credential().then_some(&device.key),
        device.model.as_ref(),
        &app.store.registry.models.read(),
    );
    let folder = app.store.data_dir.device_config();
    let read = tokio::task::spawn_blocking(move || {
        for place in places {
            match fs::read(folder.join(place)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    });
    let found = read.await?.map_err(|error| Error::internal(&error))?;
    let Some(bytes) = found else {
        if app.first_missing_config(&device.key) {
            say_missing(&device);
        }
        return Err(Error::NoSuchRoute);
    };
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-cache"),
    ];
    Ok((StatusCode::OK, headers, bytes).into_response())
}

fn say_missing(device: &DeviceCaller) {
    let key = &device.key;
    let own = device
        .has_own_credential()
        .then(|| format!("config/devices/{key}.json"));
    let model = device.model.as_ref();
    let model = model.map(|model| format!("config/models/{model}.json"));
    let files: Vec<String> = own.into_iter().chain(model).collect();
    Event::DeviceConfigMissing
        .entry()
        .device(key)
        .maybe("MODEL_CODE", device.model.as_ref())
        .say(format_args!(
            "no configuration for device {key}; create {}",
            files.join(" or ")
        ));
}
