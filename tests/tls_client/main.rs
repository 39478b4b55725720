//! What clients see of the server over real TLS connections: handshakes,
//! records, malformed and slow requests, the end.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod handshakes;
mod life;
mod malformed;
mod slow;
mod test_server;
