//! The status line of `systemctl status`, and the metrics of connections and
//! certificate.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::http::app_state::AppState;
use crate::http::server::Server;
use crate::store::disk_space::Space;
use crate::systemd;

/// Update interval.
const INTERVAL: Duration = Duration::from_secs(10);

/// Updates the metrics of connections and certificate.
pub(super) struct ConnectionMetrics {
    app: Arc<AppState>,
    server: Server,
    refused: u64,
}

impl ConnectionMetrics {
    /// Metrics of `server`, in the metrics of `app`.
    pub(super) fn new(app: Arc<AppState>, server: Server) -> Self {
        Self {
            app,
            server,
            refused: 0,
        }
    }

    /// Updates status line and metrics until `stop`.
    pub(super) async fn keep(mut self, stop: CancellationToken) {
        loop {
            self.update();
            say(&self.app);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    fn update(&mut self) {
        let (metrics, counts) = (&self.app.metrics, self.server.counts());
        let refused =
            counts.turned_away() + counts.handshakes_failed() + counts.requests_malformed();
        metrics.refused_connections.inc_by(refused - self.refused);
        self.refused = refused;
        let open = i64::try_from(self.server.open()).unwrap_or(i64::MAX);
        metrics.connections.set(open);
        self.app.facts().connections_short = self.server.connections_short();
        if let Some(end) = crate::clock::parse(&self.app.tls.show().server.not_after) {
            metrics.certificate_expiry.set(end.unix_timestamp());
        }
    }
}

/// Sends the status line to systemd.
pub(super) fn say(app: &AppState) {
    systemd::status(&line(app));
}

fn line(app: &AppState) -> String {
    let facts = app.facts().clone();
    if let Some(reason) = facts.degraded.first() {
        return format!("degraded: {reason}");
    }
    if !facts.index_ready {
        return String::from("ready for uploads; loading stored dumps");
    }
    let intake = app.ingest.intake_stats();
    let dumps = app.metrics.stored_dumps.get();
    let started = crate::clock::iso8601(app.started.wall);
    let since = started.get(11..16).unwrap_or_default();
    let mut line = format!(
        "{}, {} ({} new since {since})",
        counted(app.metrics.serial_ports.get(), "port"),
        counted(dumps, "dump"),
        intake.stored
    );
    if let Some((_, device, _)) = &intake.last {
        line.push_str(&format!(", last from {device}"));
    }
    let rollouts = app.rollouts.lines();
    if !rollouts.is_empty() {
        line.push_str(&format!("; rollout {}", rollouts.join(", ")));
    }
    if let Ok(space) = Space::of(app.store.coredumps.root())
        && let Some(percent) = (space.free.saturating_mul(100)).checked_div(space.total)
    {
        line.push_str(&format!("; {percent}% disk free"));
    }
    line
}

fn counted(count: i64, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}
