//! Reading a request's body into memory.

use std::io;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::request_head::RequestError;

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unread {
    /// The rest is dropped before the answer goes out.
    #[error("body larger than the limit")]
    TooLarge,
    /// The client was idle too long, too slow on average, or had to make room for others
    /// (408).
    #[error("body timed out")]
    TooSlow,
    /// The client disconnected before the end of the body.
    #[error("client disconnected")]
    ClientGone,
    /// Invalid chunked encoding (400).
    #[error("invalid chunked encoding")]
    Malformed,
}

/// A body that was received in part.
#[derive(Clone, Debug)]
pub struct Incomplete {
    pub why: Unread,
    /// The received part, at most as many bytes as the limit.
    pub came: Bytes,
}

impl Unread {
    /// Classifies an error while reading a body.
    pub fn of(error: &dyn std::error::Error) -> Self {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                // A broken TLS record comes as invalid data too.
                let is_tls = error
                    .get_ref()
                    .is_some_and(|inner| inner.is::<rustls::Error>());
                return match error.kind() {
                    io::ErrorKind::TimedOut | io::ErrorKind::ConnectionAborted => Self::TooSlow,
                    io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if !is_tls => {
                        Self::Malformed
                    }
                    _ => Self::ClientGone,
                };
            }
            cause = error.source();
        }
        Self::ClientGone
    }

    /// The error to answer with, unless the client disconnected.
    pub(super) fn refusal(&self) -> Option<RequestError> {
        match self {
            Self::TooSlow => Some(RequestError::TooSlow),
            Self::Malformed => Some(RequestError::malformed("invalid chunked encoding")),
            Self::TooLarge | Self::ClientGone => None,
        }
    }
}

/// Reads a body of at most `limit` bytes. How long that may take is kept by the
/// connection (`Limits::body_idle`, `Limits::body_bytes_per_second`).
///
/// # Errors
/// [`Incomplete`]; after all but [`Unread::ClientGone`] an answer still arrives.
pub async fn read_limited(mut body: Body, limit: usize) -> Result<Bytes, Incomplete> {
    let announced = body.size_hint().exact().unwrap_or(0);
    let expected = usize::try_from(announced).unwrap_or(usize::MAX).min(limit);
    let mut bytes = BytesMut::with_capacity(expected);
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                let (why, came) = (Unread::of(&error), bytes.freeze());
                return Err(Incomplete { why, came });
            }
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let room = limit - bytes.len();
        bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        if data.len() > room {
            let (why, came) = (Unread::TooLarge, bytes.freeze());
            return Err(Incomplete { why, came });
        }
    }
    Ok(bytes.freeze())
}
