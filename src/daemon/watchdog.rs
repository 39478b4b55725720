//! Notifies systemd's watchdog while the control socket answers and no critical
//! task is stuck; a hung daemon is restarted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::critical_tasks::CriticalTasks;
use crate::http::app_state::AppState;
use crate::http::server::Server;
use crate::systemd;

/// A worker without a sign of life for this long hangs; one decoding takes less.
const WORKER_SILENCE: Duration = Duration::from_secs(300);

/// What is checked before the watchdog is notified.
pub(super) struct Watchdog {
    /// The control socket.
    pub(super) socket: PathBuf,
    pub(super) app: Arc<AppState>,
    pub(super) server: Server,
    pub(super) critical: CriticalTasks,
}

impl Watchdog {
    /// Notifies the watchdog until `stop`; returns at once without a watchdog.
    pub(super) async fn feed(self, stop: CancellationToken) {
        let Some(interval) = systemd::watchdog_interval() else {
            return;
        };
        let pause = interval / 3;
        loop {
            match self.trouble(pause).await {
                None => systemd::alive(),
                Some(trouble) => log::warn!("watchdog not notified: {trouble}"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn trouble(&self, patience: Duration) -> Option<String> {
        let stuck = self.critical.stuck();
        if !stuck.is_empty() {
            return Some(format!("not responding: {}", stuck.join(", ")));
        }
        if self.app.worker.silent_for() >= WORKER_SILENCE {
            return Some(String::from("worker stuck"));
        }
        let answered = timeout(patience, ask(&self.socket)).await;
        // callers that wait for a slow disk may take all connections
        let answers = matches!(answered, Ok(Ok(true))) || self.server.control_is_full();
        (!answers).then(|| String::from("no answer on the control socket"))
    }
}

/// Notifies the watchdog during shutdown, which takes a bounded time.
pub(super) async fn feed_to_the_end() {
    let Some(interval) = systemd::watchdog_interval() else {
        return;
    };
    loop {
        systemd::alive();
        tokio::time::sleep(interval / 3).await;
    }
}

async fn ask(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = "GET /healthz HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
