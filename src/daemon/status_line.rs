//! The line that `systemctl status` shows.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::http::app::App;
use crate::store::disk::Space;
use crate::systemd;

/// How often the line is made anew.
const INTERVAL: Duration = Duration::from_secs(10);

/// Keeps the line up to date until `stop`.
pub(super) async fn keep(app: Arc<App>, stop: CancellationToken) {
    loop {
        say(&app);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Tells systemd how things are.
pub(super) fn say(app: &App) {
    systemd::status(&line(app));
}

fn line(app: &App) -> String {
    let facts = app.facts().clone();
    if let Some(reason) = facts.degraded.first() {
        return format!("degraded: {reason}");
    }
    if !facts.index_ready {
        return String::from("taking dumps; still reading the stored ones");
    }
    let dumps = app.metrics.stored_dumps.get();
    let started = crate::clock::iso8601(app.started.wall);
    let since = started.get(11..16).unwrap_or_default();
    let mut line = format!(
        "{} ports, {dumps} dumps ({} new since {since})",
        app.metrics.serial_ports.get(),
        facts.received
    );
    if let Some((_, device)) = &facts.last_intake {
        line.push_str(&format!(", last from {device}"));
    }
    if let Ok(space) = Space::of(app.store.coredumps.root())
        && let Some(percent) = (space.free.saturating_mul(100)).checked_div(space.total)
    {
        line.push_str(&format!("; {percent}% disk free"));
    }
    line
}
