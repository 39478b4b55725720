//! Accept loops. Who comes when all connections are in use takes the place of
//! another, or waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::client_key::ClientKey;
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
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.inner.counts.accepted.fetch_add(1, Ordering::Relaxed);
                    let (inner, tls) = (Arc::clone(&self.inner), Arc::clone(&tls));
                    let entry = inner.https.enter(inner.networks.client(peer.ip()));
                    self.inner.connections.spawn(async move {
                        let admitted = entry.admitted().await;
                        if let Some(holders) = inner.https.tell_short() {
                            Event::ConnectionsShort
                                .entry()
                                .say(format_args!("{}", in_words(&holders)));
                        }
                        let Some(admitted) = admitted else {
                            inner.counts.turned_away.fetch_add(1, Ordering::Relaxed);
                            Event::ConnectionTrouble.entry().say(format_args!(
                                "connection from {} closed: all connections are in use",
                                peer.ip()
                            ));
                            return;
                        };
                        connection::https(&inner, stream, peer, &tls, admitted.connection()).await;
                    });
                }
                Err(error) => pause(&error, "HTTPS").await,
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
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Linux reports the peer's user; without it the connection is refused.
                    let Ok(uid) = stream.peer_cred().map(|credentials| credentials.uid()) else {
                        continue;
                    };
                    let inner = Arc::clone(&self.inner);
                    let client = ClientKey::User(uid);
                    let entry = match uid {
                        // root repairs the gateway: it never waits for others
                        0 => inner.control.enter_always(client),
                        _ => inner.control.enter(client),
                    };
                    self.inner.connections.spawn(async move {
                        let Some(admitted) = entry.admitted().await else {
                            return;
                        };
                        let peer = Peer::Control { uid };
                        connection::serve(&inner, stream, peer, admitted.connection()).await;
                    });
                }
                Err(error) => pause(&error, "the control socket").await,
            }
        }
    }
}

/// That connections are short, and who holds the most.
pub(super) fn in_words(holders: &[(ClientKey, usize)]) -> String {
    let named = holders
        .iter()
        .take(MAX_NAMED)
        .map(|(client, count)| match client {
            ClientKey::Address(address) => format!("{address} ({count})"),
            ClientKey::User(uid) => format!("uid {uid} ({count})"),
        });
    let named: Vec<String> = named.collect();
    let held = match named.as_slice() {
        [] => String::from("all clients are authenticated: raise http.max_connections"),
        named => format!("most unauthenticated connections: {}", named.join(", ")),
    };
    format!("connection limit reached, closing idle connections; {held}")
}

/// Clients named in one line.
const MAX_NAMED: usize = 5;

async fn pause(error: &io::Error, what: &str) {
    // The client disconnected before it was accepted: not an error.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        Event::ConnectionTrouble
            .entry()
            .say(format_args!("cannot accept connection on {what}: {error}"));
        tokio::time::sleep(PAUSE).await;
    }
}
