//! What others have to do with the worker: they wake it, and look whether it
//! moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::monotonic_us;

/// Shared by the worker and those who wake or watch it.
#[derive(Debug)]
pub struct Handle {
    woken: Notify,
    last_beat: AtomicU64,
}

impl Default for Handle {
    fn default() -> Self {
        Self {
            woken: Notify::new(),
            last_beat: AtomicU64::new(monotonic_us()),
        }
    }
}

impl Handle {
    /// Says that there may be something to decode: a bundle came, or somebody
    /// wants dumps decoded again. Dumps that come in wake the worker anyway.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// How long ago the worker last showed that it moves.
    pub fn silent_for(&self) -> Duration {
        let last = self.last_beat.load(Ordering::Relaxed);
        Duration::from_micros(monotonic_us().saturating_sub(last))
    }

    /// The worker moves.
    pub(super) fn beat(&self) {
        self.last_beat.store(monotonic_us(), Ordering::Relaxed);
    }

    /// Waits until somebody woke the worker since the last wait.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }
}
