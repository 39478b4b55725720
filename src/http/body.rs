//! Reading a request's body: never more than is wanted, never for ever.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

/// Longest silence within a body.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes a second that a body must bring on the average, once it had [`GRACE`].
const MIN_RATE: u64 = 256;
const GRACE: Duration = Duration::from_secs(15);

/// What came of a body.
#[derive(Debug)]
pub enum Incoming {
    Whole(Bytes),
    /// More than the limit; these are the first bytes.
    TooLarge {
        first: Bytes,
    },
    /// The client left, or the framing was broken.
    BrokenOff {
        received: u64,
    },
    TooSlow {
        received: u64,
    },
}

/// Watches that a body keeps coming.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    received: u64,
}

impl Pace {
    /// The body begins now.
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            received: 0,
        }
    }

    /// Bytes so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next piece of the body, `None` at its end.
    ///
    /// # Errors
    /// [`Stalled`].
    pub async fn next(&mut self, body: &mut Body) -> Result<Option<Bytes>, Stalled> {
        loop {
            let earned = GRACE + Duration::from_secs(self.received / MIN_RATE);
            let deadline = (Instant::now() + IDLE).min(self.began + earned);
            match timeout_at(deadline, body.frame()).await {
                Err(_) => return Err(Stalled::TooSlow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Stalled::BrokenOff),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.received += data.len() as u64;
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Why a body did not come whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stalled {
    BrokenOff,
    TooSlow,
}

/// Reads a body into memory, at most `limit` bytes of it.
pub async fn read(mut body: Body, limit: usize) -> Incoming {
    let mut pace = Pace::begin();
    let mut bytes = BytesMut::new();
    loop {
        match pace.next(&mut body).await {
            Ok(None) => return Incoming::Whole(bytes.freeze()),
            Ok(Some(data)) => {
                let room = limit - bytes.len();
                bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
                if data.len() > room {
                    return Incoming::TooLarge {
                        first: bytes.freeze(),
                    };
                }
            }
            Err(Stalled::BrokenOff) => {
                return Incoming::BrokenOff {
                    received: pace.received(),
                };
            }
            Err(Stalled::TooSlow) => {
                return Incoming::TooSlow {
                    received: pace.received(),
                };
            }
        }
    }
}
