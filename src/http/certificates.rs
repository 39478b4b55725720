//! Routes for the server's certificate: show, request, install, renew.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::CONTENT_TYPE;

use super::app_state::AppState;
use super::error::{Error, Result};
use super::tls;
use crate::api::tls::{Installed, Shown};
use crate::identity::Caller;
use crate::journal::{Event, chain};

impl From<tls::Error> for Error {
    fn from(error: tls::Error) -> Self {
        match error {
            tls::Error::Store(error) => error.into(),
            other => Self::Invalid(chain(&other)),
        }
    }
}

/// `GET /api/tls`
pub async fn show(State(app): State<Arc<AppState>>) -> Json<Shown> {
    Json(app.tls.show())
}

/// `GET /api/tls/csr`: a request for a certificate, to be signed elsewhere.
///
/// # Errors
/// 400 if the key is set in the configuration.
pub async fn csr(State(app): State<Arc<AppState>>) -> Result<Response> {
    let pem = tokio::task::spawn_blocking(move || app.tls.csr()).await??;
    Ok(([(CONTENT_TYPE, "application/pkcs10")], pem).into_response())
}

/// `POST /api/tls/install` with a PEM chain.
///
/// # Errors
/// 400 with the error in the chain.
pub async fn install(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    chain: Bytes,
) -> Result<Json<Installed>> {
    let warnings = tokio::task::spawn_blocking(move || app.tls.install(&chain)).await??;
    say(&caller, "installed a certificate");
    Ok(Json(Installed { warnings }))
}

/// `POST /api/tls/renew`
///
/// # Errors
/// 400 if the certificate was not created by espgate.
pub async fn renew(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Shown>> {
    let served = tokio::task::spawn_blocking(move || app.tls.renew()).await??;
    say(&caller, "renewed the certificate");
    Ok(Json(served))
}

fn say(caller: &Caller, what: &str) {
    Event::CertificateMade
        .entry()
        .actor(caller)
        .say(format_args!("{caller} {what}"));
}
