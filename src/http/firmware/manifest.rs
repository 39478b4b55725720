//! `GET /api/iot/manifest.json`: the offered build, as the `http_request`
//! update of ESPHome reads it (the manifest of ESP Web Tools with `ota`).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};

use crate::api::firmware::{Manifest, ManifestBuild, ManifestOta};
use crate::firmware;
use crate::http::app_state::AppState;
use crate::http::device_caller;
use crate::http::error::{Error, Result};
use crate::http::query::Query;
use crate::rollouts::Ask;
use crate::store::firmware::Build;

use super::offered::from_rollout;

/// Handles the request.
///
/// # Errors
/// 401, 403, 404 if the device is offered nothing.
pub async fn manifest(
    State(app): State<Arc<AppState>>,
    request: Request,
) -> Result<Json<Manifest>> {
    let (parts, _) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let device = device_caller::identify(&app, &parts, &query).await?;
    let model = device.model()?.clone();
    let missing = || Error::NotFound(format!("Firmware {model}"));
    let (key, of) = (device.key.clone(), model.clone());
    let offered = tokio::task::spawn_blocking(move || -> Result<Option<Build>> {
        let rollout = from_rollout(&app, &of, &key, Ask::Version, None);
        match firmware::offer_now(&app.store, &of, &key, rollout) {
            Ok(build) => Ok(app.store.firmware.get(&of, build)?),
            Err(_) => Ok(None),
        }
    });
    let build = offered.await??.ok_or_else(missing)?;
    // a relative path keeps the user and password of the manifest's URL, but not its query
    let path = match query.get("device_key") {
        Some(_) => format!("/api/iot/firmware?device_key={}", device.key),
        None => String::from("/api/iot/firmware"),
    };
    let builds = chip_family(&build).zip(build.bin_md5.clone());
    let builds = builds.map(|(chip_family, md5)| ManifestBuild {
        chip_family,
        ota: ManifestOta {
            path,
            md5,
            summary: format!("{} of {model}", build.name),
        },
    });
    Ok(Json(Manifest {
        name: model.to_string(),
        version: build.version.to_string(),
        builds: builds.into_iter().collect(),
    }))
}

/// The chip as ESP Web Tools writes it: `ESP32`, `ESP32-S3`.
fn chip_family(build: &Build) -> Option<String> {
    let variant = build.chip.as_deref()?.strip_prefix("esp32")?;
    Some(match variant {
        "" => String::from("ESP32"),
        variant => format!("ESP32-{}", variant.to_ascii_uppercase()),
    })
}
