//! The route that registers and changes many devices at once.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Extension, Json};

use super::json_body_of;
use crate::api::devices::{Import, Imported};
use crate::fleet::{device_csv, device_import};
use crate::http::app_state::AppState;
use crate::http::error::{Error, Result};
use crate::identity::{Caller, RequiredRole, check};

/// Largest body: a file whose every other character is written as two, and tokens.
const MAX_BODY_BYTES: usize = 2 * device_csv::MAX_BYTES + (2 << 20);

/// `POST /api/import/devices` with `{"csv":..,"tokens":[..],"dry_run":bool}`: registers and
/// changes the devices of a table, all of them or none.
///
/// # Errors
/// 400 with a line for each fault, 403 for tokens from anybody but root, 409.
pub async fn devices(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Imported>> {
    let import: Import = json_body_of(request.into_body(), MAX_BODY_BYTES).await?;
    if !import.tokens.is_empty() {
        check(RequiredRole::Root, &caller, None)?;
    }
    tokio::task::spawn_blocking(move || {
        let Import {
            csv,
            tokens,
            dry_run,
        } = &import;
        let text = device_csv::text_of(csv.as_bytes());
        let text = text.map_err(|faults| Error::Invalid(faults.to_string()))?;
        let (rows, faults) = device_csv::parse(text);
        let registry = &app.store.registry;
        let list = (rows.as_slice(), faults);
        let done = device_import::import(registry, list, tokens, *dry_run, &caller)?;
        Ok(Json(done))
    })
    .await?
}
