//! What the gate and the exchange of one connection know of each other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::head::Fault;

/// How far the request at hand is.
#[derive(Debug)]
pub(super) struct Progress(Mutex<Inside>);

#[derive(Debug)]
struct Inside {
    /// A request is handed over and its answer is not wholly given back.
    busy: bool,
    fault: Option<Fault>,
    /// The request at hand is the connection's last.
    last: bool,
    idle_since: Instant,
    waker: Option<Waker>,
    /// Cancelled with the connection's first request.
    asked: CancellationToken,
}

impl Progress {
    /// Of a connection without a request yet.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inside {
            busy: false,
            fault: None,
            last: false,
            idle_since: Instant::now(),
            waker: None,
            asked: CancellationToken::new(),
        }))
    }

    /// Is cancelled once the connection's first request is at hand.
    pub(super) fn asked(&self) -> CancellationToken {
        self.lock().asked.clone()
    }

    /// A head is handed over: a good one, or the substitute for one that is
    /// refused for `fault`. `last`: the connection ends with its answer.
    pub(super) fn begin(&self, fault: Option<Fault>, last: bool) {
        let mut inside = self.lock();
        inside.busy = true;
        inside.fault = fault;
        inside.last = last;
        inside.asked.cancel();
    }

    /// Whether a request is at hand.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().busy
    }

    /// Since when there is no request at hand; `None` while there is one, and
    /// the task is woken after it.
    pub(super) fn idle_since(&self, cx: &Context<'_>) -> Option<Instant> {
        let mut inside = self.lock();
        inside.waker = Some(cx.waker().clone());
        (!inside.busy).then_some(inside.idle_since)
    }

    /// Why the request at hand is refused, if it is.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        self.lock().fault.take()
    }

    /// Whether the connection has to end with the answer to the request at hand.
    pub(super) fn is_last(&self) -> bool {
        self.lock().last
    }

    /// The answer is wholly given to the HTTP library.
    pub(super) fn answered(&self) {
        let mut inside = self.lock();
        inside.busy = false;
        inside.idle_since = Instant::now();
        if let Some(waker) = inside.waker.take() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
