//! A refusal is sent after the rest of the request's body was read and dropped;
//! a client that is still sending would see a reset instead of the answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// What is read of a refused request beyond what its handler read.
const MAX_BYTES: u64 = 2 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_secs(10);

/// A body that, when its reader is done with it, goes back to who lent it.
struct Lent {
    body: Option<Body>,
    back: Option<oneshot::Sender<Body>>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // Nobody waits for it any more: then it is simply dropped.
            let _ = back.send(body);
        }
    }
}

/// Middleware: drops a bounded rest of the body before an error is answered.
pub async fn drain_before_refusing(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let (sender, receiver) = oneshot::channel();
    let lent = Lent {
        body: Some(body),
        back: Some(sender),
    };
    let response = next.run(Request::from_parts(parts, Body::new(lent))).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        let deadline = Instant::now() + MAX_TIME;
        if let Ok(Ok(body)) = timeout_at(deadline, receiver).await {
            drain(body, deadline).await;
        }
    }
    response
}

async fn drain(mut body: Body, deadline: Instant) {
    let mut dropped = 0;
    while dropped < MAX_BYTES {
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            _ => return,
        }
    }
}
