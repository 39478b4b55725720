//! Between hyper and the routes: refuses bad requests, and drops what a handler
//! left unread of a body before the response goes out (a client that is still
//! sending would see a reset).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::time::timeout;
use uuid::Uuid;

use super::request_body::Unread;
use super::request_head::RequestError;
use super::request_state::RequestState;
use super::{Connection, Limits, Peer};
use crate::api::errors::ErrorBody;

/// The service that one connection's requests go to.
#[derive(Clone)]
pub(super) struct ConnectionService {
    routes: TowerToHyperService<Router>,
    peer: Peer,
    connection: Arc<Connection>,
    state: Arc<RequestState>,
    limits: Arc<Limits>,
    refused: Arc<AtomicU64>,
}

impl ConnectionService {
    pub(super) fn new(
        router: Router,
        peer: Peer,
        connection: Arc<Connection>,
        state: Arc<RequestState>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            routes: TowerToHyperService::new(router),
            peer,
            connection,
            state,
            limits,
            refused: Arc::default(),
        }
    }

    /// Requests that were refused before they had a handler.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    async fn handle(self, request: Request<Incoming>) -> Response<TrackedBody> {
        let done = Done(Arc::clone(&self.state));
        let track = |response: Response<Body>| response.map(|inner| TrackedBody { inner, done });
        if let Some(error) = self.state.take_error().or_else(|| host_error(&request)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return track(refusal(&error));
        }
        let waits_for_continue = request.headers().contains_key(EXPECT);
        let is_last = request.headers().contains_key(TRANSFER_ENCODING);
        let left: Left = Arc::default();
        let body_error = Arc::new(OnceLock::new());
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.insert(self.peer);
        parts.extensions.insert(Arc::clone(&self.connection));
        let body = Body::new(RequestBody {
            inner: Some(incoming),
            is_begun: !waits_for_continue,
            left: Arc::clone(&left),
            error: Arc::clone(&body_error),
            state: Arc::clone(&self.state),
        });
        let request = Request::from_parts(parts, body);
        let mut response = match self.routes.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if let Some(error) = body_error.get() {
            // Whatever the handler answers, this is the cause.
            return track(refusal(error));
        }
        let rest = left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_whole = match rest {
            Some(rest) => drop_rest(rest, &self.limits).await,
            None => true,
        };
        if !is_whole || is_last {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        track(response)
    }
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let exchange = self.clone();
        Box::pin(async move { Ok(exchange.handle(request).await) })
    }
}

type Left = Arc<Mutex<Option<Incoming>>>;

/// The request's body as a handler gets it. What it leaves unread comes back.
struct RequestBody {
    inner: Option<Incoming>,
    /// Whether the client is sending: not if it waits for 100 Continue.
    is_begun: bool,
    left: Left,
    /// What was wrong with it.
    error: Arc<OnceLock<RequestError>>,
    state: Arc<RequestState>,
}

impl http_body::Body for RequestBody {
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
            && let Some(error) = Unread::of(error).refusal()
        {
            let _ = self.error.set(error);
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

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.is_begun && !http_body::Body::is_end_stream(self) {
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = self.inner.take();
        } else {
            self.state.body_done();
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

/// Notes when hyper has all of the response, however that ended.
struct Done(Arc<RequestState>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// A response's body.
pub(super) struct TrackedBody {
    inner: Body,
    #[expect(dead_code, reason = "dropping it has the effect")]
    done: Done,
}

impl http_body::Body for TrackedBody {
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

/// What is wrong with the Host header (RFC 9112 section 3.2), which hyper does
/// not look at.
fn host_error<B>(request: &Request<B>) -> Option<RequestError> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let why = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_10 => return None,
        (None, _) => "Host header missing",
        (Some(host), None) if is_host(host.as_bytes()) => return None,
        (Some(_), None) => "invalid Host header",
        (Some(_), Some(_)) => "more than one Host header",
    };
    Some(RequestError::malformed(why))
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2).
fn is_host(value: &[u8]) -> bool {
    Authority::try_from(value).is_ok_and(|authority| {
        let host = authority.host();
        // anything else in front of the host is a user name
        !host.is_empty()
            && match authority.as_str().strip_prefix(host) {
                Some(port) => matches!(port, "" | ":") || authority.port_u16().is_some(),
                None => false,
            }
    })
}

fn refusal(error: &RequestError) -> Response<Body> {
    let status = match error {
        RequestError::Malformed(_) => StatusCode::BAD_REQUEST,
        RequestError::UriTooLong => StatusCode::URI_TOO_LONG,
        RequestError::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        RequestError::TooSlow => StatusCode::REQUEST_TIMEOUT,
    };
    let body = ErrorBody::new(
        error.to_string(),
        "The request was refused",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_address_with_or_without_port() {
        for (host, expected) in [
            ("a", true),
            ("a:8443", true),
            ("a:", true),
            ("[::1]", true),
            ("[::1]:8443", true),
            ("192.168.1.20:8443", true),
            ("", false),
            (":8443", false),
            ("a b", false),
            ("a/b", false),
            ("u@a", false),
            ("a@a", false),
            ("a:x", false),
            ("a:70000", false),
            ("a:1:2", false),
            ("[::1", false),
            ("[::1]x", false),
        ] {
            assert_eq!(is_host(host.as_bytes()), expected, "{host:?}");
        }
    }
}
