//! Feeds systemd's watchdog while a request through the control socket is
//! answered and the worker moves: a hung daemon is restarted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::http::app::App;
use crate::systemd;

/// A worker that was not heard of for so long hangs; one decoding takes less.
const WORKER_SILENCE: Duration = Duration::from_secs(300);

/// Feeds until `stop`; returns at once if nobody watches.
pub(super) async fn feed(socket: PathBuf, app: Arc<App>, stop: CancellationToken) {
    let Some(interval) = systemd::watchdog_interval() else {
        return;
    };
    let pause = interval / 3;
    loop {
        let answered = timeout(pause, ask(&socket)).await;
        let worker_moves = app.worker.silent_for() < WORKER_SILENCE;
        match answered {
            Ok(Ok(true)) if worker_moves => systemd::alive(),
            _ => log::warn!("the daemon does not answer itself; the watchdog is not fed"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
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
