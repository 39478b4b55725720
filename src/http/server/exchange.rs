//! One request and its answer, between the HTTP library and the routes: what
//! the gate refused is answered here and never reaches a route.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use uuid::Uuid;

use super::Peer;
use super::head::Fault;
use super::progress::Progress;

/// The service that one connection's requests go to.
#[derive(Clone)]
pub(super) struct Exchange {
    routes: TowerToHyperService<Router>,
    peer: Peer,
    progress: Arc<Progress>,
    refused: Arc<AtomicU64>,
}

impl Exchange {
    pub(super) fn new(router: Router, peer: Peer, progress: Arc<Progress>) -> Self {
        Self {
            routes: TowerToHyperService::new(router),
            peer,
            progress,
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
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(self.peer);
        let seen = Arc::new(OnceLock::new());
        let body = Watched {
            inner: body,
            seen: Arc::clone(&seen),
        };
        let request = Request::from_parts(parts, Body::new(body));
        let mut response = match self.routes.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if let Some(fault) = seen.get() {
            // Whatever the handler made of it: this is what it is.
            return answer(refusal(*fault));
        }
        if self.progress.is_last() {
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

/// A request's body; remembers what was wrong with it.
struct Watched {
    inner: Incoming,
    seen: Arc<OnceLock<Fault>>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled
            && let Some(fault) = body_fault(error)
        {
            let _ = self.seen.set(fault);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What a body's error says about the client; `None` if it left.
fn body_fault(error: &hyper::Error) -> Option<Fault> {
    let error = error.source()?.downcast_ref::<io::Error>()?;
    // A broken TLS record comes as invalid data too.
    let is_tls = error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>());
    match error.kind() {
        io::ErrorKind::TimedOut => Some(Fault::TooSlow),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if !is_tls => {
            Some(Fault::Malformed("the body's chunks are broken"))
        }
        _ => None,
    }
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
    let body = serde_json::json!({
        "error": format!("Malformed request: {why}"),
        "details": { "message": "The request could not be understood" },
        "code": "VALIDATION_FAILED",
        "correlationId": Uuid::new_v4().to_string(),
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
