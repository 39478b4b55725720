//! A server with a few routes on a loopback port, and clients for it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use espgate::http::server::{Delivery, Limits, Server, from_memory};
use espgate::http::tls::Tls;
use http::StatusCode;
use http_body_util::BodyExt;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// Larger than what kernel and TLS buffers of both sides can hold.
pub(crate) const BIG: usize = 64 * 1024 * 1024;

pub(crate) struct TestServer {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<Tls>,
    pub(crate) server: Server,
    /// How answers to `/big` ended.
    pub(crate) deliveries: mpsc::UnboundedReceiver<Delivery>,
    _stop: tokio_util::sync::DropGuard,
}

pub(crate) type Client = TlsStream<Observed<TcpStream>>;

impl TestServer {
    pub(crate) async fn new(limits: Limits) -> Self {
        Self::with(limits, espgate::config::Tls::default()).await
    }

    pub(crate) async fn with(limits: Limits, settings: espgate::config::Tls) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = Arc::new(Tls::open(&folder.path().join("tls"), settings).unwrap());
        let (told, deliveries) = mpsc::unbounded_channel();
        let server = Server::new(routes(told), limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn({
            let (server, tls, stop) = (server.clone(), Arc::clone(&tls), stop.clone());
            async move { server.https(listener, tls, stop).await }
        });
        Self {
            folder,
            address,
            tls,
            server,
            deliveries,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn config(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let ca = self.tls.ca_pem().unwrap();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
            .unwrap();
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A client like a device's: TLS 1.2, no ALPN.
    pub(crate) fn device(&self) -> Arc<ClientConfig> {
        Arc::new(self.config(ring::default_provider(), &[&rustls::version::TLS12]))
    }

    pub(crate) async fn connect(&self, config: Arc<ClientConfig>) -> io::Result<Client> {
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(config)
            .connect(
                "espgate.internal".try_into().unwrap(),
                Observed::new(stream),
            )
            .await
    }

    pub(crate) async fn client(&self) -> Client {
        self.connect(self.device()).await.unwrap()
    }

    /// Sends `bytes` on a new connection and reads until the server closes.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut client = self.client().await;
        client.write_all(bytes).await.unwrap();
        until_closed(&mut client).await
    }
}

fn routes(told: mpsc::UnboundedSender<Delivery>) -> Router {
    Router::new()
        .route("/", get(|| async { "ok" }))
        .route("/length", post(length))
        .route("/slow", post(slow))
        .route("/refuse", post(|| async { StatusCode::FORBIDDEN }))
        .route(
            "/big",
            get(move || {
                let told = told.clone();
                async move {
                    from_memory(Bytes::from(vec![7; BIG]), move |ended| {
                        let _ = told.send(ended);
                    })
                }
            }),
        )
}

async fn length(body: Body) -> Result<String, StatusCode> {
    let whole = body.collect().await.map_err(|_| StatusCode::IM_A_TEAPOT)?;
    Ok(whole.to_bytes().len().to_string())
}

/// Takes longer than a body may pause.
async fn slow(body: Body) -> Result<String, StatusCode> {
    let answer = length(body).await;
    tokio::time::sleep(impatient().body_idle * 3).await;
    answer
}

/// Limits small enough to run into.
pub(crate) fn impatient() -> Limits {
    Limits {
        head_time: Duration::from_millis(300),
        body_idle: Duration::from_millis(300),
        write_stall: Duration::from_millis(300),
        keep_alive: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// Everything the server still sends; a reset would be an error.
pub(crate) async fn until_closed(client: &mut Client) -> String {
    let mut text = Vec::new();
    client.read_to_end(&mut text).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// One answer with Content-Length, on a connection that stays.
pub(crate) async fn answer(client: &mut Client) -> String {
    let mut text = String::new();
    loop {
        text.push(char::from(client.read_u8().await.unwrap()));
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse::<usize>()
                        .ok()
                })
                .unwrap();
            if body.len() == length {
                return text;
            }
        }
    }
}

/// Notes the sizes of the TLS records that come in.
pub(crate) struct Observed<IO> {
    inner: IO,
    header: Vec<u8>,
    left: usize,
    /// Type and length of each.
    pub(crate) records: Vec<(u8, usize)>,
}

impl<IO> Observed<IO> {
    pub(crate) fn new(inner: IO) -> Self {
        Self {
            inner,
            header: Vec::new(),
            left: 0,
            records: Vec::new(),
        }
    }

    fn note(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header.push(*first);
            bytes = &bytes[1..];
            if let [kind, _, _, high, low] = self.header[..] {
                self.left = usize::from(u16::from_be_bytes([high, low]));
                self.records.push((kind, self.left));
                self.header.clear();
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Observed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, out);
        self.note(&out.filled()[before..]);
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Observed<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
