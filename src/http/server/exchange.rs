//! One request and its answer, between the HTTP library and the routes: faults
//! become answers, and what a handler left unread of a body is dropped before
//! the answer goes out (a client that is still sending would see a reset).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::time::timeout;
use uuid::Uuid;

use super::body::Unread;
use super::head::Fault;
use super::progress::Progress;
use super::{Limits, Peer};
use crate::api::errors::Refused;

/// The service that one connection's requests go to.
#[derive(Clone)]
pub(super) struct Exchange {
    routes: TowerToHyperService<Router>,
    peer: Peer,
    progress: Arc<Progress>,
    limits: Arc<Limits>,
    refused: Arc<AtomicU64>,
}

impl Exchange {
    pub(super) fn new(
        router: Router,
        peer: Peer,
        progress: Arc<Progress>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            routes: TowerToHyperService::new(router),
            peer,
            progress,
            limits,
            refused: Arc::default(),
        }
    }

    /// Requests that were refused before they had a handler.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    async fn handle(self, request: Request<Incoming>) -> Response<Answer> {
        let done = Done(Arc::clone(&self.progress));
        let answer = |response: Response<Body>| response.map(|inner| Answer { inner, done });
        if let Some(fault) = self.progress.take_fault() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return answer(refusal(fault));
        }
        let waits_for_continue = request.headers().contains_key(EXPECT);
        let left: Left = Arc::default();
        let body_fault = Arc::new(OnceLock::new());
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.insert(self.peer);
        let body = Body::new(Given {
            inner: Some(incoming),
            is_begun: !waits_for_continue,
            left: Arc::clone(&left),
            fault: Arc::clone(&body_fault),
        });
        let request = Request::from_parts(parts, body);
        let mut response = match self.routes.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if let Some(fault) = body_fault.get() {
            // Whatever the handler made of it: this is what it is.
            return answer(refusal(*fault));
        }
        let rest = left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_whole = match rest {
            Some(rest) => drop_rest(rest, &self.limits).await,
            None => true,
        };
        if !is_whole || self.progress.is_last() {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer(response)
    }
}

impl Service<Request<Incoming>> for Exchange {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let exchange = self.clone();
        Box::pin(async move { Ok(exchange.handle(request).await) })
    }
}

type Left = Arc<Mutex<Option<Incoming>>>;

/// The request's body as a handler gets it. What it leaves unread comes back.
struct Given {
    inner: Option<Incoming>,
    /// Whether the client is sending: not if it waits for 100 Continue.
    is_begun: bool,
    left: Left,
    /// What was wrong with it.
    fault: Arc<OnceLock<Fault>>,
}

impl http_body::Body for Given {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_begun = true;
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(inner).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled
            && let Some(fault) = Unread::of(error, 0).fault()
        {
            let _ = self.fault.set(fault);
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.inner = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if self.is_begun && !http_body::Body::is_end_stream(self) {
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = self.inner.take();
        }
    }
}

/// Reads and drops the rest of a body, bounded; whether it was all.
async fn drop_rest(mut rest: Incoming, limits: &Limits) -> bool {
    let mut dropped = 0_u64;
    let outcome = timeout(limits.linger_time, async {
        while let Some(frame) = rest.frame().await {
            let Ok(frame) = frame else { return false };
            dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
            if dropped > limits.linger_bytes {
                return false;
            }
        }
        true
    });
    outcome.await.unwrap_or(false)
}

/// Tells the gate when the answer is wholly given away, however that ended.
struct Done(Arc<Progress>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// An answer's body.
pub(super) struct Answer {
    inner: Body,
    #[expect(dead_code, reason = "its drop is what counts")]
    done: Done,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn refusal(fault: Fault) -> Response<Body> {
    let (status, why) = match fault {
        Fault::Malformed(why) => (StatusCode::BAD_REQUEST, why),
        Fault::UriTooLong => (StatusCode::URI_TOO_LONG, "its address is too long"),
        Fault::HeadTooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "its headers are too large",
        ),
        Fault::TooSlow => (StatusCode::REQUEST_TIMEOUT, "it did not come in time"),
    };
    let body = Refused::new(
        format!("Malformed request: {why}"),
        "The request could not be understood",
        "VALIDATION_FAILED",
        Uuid::new_v4().to_string(),
    );
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
