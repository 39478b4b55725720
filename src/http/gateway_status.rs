//! Routes for the gateway's state: health, readiness, metrics, status.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::app_state::AppState;
use crate::api::status::{
    Counts, Disk, Health, LastIntake, Readiness, Status, UncleanShutdown, Version,
};
use crate::clock::{Moment, iso8601};
use crate::journal::{DiskTrouble, disk_trouble};
use crate::printable::bytes;
use crate::store::coredumps::{DecodeState, Source};
use crate::store::disk_space::Space;
use crate::store::dump_removal::free_asked;
use crate::store::open_enum::OpenEnum;

/// `GET /healthz`: alive.
pub async fn healthz() -> Json<Health> {
    Json(Health {
        status: String::from("ok"),
    })
}

/// `GET /readyz`: whether a dump can be accepted now; 503 with the reasons if not.
pub async fn readyz(State(app): State<Arc<AppState>>) -> Response {
    let reasons = unready(&app);
    let status = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let ready = reasons.is_empty();
    (status, Json(Readiness { ready, reasons })).into_response()
}

fn unready(app: &AppState) -> Vec<String> {
    let mut reasons = Vec::new();
    if app.stopping.is_cancelled() {
        reasons.push(String::from("gateway is stopping"));
    }
    let refused = disk_trouble() == Some(DiskTrouble::ReadOnly);
    match Space::of(app.store.coredumps.root()) {
        Ok(space) if space.read_only || refused => {
            reasons.push(String::from("disk is read-only: uploads are refused"));
        }
        Ok(space) if space.free < app.config().coredumps.max_upload_bytes as u64 => {
            reasons.push(format!("disk almost full: {} free", bytes(space.free)));
        }
        Ok(_) => {}
        Err(error) => reasons.push(error.to_string()),
    }
    if app.uploads.are_taken() {
        reasons.push(String::from("memory for uploads used up: new uploads wait"));
    }
    reasons
}

/// `GET /metrics`
pub async fn metrics(State(app): State<Arc<AppState>>) -> Response {
    if let Ok(space) = Space::of(app.store.coredumps.root()) {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        app.metrics.disk_free_bytes.set(signed(space.free));
        app.metrics.disk_total_bytes.set(signed(space.total));
        let min_free = free_asked(&app.config().coredumps, space.total);
        app.metrics.disk_min_free_bytes.set(signed(min_free));
    }
    app.metrics
        .clock_synced
        .set(i64::from(crate::clock::is_synced()));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], app.metrics.text()).into_response()
}

/// `GET /api/version`
pub async fn version() -> Json<Version> {
    Json(Version {
        name: String::from("espgate"),
        version: String::from(env!("CARGO_PKG_VERSION")),
    })
}

/// `GET /api/status`: what `espgate status` shows.
pub async fn status(State(app): State<Arc<AppState>>) -> Json<Status> {
    let shown = tokio::task::spawn_blocking(move || describe(&app)).await;
    Json(shown.unwrap_or_default())
}

fn describe(app: &AppState) -> Status {
    let now = Moment::now();
    let facts = app.facts().clone();
    let intake = app.ingest.intake_stats();
    let last = intake
        .last
        .map(|(at, device, source)| (at, device, source.into()));
    let registry = &app.store.registry;
    // A name need not be text, and JSON takes nothing else.
    let data_dir = app.store.data_dir.root().to_string_lossy().into_owned();
    let stored = DumpTotals::of(app);
    let space = Space::of(app.store.coredumps.root()).ok();
    let mut degraded = facts.degraded.clone();
    degraded.extend(facts.connections_short);
    degraded.extend(unready(app));
    if let Some(space) = space
        && space.free < free_asked(&app.config().coredumps, space.total)
    {
        degraded.push(String::from("free disk space below min_free"));
    }
    let last_intake = last.or(stored.newest);
    Status {
        version: String::from(env!("CARGO_PKG_VERSION")),
        gateway_id: app.store.gateway_id.clone(),
        started_at: iso8601(app.started.wall),
        uptime_s: now.seconds_since(&app.started),
        data_dir: data_dir.into(),
        listeners: facts.listeners,
        clock: now.clock_word().to_owned(),
        last_intake: last_intake.map(|(at, device_key, source)| LastIntake {
            at,
            device_key,
            source,
        }),
        received_since_start: intake.stored,
        counts: Counts {
            coredumps: stored.count,
            not_decoded_yet: stored.pending,
            devices: {
                let devices = registry.devices.read();
                let in_service = devices.devices.values().filter(|d| d.retired.is_none());
                in_service.count() as u64
            },
            models: registry.models.read().models.len() as u64,
            tokens: registry.tokens.read().tokens.len() as u64,
        },
        disk: Disk {
            coredump_bytes: stored.bytes,
            free_bytes: space.map(|space| space.free),
            total_bytes: space.map(|space| space.total),
        },
        ports: app.ports.list(),
        rollouts: app.rollouts.lines(),
        index_ready: facts.index_ready,
        degraded,
        last_bad_end: facts.last_bad_end.map(UncleanShutdown::from),
    }
}

/// The stored dumps in figures.
#[derive(Default)]
struct DumpTotals {
    count: u64,
    pending: u64,
    bytes: u64,
    newest: Option<(String, String, OpenEnum<Source>)>,
}

impl DumpTotals {
    fn of(app: &AppState) -> Self {
        let mut stored = Self::default();
        let mut newest = None;
        let gateway = app.store.registry.gateway.read();
        app.store.coredumps.collect(|device, entry| {
            stored.count += 1;
            stored.pending += u64::from(entry.decode() == Some(DecodeState::Pending));
            stored.bytes += entry.bytes;
            if newest < Some(entry.sequence) {
                newest = Some(entry.sequence);
                let at = entry.came_at(&gateway).map(iso8601).unwrap_or_default();
                stored.newest = Some((at, device.to_string(), entry.source()));
            }
            None::<()>
        });
        stored
    }
}
