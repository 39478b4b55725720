//! Connections: accepting, limits, timeouts, and checks before a request reaches
//! its handler.

mod accept;
mod client_key;
mod connection;
mod connection_service;
mod connections;
mod deliveries;
mod eviction;
mod file_body;
mod limited_stream;
mod request_body;
pub mod request_head;
mod request_state;
mod tcp_socket;
mod transfer_rate;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use client_key::LocalNetworks;
pub use connections::Connection;
use connections::Connections;
pub use deliveries::Arrival;
pub use file_body::{Delivery, from_file, from_memory};
pub use request_body::{Incomplete, Unread, read_limited};

/// Limits for clients. Sizes in bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// HTTPS connections at once; for one more, another gives way or it waits.
    pub connections: usize,
    /// Of these from one address without an accepted credential (IPv6 beyond this machine's
    /// networks: one /64), when connections are short.
    pub connections_per_address: usize,
    /// Control socket connections at once.
    pub control_connections: usize,
    /// TCP connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// First byte of a request's head to its last.
    pub head_time: Duration,
    /// Request line and headers (431).
    pub head_bytes: usize,
    /// Request target (414).
    pub uri_bytes: usize,
    /// Idle time between two requests.
    pub keep_alive: Duration,
    /// Idle time within a request's body.
    pub body_idle: Duration,
    /// Minimum average rate of a request's body while waiting for it.
    pub body_bytes_per_second: u64,
    /// Timeout of a client that does not read its response.
    pub write_stall: Duration,
    /// Minimum average rate of reading a response while waiting for the client.
    pub write_bytes_per_second: u64,
    /// Age at which a connection ends after the request at hand; a minute
    /// later it ends in any case.
    pub connection_age: Duration,
    /// How much of a refused request's rest is read and dropped, so that the
    /// client can read why, ...
    pub linger_bytes: u64,
    /// ... and for how long.
    pub linger_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_address: 64,
            control_connections: 32,
            handshake: Duration::from_secs(10),
            head_time: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            uri_bytes: 8 * 1024,
            keep_alive: Duration::from_secs(60),
            body_idle: Duration::from_secs(15),
            body_bytes_per_second: 512,
            write_stall: Duration::from_secs(30),
            write_bytes_per_second: 512,
            connection_age: Duration::from_secs(3600),
            linger_bytes: 2 * 1024 * 1024,
            linger_time: Duration::from_secs(10),
        }
    }
}

impl From<&crate::config::Http> for Limits {
    fn from(http: &crate::config::Http) -> Self {
        Self {
            connections: http.max_connections,
            connections_per_address: http.max_connections_per_address,
            ..Self::default()
        }
    }
}

/// Connections to the control socket that one user may have when they are short.
const CONTROL_SHARE: usize = 4;

/// The client's address or user; an extension of every request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// A client of the network.
    Network(SocketAddr),
    /// A process of this machine, over the control socket.
    Control {
        /// The user it runs as.
        uid: u32,
    },
}

/// Connection counters since the start.
#[derive(Debug, Default)]
pub struct Counts {
    accepted: AtomicU64,
    turned_away: AtomicU64,
    handshakes_failed: AtomicU64,
    requests_malformed: AtomicU64,
}

impl Counts {
    /// HTTPS connections that were accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Of these, closed because their address had too many connections.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// TLS handshakes that failed or took too long.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Ordering::Relaxed)
    }

    /// Requests refused before they had a handler (400, 408, 414, 431).
    pub fn requests_malformed(&self) -> u64 {
        self.requests_malformed.load(Ordering::Relaxed)
    }
}

/// Serves a router's routes on any number of listeners. Clones are one server.
#[derive(Clone, Debug)]
pub struct Server {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    router: Router,
    limits: RwLock<Arc<Limits>>,
    https: Arc<Connections>,
    control: Arc<Connections>,
    networks: LocalNetworks,
    counts: Counts,
    /// Accept loops.
    listeners: TaskTracker,
    connections: TaskTracker,
    /// Connections close after the current request.
    ending: CancellationToken,
    /// Connections close now.
    aborting: CancellationToken,
}

impl Server {
    /// A server without listeners.
    pub fn new(router: Router, limits: Limits) -> Self {
        Self {
            inner: Arc::new(Inner {
                router,
                https: Connections::new(limits.connections, limits.connections_per_address),
                control: Connections::new(limits.control_connections, CONTROL_SHARE),
                networks: LocalNetworks::default(),
                limits: RwLock::new(Arc::new(limits)),
                counts: Counts::default(),
                listeners: TaskTracker::new(),
                connections: TaskTracker::new(),
                ending: CancellationToken::new(),
                aborting: CancellationToken::new(),
            }),
        }
    }

    /// Changes the limits. Open connections keep the old limits; while there are
    /// more than allowed, none is accepted.
    pub fn set_limits(&self, limits: Limits) {
        let (https, control) = (&self.inner.https, &self.inner.control);
        https.resize(limits.connections, limits.connections_per_address);
        control.resize(limits.control_connections, CONTROL_SHARE);
        let limits = Arc::new(limits);
        *self
            .inner
            .limits
            .write()
            .unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Connection counters.
    pub fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// Connections open now, the control socket's among them.
    pub fn open(&self) -> usize {
        self.inner.connections.len()
    }

    /// Whether all connections of the control socket are taken: the next has
    /// to wait.
    pub fn control_is_full(&self) -> bool {
        self.inner.control.are_taken()
    }

    /// Says, while HTTPS connections are short, which clients without a credential hold the
    /// most; `None` while they are not.
    pub fn connections_short(&self) -> Option<String> {
        self.inner
            .https
            .short()
            .map(|holders| accept::in_words(&holders))
    }

    /// Stops accepting and closes all connections: idle ones at once, busy ones
    /// after the current response or after `grace`. Whether all closed in time.
    pub async fn drain(&self, grace: Duration) -> bool {
        let inner = &self.inner;
        inner.ending.cancel();
        inner.listeners.close();
        inner.connections.close();
        let ended = tokio::time::timeout(grace, async {
            // include a connection that was just accepted
            inner.listeners.wait().await;
            inner.connections.wait().await;
        })
        .await;
        inner.aborting.cancel();
        // Aborted connections only have to be polled once more.
        let _ = tokio::time::timeout(Duration::from_secs(2), inner.connections.wait()).await;
        ended.is_ok()
    }
}

impl Inner {
    fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }
}
