//! Rollouts go on once a second.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::http::app_state::AppState;

const INTERVAL: Duration = Duration::from_secs(1);

/// Goes on until `stop`.
pub(super) async fn go_on(app: Arc<AppState>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let rollouts = Arc::clone(&app);
        let work = move || rollouts.rollouts.tick();
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            log::error!("rollouts cannot go on: {error}");
        }
    }
}
