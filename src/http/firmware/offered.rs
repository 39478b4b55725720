//! What a device is offered: its version, and what a rollout has to do with it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};

use crate::api::firmware::Offered;
use crate::build_id::BuildId;
use crate::device::{DeviceKey, ModelCode};
use crate::firmware::{self, FromRollout};
use crate::http::app_state::AppState;
use crate::http::device_caller;
use crate::http::error::Result;
use crate::http::query::Query;
use crate::journal::chain;
use crate::rollouts::Ask;
use crate::rollouts::serve::Gets;
use crate::store::firmware::Build;

/// What the model's rollout gives a device, noted before it gets it.
pub(super) fn from_rollout(
    app: &AppState,
    model: &ModelCode,
    device: &DeviceKey,
    ask: Ask,
    named: Option<BuildId>,
) -> Option<FromRollout> {
    let asked = app.rollouts.ask(model, device, ask, named);
    // without a note of it on the disk the target is not given away
    let asked = asked.unwrap_or_else(|error| {
        let entry = error.event().entry().device(device).model(model);
        entry.say(format_args!(
            "cannot save the rollout of {model}: {}: {device} gets the base",
            chain(&error)
        ));
        let rollout = app.store.rollouts.live(model);
        rollout.map(|rollout| (rollout.target.build_id, Gets::Base))
    });
    asked.map(|(target, gets)| FromRollout { gets, target })
}

/// `GET /api/iot/firmware-version`: what the device would be served.
///
/// # Errors
/// 401, 403.
pub async fn version(State(app): State<Arc<AppState>>, request: Request) -> Result<Json<Offered>> {
    let (parts, _) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let device = device_caller::identify(&app, &parts, &query).await?;
    let offered = tokio::task::spawn_blocking(move || -> Result<(Option<Build>, Duration)> {
        let Some(model) = &device.model else {
            return Ok((None, firmware::poll_after(None, &device.key)));
        };
        let from_rollout = from_rollout(&app, model, &device.key, Ask::Version, None);
        let rollout = app.store.rollouts.of_model(model);
        let poll_after = firmware::poll_after(rollout.as_deref(), &device.key);
        let offered = firmware::offer_now(&app.store, model, &device.key, from_rollout);
        let build = match offered {
            Ok(build) => app.store.firmware.get(model, build)?,
            Err(_) => None,
        };
        Ok((build, poll_after))
    });
    let (offered, poll_after) = offered.await??;
    Ok(Json(Offered {
        firmware_version: offered.as_ref().map(|build| build.version.to_string()),
        build_id: offered.map(|build| build.id().to_string()),
        poll_after_s: poll_after.as_secs(),
    }))
}
