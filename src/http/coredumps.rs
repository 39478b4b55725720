//! Routes for stored coredumps: list, show, download, delete.

use std::fs;
use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use super::app_state::AppState;
use super::coredump_page::Filter;
use super::error::{Error, Result};
use super::query::Query;
use super::streamed_list::{self, Piece};
use crate::api::coredumps::{Coredump, NoReport, Queued};
use crate::clock::iso8601;
use crate::decode::{self, Report};
use crate::device::DeviceKey;
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::coredumps::{DecodeState, Sidecar};
use crate::store::publish::set_aside;

/// `GET /api/coredumps?device=&model=&crash=&since=&limit=&cursor=`, newest first.
///
/// # Errors
/// 400 for invalid parameters.
pub async fn list(State(app): State<Arc<AppState>>, request: Request) -> Result<Response> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let filter = Filter::of(&query)?;
    let looking = Arc::clone(&app);
    let page = tokio::task::spawn_blocking(move || filter.page(&looking)).await?;
    let mut found = page.found.into_iter().rev();
    let fill = move |piece: &mut Piece| {
        for (_, device, stem) in found.by_ref() {
            let sidecar = app
                .store
                .coredumps
                .with(&device, |folder| folder.sidecar(&stem.to_string()));
            // removed meanwhile: skip it
            let Ok(sidecar) = sidecar else { continue };
            piece.push(&shown(&app, sidecar, &stem.to_string()))?;
            if piece.is_full() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    streamed_list::answer("coredumps", page.next_cursor.as_deref(), fill).await
}

/// A coredump as answers show it.
fn shown(app: &AppState, mut sidecar: Sidecar, stem: &str) -> Coredump {
    let gateway = app.store.registry.gateway.read();
    let corrected = sidecar
        .boot_id
        .as_ref()
        .zip(sidecar.monotonic_us)
        .filter(|_| sidecar.clock.as_deref() == Some("unsynced"))
        .and_then(|(boot, since)| gateway.time_of(boot, since));
    // Do not repeat fields that another program wrote into the sidecar.
    for name in ["filename", "corrected_at"] {
        sidecar.extra.remove(name);
    }
    Coredump {
        sidecar,
        filename: format!("{stem}.dmp"),
        corrected_at: corrected.map(iso8601),
    }
}

/// One dump, found by its id.
pub struct DumpLocation {
    pub device: DeviceKey,
    pub stem: String,
}

/// Finds a dump by its id.
///
/// # Errors
/// 404.
pub fn find(app: &AppState, id: &str) -> Result<DumpLocation> {
    app.store
        .coredumps
        .locate(id)
        .map(|(device, stem)| DumpLocation { device, stem })
        .ok_or_else(|| Error::NotFound(format!("Coredump {id}")))
}

/// Does something with one dump's folder, off the async threads.
///
/// # Errors
/// 404, or what `work` says.
pub async fn with_dump<R: Send + 'static>(
    app: Arc<AppState>,
    id: String,
    work: impl FnOnce(&AppState, DumpLocation) -> Result<R> + Send + 'static,
) -> Result<R> {
    tokio::task::spawn_blocking(move || {
        let found = find(&app, &id)?;
        work(&app, found)
    })
    .await?
}

/// `GET /api/coredumps/{id}`
///
/// # Errors
/// 404.
pub async fn show(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
) -> Result<Json<Coredump>> {
    with_dump(app, id, |app, found| {
        let sidecar = app
            .store
            .coredumps
            .with(&found.device, |folder| folder.sidecar(&found.stem))?;
        Ok(Json(shown(app, sidecar, &found.stem)))
    })
    .await
}

fn file(app: &AppState, found: &DumpLocation, extension: &str) -> Result<Option<Vec<u8>>> {
    let path = app.store.coredumps.with(&found.device, |folder| {
        Ok(folder.file(&found.stem, extension))
    })?;
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::internal(&error)),
    }
}

/// A dump's report, or what its sidecar says in place of one.
enum ReportState {
    Report(Vec<u8>),
    NotYet(Box<Sidecar>),
}

/// The report, if there is a readable one. An invalid one is renamed to `.damaged`
/// and the dump is decoded again.
fn stored_report(app: &AppState, found: DumpLocation) -> Result<ReportState> {
    let Some(bytes) = file(app, &found, "report.json")? else {
        return missing_report(app, &found);
    };
    if serde_json::from_slice::<Report>(&bytes).is_ok() {
        return Ok(ReportState::Report(bytes));
    }
    let sidecar = app.store.coredumps.with(&found.device, |folder| {
        let path = folder.file(&found.stem, "report.json");
        // Another request may have done so just before.
        if fs::read(&path).is_ok_and(|now| now == bytes) {
            set_aside(&path)?;
        }
        folder.change(&found.stem, Sidecar::decode_again)
    })?;
    Event::StoreRepaired
        .entry()
        .device(&found.device)
        .coredump(&sidecar.id)
        .say(format_args!(
            "invalid report of coredump {} of {}: renamed to .damaged, decoding again",
            sidecar.id, found.device
        ));
    app.worker.wake();
    Ok(ReportState::NotYet(Box::new(sidecar)))
}

/// The state of a dump without report; a lost report is made again.
fn missing_report(app: &AppState, found: &DumpLocation) -> Result<ReportState> {
    let mut was_made = false;
    let sidecar = app.store.coredumps.with(&found.device, |folder| {
        let sidecar = folder.sidecar(&found.stem)?;
        let state = sidecar.decode.known();
        was_made = matches!(state, Some(DecodeState::Done | DecodeState::NoElf));
        match was_made {
            true => folder.change(&found.stem, Sidecar::decode_again),
            false => Ok(sidecar),
        }
    })?;
    if was_made {
        app.worker.wake();
    }
    Ok(ReportState::NotYet(Box::new(sidecar)))
}

/// `GET /api/coredumps/{id}/report`, as JSON or, for `Accept: text/plain`, as text.
///
/// # Errors
/// 404, with `"decode":"pending"` before decoding, or `"failed"` and the reason.
pub async fn report(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let report = match with_dump(app, id, stored_report).await? {
        ReportState::Report(report) => report,
        ReportState::NotYet(sidecar) => {
            let body = NoReport {
                error: String::from("The report was not found"),
                decode: sidecar.decode,
                decode_failure: sidecar.decoding.failure,
            };
            return Ok((StatusCode::NOT_FOUND, Json(body)).into_response());
        }
    };
    let wants_text = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.starts_with("text/plain"));
    if wants_text {
        let report: Report =
            serde_json::from_slice(&report).map_err(|error| Error::internal(&error))?;
        let text = decode::text::render(&report, false);
        return Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    Ok(([(CONTENT_TYPE, "application/json")], report).into_response())
}

/// `GET /api/coredumps/{id}/dump`: the bytes as received.
///
/// # Errors
/// 404.
pub async fn dump(State(app): State<Arc<AppState>>, Path(id): Path<String>) -> Result<Response> {
    let bytes = with_dump(app, id, |app, found| file(app, &found, "dmp")).await?;
    let bytes = bytes.ok_or_else(|| Error::NotFound(String::from("The dump")))?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// `GET /api/coredumps/{id}/log`: console lines around the crash.
///
/// # Errors
/// 404.
pub async fn log(State(app): State<Arc<AppState>>, Path(id): Path<String>) -> Result<Response> {
    let bytes = with_dump(app, id, |app, found| file(app, &found, "log")).await?;
    let bytes = bytes.ok_or_else(|| Error::NotFound(String::from("A console log of the dump")))?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], bytes).into_response())
}

/// `DELETE /api/coredumps/{id}`
///
/// # Errors
/// 404.
pub async fn delete(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode> {
    let coredump = id.clone();
    with_dump(app, id, move |app, found| {
        app.store
            .coredumps
            .with(&found.device, |folder| folder.remove(&found.stem))?;
        Event::CoredumpDeleted
            .entry()
            .device(&found.device)
            .coredump(&coredump)
            .actor(&caller)
            .say(format_args!(
                "{caller} deleted coredump {coredump} of {}",
                found.device
            ));
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /api/coredumps/{id}/redecode`
///
/// # Errors
/// 404.
pub async fn redecode(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<(StatusCode, Json<Queued>)> {
    log::info!("{caller} queued coredump {id} for decoding");
    with_dump(Arc::clone(&app), id, |app, found| {
        mark_pending(app, &found.device, &found.stem)
    })
    .await?;
    app.worker.wake();
    Ok((StatusCode::ACCEPTED, Json(Queued { queued: 1 })))
}

/// `POST /api/coredumps/redecode`: all of them.
///
/// # Errors
/// When a sidecar cannot be written.
pub async fn redecode_all(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
) -> Result<(StatusCode, Json<Queued>)> {
    log::info!("{caller} queued all coredumps for decoding");
    let marking = Arc::clone(&app);
    let queued = tokio::task::spawn_blocking(move || {
        let all = marking
            .store
            .coredumps
            .collect(|device, entry| Some((device.clone(), entry.stem.to_string())));
        for (device, stem) in &all {
            mark_pending(&marking, device, stem)?;
        }
        Ok::<_, Error>(all.len() as u64)
    })
    .await??;
    app.worker.wake();
    Ok((StatusCode::ACCEPTED, Json(Queued { queued })))
}

fn mark_pending(app: &AppState, device: &DeviceKey, stem: &str) -> Result<()> {
    app.store
        .coredumps
        .with(device, |folder| folder.change(stem, Sidecar::decode_again))?;
    Ok(())
}
