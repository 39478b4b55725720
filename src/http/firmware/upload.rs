//! `POST /api/pipeline/models/{code}/firmware`: CI uploads a build. The body is
//! streamed to a file.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::sync::mpsc;

use crate::api::firmware::Uploaded;
use crate::bundle::Refusal;
use crate::clock::Moment;
use crate::device::{ModelCode, Version};
use crate::firmware;
use crate::http::app_state::AppState;
use crate::http::coredump_intake::in_words;
use crate::http::error::{Error, Result};
use crate::http::query::Query;
use crate::http::server::Unread;
use crate::identity::Caller;
use crate::journal::{Event, chain};
use crate::rollouts::Automatic;
use crate::store::publish::Temporary;

/// Bytes between checks of the free disk space.
const LOOK_AT_ROOM_EVERY: u64 = 4 * 1024 * 1024;
/// Maximum number of body parts waiting for the disk.
const PIECES_AHEAD: usize = 8;

/// Handles the request.
///
/// # Errors
/// 400 as the contract says, 404, 413, 507.
pub async fn receive(
    State(app): State<Arc<AppState>>,
    Path(code): Path<String>,
    caller: Option<Extension<Caller>>,
    request: Request,
) -> Result<Json<Uploaded>> {
    let actor = caller.map_or(Caller::Anonymous, |Extension(caller)| caller);
    let model = firmware::known_model(&app.store, &code)?;
    let (parts, body) = request.into_parts();
    let given = given_version(parts.uri.query().unwrap_or_default())?;
    let limit = app.config().firmware.max_bundle_bytes;
    let outcome = receive_body(&app, &parts.headers, body, limit).await;
    let outcome = match outcome {
        Ok(upload) => {
            let (app, model, actor) = (Arc::clone(&app), model.clone(), actor.clone());
            tokio::task::spawn_blocking(move || publish(&app, &model, upload, given, &actor))
                .await
                .unwrap_or_else(|error| Err(error.into()))
        }
        Err(error) => Err(error),
    };
    app.metrics.bundle(match &outcome {
        Ok(_) => "stored",
        Err(Error::Internal(_) | Error::NoRoom) => "failed",
        Err(_) => "refused",
    });
    if let Err(error) = &outcome {
        Event::BundleRefused
            .entry()
            .model(&model)
            .actor(&actor)
            .say(format_args!("firmware upload for {model} refused: {error}"));
    }
    outcome.map(Json)
}

/// Writes the upload into a file.
async fn receive_body(
    app: &Arc<AppState>,
    headers: &HeaderMap,
    body: Body,
    limit: u64,
) -> Result<Temporary> {
    let too_large = || {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Error::TooLarge(format!(
            "Firmware exceeds maximum size of {}",
            in_words(limit)
        ))
    };
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // A multipart body is a little larger than its file.
    if announced.is_some_and(|length| length > limit + 64 * 1024) {
        return Err(too_large());
    }
    let upload = {
        let app = Arc::clone(app);
        tokio::task::spawn_blocking(move || -> Result<Temporary> {
            let free = keep_free(&app)?;
            app.store
                .firmware
                .check_room(announced.unwrap_or(0), free)?;
            Ok(app.store.firmware.incoming()?)
        })
        .await??
    };
    let (upload, received) = write_body(app, headers, body, upload, limit).await?;
    if received > limit {
        return Err(too_large());
    }
    if received == 0 {
        return Err(Error::Invalid(Refusal::Empty.to_string()));
    }
    Ok(upload)
}

/// `?version=`: the version of an image that has none of its own.
fn given_version(query: &str) -> Result<Option<Version>> {
    let query = Query::parse(query);
    let version = query.get("version").map(str::parse).transpose();
    version.map_err(|_| {
        Error::Invalid(String::from(
            "Invalid query parameter version: 1-32 of A-Z a-z 0-9 . _ + - are allowed",
        ))
    })
}

/// Writes the file in the body to `upload`; stops a byte past `limit`.
async fn write_body(
    app: &Arc<AppState>,
    headers: &HeaderMap,
    body: Body,
    mut upload: Temporary,
    limit: u64,
) -> Result<(Temporary, u64)> {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let keeper = Arc::clone(app);
    let writer = tokio::task::spawn_blocking(move || -> Result<(Temporary, u64)> {
        let (mut received, mut looked_at) = (0, 0);
        while let Some(piece) = pieces.blocking_recv() {
            received += piece.len() as u64;
            if received > limit {
                break;
            }
            // Others write too, and not every body says its length before.
            if received - looked_at > LOOK_AT_ROOM_EVERY {
                looked_at = received;
                let free = keep_free(&keeper)?;
                keeper.store.firmware.check_room(0, free)?;
            }
            upload.write(&piece)?;
        }
        Ok((upload, received))
    });
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let sent = match multer::parse_boundary(kind) {
        Ok(boundary) => send_field(body, boundary, sender).await,
        Err(_) => send(body.into_data_stream().map_err(unread), sender).await,
    };
    // The disk's error is more precise than the closed channel.
    let written = writer.await??;
    sent?;
    Ok(written)
}

async fn send_field(body: Body, boundary: String, sender: mpsc::Sender<Bytes>) -> Result<()> {
    let mut multipart = multer::Multipart::new(body.into_data_stream(), boundary);
    while let Some(field) = multipart.next_field().await.map_err(unread_part)? {
        if field.name() == Some("file") {
            return send(field.map_err(unread_part), sender).await;
        }
    }
    Err(Error::Invalid(Refusal::Empty.to_string()))
}

async fn send(
    pieces: impl Stream<Item = Result<Bytes>>,
    sender: mpsc::Sender<Bytes>,
) -> Result<()> {
    let mut pieces = std::pin::pin!(pieces);
    while let Some(piece) = pieces.next().await {
        if sender.send(piece?).await.is_err() {
            // The writer has seen enough, or the disk failed.
            return Ok(());
        }
    }
    Ok(())
}

fn unread(error: axum::Error) -> Error {
    Unread::of(&error).into()
}

fn unread_part(error: multer::Error) -> Error {
    Error::Invalid(format!("Invalid multipart body: {error}"))
}

/// What has to stay free for dumps.
fn keep_free(app: &AppState) -> Result<u64> {
    Ok(firmware::keep_free(&app.store, &app.config().coredumps)?)
}

fn publish(
    app: &AppState,
    model: &ModelCode,
    upload: Temporary,
    given: Option<Version>,
    actor: &Caller,
) -> Result<Uploaded> {
    let config = app.config();
    let taken = firmware::add_build(&app.store, &config.coredumps, model, upload, given, actor)?;
    let mut warnings = taken.warnings;
    if let Some(build) = taken.for_rollout {
        let outcome = app
            .rollouts
            .start_automatically(model, build, &actor.to_string());
        warnings.push(in_sentence(outcome));
    }
    let keep = config.firmware.keep_versions;
    if let Err(error) = firmware::remove::sweep(&app.store, keep, &Moment::now()) {
        log::warn!("cannot remove old firmware: {}", chain(&error));
    }
    app.worker.wake();
    Ok(Uploaded {
        id: taken.model_id,
        code: model.to_string(),
        firmware_version: taken.version.to_string(),
        active: taken.active,
        warnings,
    })
}

fn in_sentence(outcome: Automatic) -> String {
    match outcome {
        Automatic::Started { id, devices } => format!(
            "rollout {id} started to {devices} devices: the build becomes active at its end"
        ),
        Automatic::NotStarted(why) => format!("stored, not activated, no rollout started: {why}"),
    }
}
