//! Accept loops. A permit is taken before a connection is accepted; without one,
//! clients wait in the kernel's queue.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::connection_limit::ConnectionLimit;
use super::{Peer, Server, connection};
use crate::http::tls::Tls;
use crate::journal::Event;

/// Pause after a failed accept: usually there are no file descriptors left, and
/// retrying at once would only use processor time.
const PAUSE: Duration = Duration::from_millis(100);

impl Server {
    /// Accepts HTTPS connections until `stop`; those there are go on. May run
    /// for several listeners at once.
    pub async fn https(&self, listener: TcpListener, tls: Arc<Tls>, stop: CancellationToken) {
        let _listening = self.inner.listeners.token();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.inner.ending.cancelled() => return,
                accepted = async {
                    let room = self.inner.slots.room().await;
                    (room, listener.accept().await)
                } => accepted,
            };
            match accepted {
                (room, Ok((stream, peer))) => {
                    self.inner.counts.accepted.fetch_add(1, Ordering::Relaxed);
                    let (inner, tls) = (Arc::clone(&self.inner), Arc::clone(&tls));
                    self.inner.connections.spawn(async move {
                        let Some(slot) = inner.slots.claim(room, peer.ip()).await else {
                            inner.counts.turned_away.fetch_add(1, Ordering::Relaxed);
                            Event::ConnectionTrouble.entry().say(format_args!(
                                "connection from {} closed: max_connections_per_address reached",
                                peer.ip()
                            ));
                            return;
                        };
                        connection::https(&inner, stream, peer, &tls).await;
                        drop(slot);
                    });
                }
                (_, Err(error)) => pause(&error, "HTTPS").await,
            }
        }
    }

    /// Accepts connections to the control socket until `stop`.
    pub async fn control(&self, listener: UnixListener, stop: CancellationToken) {
        let _listening = self.inner.listeners.token();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.inner.ending.cancelled() => return,
                accepted = async {
                    let room = self.inner.control_slots.room().await;
                    (room, listener.accept().await)
                } => accepted,
            };
            match accepted {
                (room, Ok((stream, _))) => {
                    // Linux reports the peer's user; without it the connection is refused.
                    let Ok(uid) = stream.peer_cred().map(|credentials| credentials.uid()) else {
                        continue;
                    };
                    let inner = Arc::clone(&self.inner);
                    let slot = ConnectionLimit::without_address(room);
                    self.inner.connections.spawn(async move {
                        connection::serve(&inner, stream, Peer::Control { uid }).await;
                        drop(slot);
                    });
                }
                (_, Err(error)) => pause(&error, "the control socket").await,
            }
        }
    }
}

async fn pause(error: &io::Error, what: &str) {
    // The client disconnected before it was accepted: not an error.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        Event::ConnectionTrouble
            .entry()
            .say(format_args!("cannot accept connection on {what}: {error}"));
        tokio::time::sleep(PAUSE).await;
    }
}
