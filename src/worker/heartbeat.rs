//! When a task last showed that it moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::monotonic_us;

/// Set by a task, looked at by the watchdog.
#[derive(Debug)]
pub struct Heartbeat(AtomicU64);

impl Default for Heartbeat {
    fn default() -> Self {
        Self(AtomicU64::new(monotonic_us()))
    }
}

impl Heartbeat {
    /// The task moves.
    pub fn beat(&self) {
        self.0.store(monotonic_us(), Ordering::Relaxed);
    }

    /// How long ago the last beat was.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(monotonic_us().saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}
