//! Reading a request's body into memory.

use std::io;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::request_head::RequestError;

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Larger than the limit. The rest is dropped before the answer goes out.
    #[error("body larger than {} bytes", .kept.len())]
    TooLarge {
        /// The first bytes, as many as the limit.
        kept: Bytes,
    },
    /// The client was idle too long or too slow on average (408).
    #[error("body timed out ({got} bytes received)")]
    TooSlow {
        /// Bytes received.
        got: usize,
    },
    /// The client disconnected before the end of the body.
    #[error("client disconnected ({got} bytes received)")]
    ClientGone {
        /// Bytes received.
        got: usize,
    },
    /// Invalid chunked encoding (400).
    #[error("invalid chunked encoding ({got} bytes received)")]
    Malformed {
        /// Bytes received.
        got: usize,
    },
}

impl Unread {
    /// Classifies an error while reading a body, after `got` bytes.
    pub fn of(error: &dyn std::error::Error, got: usize) -> Self {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                // A broken TLS record comes as invalid data too.
                let is_tls = error
                    .get_ref()
                    .is_some_and(|inner| inner.is::<rustls::Error>());
                return match error.kind() {
                    io::ErrorKind::TimedOut => Self::TooSlow { got },
                    io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if !is_tls => {
                        Self::Malformed { got }
                    }
                    _ => Self::ClientGone { got },
                };
            }
            cause = error.source();
        }
        Self::ClientGone { got }
    }

    /// The error to answer with, unless the client disconnected.
    pub(super) fn refusal(&self) -> Option<RequestError> {
        match self {
            Self::TooSlow { .. } => Some(RequestError::TooSlow),
            Self::Malformed { .. } => Some(RequestError::malformed("invalid chunked encoding")),
            Self::TooLarge { .. } | Self::ClientGone { .. } => None,
        }
    }
}

/// Reads a body of at most `limit` bytes. How long that may take is kept by the
/// connection (`Limits::body_idle`, `Limits::body_bytes_per_second`).
///
/// # Errors
/// [`Unread`]; after all but [`Unread::ClientGone`] an answer still arrives.
pub async fn read_limited(mut body: Body, limit: usize) -> Result<Bytes, Unread> {
    let announced = body.size_hint().exact().unwrap_or(0);
    let expected = usize::try_from(announced).unwrap_or(usize::MAX).min(limit);
    let mut bytes = BytesMut::with_capacity(expected);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unread::of(&error, bytes.len()))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let room = limit - bytes.len();
        bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        if data.len() > room {
            return Err(Unread::TooLarge {
                kept: bytes.freeze(),
            });
        }
    }
    Ok(bytes.freeze())
}
