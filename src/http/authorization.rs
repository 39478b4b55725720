//! Authorization: checks the caller's role before a request reaches its handler.

use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::app_state::AppState;
use super::authentication;
use super::error::Result;
use crate::config::AuthMode;
use crate::identity::{Caller, RequiredRole, check};

/// Middleware: checks the caller against the route's required role, then adds it to
/// the request as an extension. Device routes identify their device themselves.
///
/// # Errors
/// 401 or 403, as the contract of the route says.
pub async fn guard(
    State((app, need)): State<(Arc<AppState>, RequiredRole)>,
    path: RawPathParams,
    request: Request,
    next: Next,
) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    if need == RequiredRole::Device || need == RequiredRole::Public {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    let caller = authentication::caller(&app, &parts).await?;
    let open = need == RequiredRole::Pipeline && app.config().auth.pipeline == AuthMode::Open;
    if !(open && caller == Caller::Anonymous) {
        let model = path
            .iter()
            .find(|(name, _)| *name == "code")
            .and_then(|(_, code)| code.parse().ok());
        check(need, &caller, model.as_ref())?;
    }
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, body)).await)
}
