//! Rollouts go on once a second. Boards on USB that ask for firmware only when they boot
//! are reset, where that is allowed.

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
        let app = Arc::clone(&app);
        let work = move || {
            app.rollouts.tick();
            for device in app.rollouts.not_asking() {
                app.ports.reset_board_of(&device);
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            log::error!("rollouts cannot go on: {error}");
        }
    }
}
