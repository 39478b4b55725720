//! The request that a connection is serving, as its stream and its service share it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deliveries::Deliveries;
use super::eviction::Upload;
use super::request_head::RequestError;

/// Where the current request is.
#[derive(Debug)]
pub(super) struct RequestState {
    inside: Mutex<Inside>,
    deliveries: Arc<Deliveries>,
}

#[derive(Debug)]
struct Inside {
    /// hyper has a request whose response is not completely given back.
    busy: bool,
    error: Option<RequestError>,
    /// No more of the request's body is read.
    body_done: bool,
    /// The body that arrives.
    upload: Option<Upload>,
    /// The body is to end here: the connection has to give way.
    cut: bool,
    idle_since: Instant,
    waker: Option<Waker>,
    /// Cancelled with the connection's first request.
    asked: CancellationToken,
}

impl RequestState {
    /// Of a connection without a request yet.
    pub(super) fn new(deliveries: Arc<Deliveries>) -> Self {
        let inside = Mutex::new(Inside {
            busy: false,
            error: None,
            body_done: false,
            upload: None,
            cut: false,
            idle_since: Instant::now(),
            waker: None,
            asked: CancellationToken::new(),
        });
        Self { inside, deliveries }
    }

    /// Cancelled with the connection's first request.
    pub(super) fn asked(&self) -> CancellationToken {
        self.lock().asked.clone()
    }

    /// hyper gets a head: a good one, or the substitute for one that is refused.
    pub(super) fn begin(&self, error: Option<RequestError>) {
        self.deliveries.next_request();
        let mut inside = self.lock();
        inside.busy = true;
        inside.body_done = error.is_some();
        inside.upload = None;
        inside.error = error;
        inside.asked.cancel();
    }

    /// Whether a request is being served.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().busy
    }

    /// Since when no request is being served; `None` while there is one, and
    /// the task is woken after it.
    pub(super) fn idle_since(&self, cx: &Context<'_>) -> Option<Instant> {
        let mut inside = self.lock();
        inside.waker = Some(cx.waker().clone());
        (!inside.busy).then_some(inside.idle_since)
    }

    /// Bytes of the body came, or are waited for.
    pub(super) fn body_moved(&self, bytes: usize, now: Instant) {
        let mut inside = self.lock();
        let upload = inside.upload.get_or_insert(Upload {
            begun: now,
            bytes: 0,
        });
        upload.bytes += bytes as u64;
    }

    /// The body that somebody waits for.
    pub(super) fn upload(&self) -> Option<Upload> {
        let inside = self.lock();
        inside
            .upload
            .filter(|_| inside.busy && !inside.body_done && !inside.cut)
    }

    /// Ends the body that arrives: the connection has to give way. What came of it is for the
    /// handler to keep.
    pub(super) fn cut_body(&self) {
        let mut inside = self.lock();
        inside.cut = true;
        if let Some(waker) = inside.waker.take() {
            waker.wake();
        }
    }

    /// Whether the body that arrives has to end; else the task is woken when it has to.
    pub(super) fn is_cut(&self, cx: &Context<'_>) -> bool {
        let mut inside = self.lock();
        inside.waker = Some(cx.waker().clone());
        inside.cut
    }

    /// Why the current request is refused, if it is.
    pub(super) fn take_error(&self) -> Option<RequestError> {
        self.lock().error.take()
    }

    /// Notes that no more of the current request's body is read.
    pub(super) fn body_done(&self) {
        self.lock().body_done = true;
    }

    /// Whether no more of the current request's body is read.
    pub(super) fn is_body_done(&self) -> bool {
        self.lock().body_done
    }

    /// hyper has all of the response.
    pub(super) fn answered(&self) {
        let mut inside = self.lock();
        inside.busy = false;
        inside.idle_since = Instant::now();
        if let Some(waker) = inside.waker.take() {
            waker.wake();
        }
    }

    /// The kernel has all that hyper has written.
    pub(super) fn flushed(&self) {
        if !self.is_busy() {
            self.deliveries.written();
        }
    }

    /// Reading or writing failed.
    pub(super) fn failed(&self, error: &io::Error) {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        if matches!(error.kind(), BrokenPipe | ConnectionReset) {
            self.deliveries.end(true);
        }
    }

    /// Whether the connection may be shut down, see [`Deliveries::may_shut_down`].
    pub(super) fn may_shut_down(&self) -> bool {
        self.deliveries.may_shut_down()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
