//! Handle to the worker: wakes it, and checks whether it
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
    /// Wakes the worker after an uploaded bundle or a request to decode again. New
    /// dumps wake it anyway.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Time since the worker's last sign of life.
    pub fn silent_for(&self) -> Duration {
        let last = self.last_beat.load(Ordering::Relaxed);
        Duration::from_micros(monotonic_us().saturating_sub(last))
    }

    /// The worker moves.
    pub(super) fn beat(&self) {
        self.last_beat.store(monotonic_us(), Ordering::Relaxed);
    }

    /// Waits until the worker was woken since the last wait.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }
}
