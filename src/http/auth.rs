//! Lets a request through to its handler if its caller may.

use std::sync::Arc;

use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::request::Parts;
use nix::unistd::{Uid, geteuid};
use time::OffsetDateTime;

use super::app::App;
use super::device_caller;
use super::error::{Error, Result};
use super::server::Peer;
use crate::config::AuthMode;
use crate::identity::{Caller, Need, check, identify, presented_id};
use crate::journal::Event;
use crate::printable::escaped;

/// Who sends this request.
///
/// # Errors
/// [`Error::Unauthenticated`] for a credential that opens nothing.
pub fn caller(app: &App, parts: &Parts) -> Result<Caller> {
    if let Some(Peer::Control { uid }) = parts.extensions.get::<Peer>() {
        let user = Uid::from_raw(*uid);
        return Ok(Caller::Local {
            uid: *uid,
            privileged: user.is_root() || user == geteuid(),
        });
    }
    let value = parts
        .headers
        .get(AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default());
    let registry = &app.store.registry;
    identify(
        value,
        &registry.devices.read(),
        &registry.tokens.read(),
        OffsetDateTime::now_utc(),
    )
    .map_err(|refused| {
        let peer = match parts.extensions.get::<Peer>() {
            Some(Peer::Network(address)) => address.ip().to_string(),
            _ => String::from("an unknown address"),
        };
        let token = match value.and_then(presented_id) {
            Some(id) => format!(" (token {id})"),
            None => String::new(),
        };
        Event::CredentialRefused
            .entry()
            .about(&peer)
            .say(format_args!(
                "refused a credential for {} from {peer}{token}: {refused}",
                escaped(parts.uri.path())
            ));
        Error::from(refused)
    })
}

/// Middleware: checks the caller against the route's need, then hands it on as
/// an extension. Device routes find out about their device themselves.
///
/// # Errors
/// 401 or 403, as the contract of the route says.
pub async fn guard(
    State((app, need)): State<(Arc<App>, Need)>,
    path: RawPathParams,
    request: Request,
    next: Next,
) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    if need == Need::Device || need == Need::Public {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    let mut caller = caller(&app, &parts)?;
    let open = need == Need::Pipeline && app.config().auth.pipeline == AuthMode::Open;
    if !(open && caller == Caller::Anonymous) {
        let model = path
            .iter()
            .find(|(name, _)| *name == "code")
            .and_then(|(_, code)| code.parse().ok());
        check(need, &caller, model.as_ref())?;
    }
    caller = device_caller::settle(&app, caller).await?;
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, body)).await)
}
