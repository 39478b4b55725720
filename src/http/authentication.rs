//! Authentication: the caller of a request, by token or control socket; refuses
//! unknown, expired and revoked tokens.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use nix::unistd::{Uid, geteuid};

use super::app_state::AppState;
use super::error::{Error, Result};
use super::server::{Connection, Peer};
use crate::clock;
use crate::fleet::device_tokens;
use crate::identity::{AuthError, Caller, identify, presented_id};
use crate::journal::Event;
use crate::printable::escaped;

/// Who sends this request. A device's token that is used for the first time
/// has ended the older one when this returns.
///
/// # Errors
/// [`Error::Unauthenticated`] for an invalid token; an error if the end of a token
/// cannot be saved.
pub async fn caller(app: &Arc<AppState>, parts: &Parts) -> Result<Caller> {
    let peer = parts.extensions.get::<Peer>();
    if let Some(Peer::Control { uid }) = peer {
        let user = Uid::from_raw(*uid);
        return Ok(Caller::Local {
            uid: *uid,
            privileged: user.is_root() || user == geteuid(),
        });
    }
    let value = parts.headers.get(AUTHORIZATION);
    let value = value.map(|value| value.to_str().unwrap_or_default());
    let registry = &app.store.registry;
    let caller = identify(
        value,
        &registry.devices.read(),
        &registry.tokens.read(),
        clock::plausible(),
    );
    let caller = caller.map_err(|refused| {
        say_refused(
            parts,
            peer,
            value.and_then(presented_id).as_deref(),
            refused,
        );
        Error::from(refused)
    })?;
    if caller != Caller::Anonymous {
        signed_in(parts);
    }
    if let Caller::Device {
        key,
        token_id,
        first_use: true,
        ..
    } = &caller
    {
        let (app, key, token_id) = (Arc::clone(app), key.clone(), token_id.clone());
        tokio::task::spawn_blocking(move || {
            device_tokens::first_used(&app.store.registry, &key, &token_id)
        })
        .await??;
    }
    Ok(caller)
}

/// Notes that the connection of this request has shown who it is: it goes last when connections
/// are short.
pub fn signed_in(parts: &Parts) {
    if let Some(connection) = parts.extensions.get::<Arc<Connection>>() {
        connection.signed_in();
    }
}

fn say_refused(parts: &Parts, peer: Option<&Peer>, token: Option<&str>, refused: AuthError) {
    let peer = match peer {
        Some(Peer::Network(address)) => address.ip().to_string(),
        _ => String::from("an unknown address"),
    };
    let token = match token {
        Some(id) => format!(" (token {id})"),
        None => String::new(),
    };
    Event::CredentialRefused
        .entry()
        .about(&peer)
        .say(format_args!(
            "authentication failed for {} from {peer}{token}: {refused}",
            escaped(parts.uri.path())
        ));
}
