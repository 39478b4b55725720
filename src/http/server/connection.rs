//! One connection: handshake, requests, shutdown.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connection_service::ConnectionService;
use super::deliveries::EndOfDeliveries;
use super::limited_stream::LimitedStream;
use super::request_state::RequestState;
use super::{Connection, Inner, Peer};
use crate::clock;
use crate::http::tls::Tls;
use crate::journal::Event;

/// Encrypted bytes that wait for a client that reads slowly.
const TLS_BUFFER_BYTES: usize = 32 * 1024;
/// hyper's buffer in each direction; heads have a limit of their own.
const BUFFER_BYTES: usize = 128 * 1024;
/// From the age at which a connection should end to its end in any case.
const LAST_MINUTE: Duration = Duration::from_secs(60);
/// For the answer to a request whose body was cut off.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// How long an ending server waits for a connection's first request.
const FIRST_REQUEST: Duration = Duration::from_secs(5);

/// Serves one HTTPS client.
pub(super) async fn https(
    inner: &Inner,
    stream: TcpStream,
    peer: SocketAddr,
    tls: &Tls,
    place: &Arc<Connection>,
) {
    // Answers are written in whole: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    place.deliveries().on(stream.as_raw_fd());
    let limit = inner.limits().handshake;
    // Not cut short by the server's end: the client was accepted, and a board
    // has one dump and one attempt.
    let outcome = tokio::select! {
        outcome = timeout(limit, handshake(stream, tls)) => outcome,
        () = place.evicted().cancelled() => return,
        () = inner.aborting.cancelled() => return,
    };
    match outcome {
        Ok(Ok(stream)) => serve(inner, stream, Peer::Network(peer), place).await,
        Ok(Err(error)) => {
            inner
                .counts
                .handshakes_failed
                .fetch_add(1, Ordering::Relaxed);
            report(peer, &error);
        }
        Err(_) => {
            inner
                .counts
                .handshakes_failed
                .fetch_add(1, Ordering::Relaxed);
            log::debug!("TLS handshake with {peer} timed out after {limit:?}");
        }
    }
}

async fn handshake(stream: TcpStream, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0; 4];
    let length = stream.peek(&mut first).await?;
    if first.get(..length).is_some_and(is_http) {
        return Err(io::Error::other(PlainHttp));
    }
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let config = tls.config_for(&hello.client_hello());
    let bounded = |connection: &mut ServerConnection| {
        connection.set_buffer_limit(Some(TLS_BUFFER_BYTES));
    };
    hello.into_stream_with(config, bounded).await
}

/// The client asked in the clear, as an `http://` address makes it do.
#[derive(Debug, thiserror::Error)]
#[error("plain HTTP request on the HTTPS port")]
struct PlainHttp;

/// Whether what a client sent first is a method of HTTP; TLS begins with a byte
/// that is no letter.
fn is_http(first: &[u8]) -> bool {
    const METHODS: [&[u8]; 7] = [
        b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"PATC",
    ];
    !first.is_empty() && METHODS.iter().any(|method| method.starts_with(first))
}

/// A handshake that failed over TLS itself is worth a look: a device with
/// another CA, without a cipher suite in common, or without TLS at all. Port
/// scans are not.
fn report(peer: SocketAddr, error: &io::Error) {
    let trouble = || Event::ConnectionTrouble.entry().about(&peer.ip());
    let cause = error.get_ref();
    if cause.is_some_and(|cause| cause.is::<PlainHttp>()) {
        trouble().say(format_args!(
            "{PlainHttp} from {peer}: use https:// in the client's URL"
        ));
        return;
    }
    match cause.and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => {
            trouble().say(format_args!(
                "TLS handshake aborted by {peer}: {alert:?} (UnknownCA or BadCertificate: \
                 check that its firmware contains this gateway's CA)"
            ));
        }
        Some(rustls::Error::PeerIncompatible(why)) => {
            trouble().say(format_args!(
                "no common TLS parameters with {peer}: {why:?}"
            ));
        }
        _ => log::debug!("TLS handshake with {peer} failed: {error}"),
    }
}

/// Waits for the server's shutdown, then a short time for the connection's first
/// request: closing an accepted connection earlier would lose that request.
async fn ending_after_first_request(inner: &Inner, asked: &CancellationToken) {
    inner.ending.cancelled().await;
    // Timed out: close it without a request.
    let _ = timeout(FIRST_REQUEST, asked.cancelled()).await;
}

/// Serves requests until the client, the limits or the server's end.
pub(super) async fn serve<IO>(inner: &Inner, io: IO, peer: Peer, place: &Arc<Connection>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = inner.limits();
    let deliveries = place.deliveries();
    let state = Arc::new(RequestState::new(Arc::clone(deliveries)));
    place.serves(&state);
    let stream = LimitedStream::new(io, Arc::clone(&limits), Arc::clone(&state));
    let asked = state.asked();
    let service = ConnectionService::new(
        inner.router.clone(),
        peer,
        Arc::clone(place),
        Arc::clone(&state),
        Arc::clone(&limits),
    );
    let mut connection = http1::Builder::new()
        // hyper has one limit for heads and for idle connections, and answers
        // neither; the stream has one for each, and a slow head gets a 408
        .header_read_timeout(None)
        // without a clock that can be right there is no `Date` (RFC 9110, 6.6.1)
        .auto_date_header(clock::is_plausible(clock::wall()))
        .max_header_size(limits.head_bytes)
        .max_buf_size(BUFFER_BYTES.max(limits.head_bytes))
        .serve_connection(TokioIo::new(stream), service.clone());
    // dropped before the connection and its socket are
    let _end = EndOfDeliveries(deliveries);
    let mut watching = pin!(deliveries.watch());
    let mut age = pin!(sleep(limits.connection_age));
    let mut last_answer = pin!(sleep(Duration::ZERO));
    let (mut is_ending, mut is_evicted) = (false, false);
    let outcome = loop {
        tokio::select! {
            outcome = &mut connection => break outcome,
            () = watching.as_mut() => {}
            () = inner.aborting.cancelled() => return,
            () = place.evicted().cancelled(), if !is_evicted => {
                if state.upload().is_none() {
                    return;
                }
                // what came of the body is kept, and the client told
                state.cut_body();
                (is_evicted, is_ending) = (true, true);
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                last_answer.set(sleep(LAST_ANSWER));
            }
            () = last_answer.as_mut(), if is_evicted => return,
            () = ending_after_first_request(inner, &asked), if !is_ending => {
                is_ending = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
            () = age.as_mut() => {
                if is_ending {
                    return;
                }
                is_ending = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                age.set(sleep(LAST_MINUTE));
            }
        }
    };
    let is_refused_by_hyper = outcome.as_ref().is_err_and(hyper::Error::is_parse);
    inner.counts.requests_malformed.fetch_add(
        service.refused() + u64::from(is_refused_by_hyper),
        Ordering::Relaxed,
    );
    if let Err(error) = &outcome {
        // Clients leave when they like; handlers report what they care about.
        log::debug!("connection from {peer:?} closed: {error}");
    }
    deliveries.end(false);
    if outcome.is_ok() || is_refused_by_hyper {
        tokio::select! {
            () = connection.into_parts().io.into_inner().linger() => {}
            () = place.evicted().cancelled() => {}
            () = inner.aborting.cancelled() => {}
        }
    }
}
