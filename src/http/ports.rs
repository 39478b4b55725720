//! Routes for serial ports: list, follow, claim, release, lend.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::sync::broadcast::error::RecvError;

use super::app_state::AppState;
use super::error::{Error, Result};
use super::query::{Query, decode};
use crate::api::ports::{List, Read, Reading, Release};
use crate::bootloader;
use crate::identity::Caller;
use crate::journal::{Event, chain};
use crate::serial::flash_session::SessionError;
use crate::serial::{self, FlashReadError};

/// Default duration of a release.
const DEFAULT_RELEASE: Duration = Duration::from_secs(600);
/// The longest release.
const MAX_RELEASE_SECONDS: u64 = 24 * 3600;
/// How often to check that the client of a lease is still connected.
const PULSE: Duration = Duration::from_secs(1);

impl From<serial::Error> for Error {
    fn from(error: serial::Error) -> Self {
        match &error {
            serial::Error::Unknown(name) => Self::NotFound(format!("Serial port {name}")),
            serial::Error::Lent(_) | serial::Error::Stuck(_) | serial::Error::BeingRead(_) => {
                Self::Conflict(error.to_string())
            }
            serial::Error::State(_) => Self::internal(&error),
        }
    }
}

/// `GET /api/ports`
///
/// # Errors
/// When the daemon is stopping.
pub async fn list(State(app): State<Arc<AppState>>) -> Result<Json<List>> {
    let ports = tokio::task::spawn_blocking(move || app.ports.list()).await?;
    Ok(Json(List {
        ports,
        next_cursor: None,
    }))
}

/// `GET /api/ports/{name}/log?follow=1`: the newest lines, then those to come.
///
/// # Errors
/// 404.
pub async fn log(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response> {
    let port = app.ports.monitor(&decode(&name))?;
    let follow = Query::parse(request.uri().query().unwrap_or_default())
        .get("follow")
        .is_some();
    let (lines, receiver) = port.log();
    let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    if !follow {
        return Ok((kind, text).into_response());
    }
    let stop = app.stopping.clone();
    let later = stream::unfold((receiver, stop), |(mut receiver, stop)| async move {
        let line = tokio::select! {
            () = stop.cancelled() => return None,
            line = receiver.recv() => line,
        };
        let piece = match line {
            Ok(line) => format!("{line}\n"),
            Err(RecvError::Lagged(count)) => format!("[{count} lines skipped]\n"),
            Err(RecvError::Closed) => return None,
        };
        Some((piece, (receiver, stop)))
    });
    let pieces = stream::once(async { text })
        .chain(later)
        .map(|text| Ok::<_, Infallible>(Bytes::from(text)));
    Ok((kind, Body::from_stream(pieces)).into_response())
}

/// `POST /api/ports/{name}/claim`
///
/// # Errors
/// 404, 409.
pub async fn claim(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode> {
    let name = decode(&name);
    app.ports.claim(&name).await?;
    say_changed(&app, &caller, "claimed", &name);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/ports/{name}/read`: reads the coredump from flash now. Progress:
/// `GET /api/ports/{name}/reading`.
///
/// # Errors
/// 404; 409 with the reason why no coredump was read.
pub async fn read(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Read>> {
    let name = decode(&name);
    let read = app.ports.start_flash_read(&name)?;
    say_changed(&app, &caller, "reads the flash behind", &name);
    // the client may disconnect; the read continues
    let read = match read.finish().await {
        Ok(read) => read,
        // No coredump in the flash is not an error.
        Err(FlashReadError::Flash(SessionError::Bootloader(bootloader::Error::Empty))) => {
            return Ok(Json(Read::default()));
        }
        Err(FlashReadError::Store(error)) => return Err(error.into()),
        Err(other) => return Err(Error::Conflict(chain(&other))),
    };
    Ok(Json(Read {
        coredump_id: Some(read.received.id),
        filename: Some(read.received.filename),
        device_key: Some(read.device.to_string()),
        verdict: Some(read.received.verdict.to_string()),
        kept: Some(read.received.kept),
    }))
}

/// `GET /api/ports/{name}/reading`: bytes of the read under way.
///
/// # Errors
/// 404 if there is none.
pub async fn reading(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
) -> Result<Json<Reading>> {
    let name = decode(&name);
    let progress = app.ports.monitor(&name)?.read_progress();
    let progress = progress.ok_or_else(|| Error::NotFound(format!("A read of {name}")))?;
    Ok(Json(progress.map_or_else(Reading::default, |progress| {
        Reading {
            stage: Some(progress.stage.to_string()),
            done: progress.done,
            total: Some(progress.total),
        }
    })))
}

/// `POST /api/ports/{name}/release` with `{"for_seconds":600}`
///
/// # Errors
/// 404, 409.
pub async fn release(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
    release: Option<Json<Release>>,
) -> Result<StatusCode> {
    let name = decode(&name);
    let Json(release) = release.unwrap_or_default();
    let time = match (release.until_claimed, release.for_seconds) {
        (true, _) => None,
        (false, None) => Some(DEFAULT_RELEASE),
        (false, Some(seconds @ 1..=MAX_RELEASE_SECONDS)) => Some(Duration::from_secs(seconds)),
        (false, Some(_)) => {
            return Err(Error::Invalid(format!(
                "for_seconds must be 1 to {MAX_RELEASE_SECONDS}"
            )));
        }
    };
    app.ports.release(&name, time).await?;
    say_changed(&app, &caller, "released", &name);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/ports/{name}/lease`: the port is lent while the answer is read.
/// Its first line is the device node's path; empty lines keep it alive.
///
/// # Errors
/// 404, 409.
pub async fn lease(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Response> {
    let name = decode(&name);
    let lease = app.ports.lend(&name).await?;
    say_changed(&app, &caller, "borrowed", &name);
    let first = format!("{}\n", lease.path);
    let stop = app.stopping.clone();
    // The lease belongs to the stream: it ends when the client disconnects.
    let pulse = stream::unfold((lease, stop), |(lease, stop)| async move {
        tokio::select! {
            () = stop.cancelled() => None,
            () = tokio::time::sleep(PULSE) => Some((String::from("\n"), (lease, stop))),
        }
    });
    let pieces = stream::once(async { first })
        .chain(pulse)
        .map(|text| Ok::<_, Infallible>(Bytes::from(text)));
    Ok(([(CONTENT_TYPE, "text/plain")], Body::from_stream(pieces)).into_response())
}

fn say_changed(app: &AppState, caller: &Caller, what: &str, name: &str) {
    // the same in the field as in the port's other entries
    let port = app.ports.monitor(name).ok();
    let path = port.map_or_else(|| name.into(), |port| port.status().path);
    Event::PortChanged
        .entry()
        .port(&path.display())
        .actor(caller)
        .say(format_args!("{caller} {what} serial port {name}"));
}
