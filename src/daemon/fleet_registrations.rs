//! Saves boards registered by fleet tokens, several in one write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::http::app_state::AppState;
use crate::journal::chain;

/// Time to wait for more registrations. Each write is of the whole register.
const GATHER: Duration = Duration::from_secs(1);
/// The disk is left alone so many times as long as the last write took.
const PAUSE: u32 = 10;

/// Runs until `stop`; the rest is saved with the other pending state.
pub(super) async fn keep_written(app: Arc<AppState>, stop: CancellationToken) {
    let mut took = Duration::ZERO;
    loop {
        let gathered = async {
            app.fleet_tokens.registration().await;
            tokio::time::sleep(GATHER.max(took * PAUSE)).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = gathered => {}
        }
        let writing = Arc::clone(&app);
        let began = Instant::now();
        let written =
            tokio::task::spawn_blocking(move || writing.store.registry.devices.flush()).await;
        took = began.elapsed();
        if let Ok(Err(error)) = written {
            // still pending: saved within a minute
            error.event().entry().say(format_args!(
                "cannot save registered boards: {}",
                chain(&error)
            ));
        }
    }
}
