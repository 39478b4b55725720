//! rustls configurations, and which client gets which.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, kx_group};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::library_clock::{PlausibleTime, Tickets};
use super::{Error, Result};
use crate::config::RecordLimit;

/// Largest record a client with a small receive buffer can take.
pub const SMALL_RECORD: usize = 4096;
/// Header of a record, which the TLS library counts into its size.
const RECORD_HEADER: usize = 5;
/// Sessions kept for clients that resume without tickets.
const SESSIONS: usize = 1024;

/// ring, with the two key exchanges that small devices are quick at. P-384 is
/// left out: mbedTLS 2.28 would choose it and compute for seconds.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
        ..ring::default_provider()
    }
}

/// Gives the current certificate, so that a new one needs no restart.
#[derive(Debug)]
pub(super) struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    pub(super) fn new(certificate: Arc<CertifiedKey>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(certificate)))
    }

    pub(super) fn replace(&self, certificate: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

/// The two configurations; they differ in record size only and share sessions,
/// tickets and certificate.
#[derive(Debug)]
pub(super) struct Configs {
    small: Arc<ServerConfig>,
    large: Arc<ServerConfig>,
}

impl Configs {
    pub(super) fn new(current: &Arc<Current>, size: RecordLimit) -> Result<Self> {
        let mut small =
            ServerConfig::builder_with_details(Arc::new(provider()), Arc::new(PlausibleTime))
                .with_protocol_versions(&[&TLS13, &TLS12])
                .map_err(Error::Library)?
                .with_no_client_auth()
                .with_cert_resolver(Arc::clone(current) as Arc<dyn ResolvesServerCert>);
        small.alpn_protocols = vec![b"http/1.1".to_vec()];
        small.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        small.ticketer = Arc::new(Tickets::default());
        // Devices resume once; two tickets would only lengthen the handshake.
        small.send_tls13_tickets = 1;
        let mut large = small.clone();
        let (for_small, for_large) = match size {
            RecordLimit::Auto => (Some(SMALL_RECORD), None),
            RecordLimit::Maximum => (None, None),
            RecordLimit::Bytes(bytes) => {
                // The library's own bounds are 32 and 16384 + 5.
                let bytes = Some(bytes.clamp(512, 16384));
                (bytes, bytes)
            }
        };
        small.max_fragment_size = for_small;
        large.max_fragment_size = for_large;
        Ok(Self {
            small: Arc::new(small),
            large: Arc::new(large),
        })
    }

    /// The configuration for the client that said `hello`.
    pub(super) fn choose(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let is_large = hello
            .alpn()
            .is_some_and(|mut offered| offered.any(|protocol| protocol == b"h2"));
        Arc::clone(if is_large { &self.large } else { &self.small })
    }

    /// Size in bytes of what the server first sends to a TLS 1.2 client, without
    /// record headers; `None` if the handshake does not get that far.
    pub(super) fn flight(&self) -> Option<usize> {
        let config =
            ClientConfig::builder_with_details(Arc::new(provider()), Arc::new(PlausibleTime))
                .with_protocol_versions(&[&TLS12])
                .ok()?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
        let name = super::names::COMMON_NAME.try_into().ok()?;
        let mut client = ClientConnection::new(Arc::new(config), name).ok()?;
        let mut server = ServerConnection::new(Arc::clone(&self.large)).ok()?;
        let mut hello = Vec::new();
        client.write_tls(&mut hello).ok()?;
        server.read_tls(&mut hello.as_slice()).ok()?;
        server.process_new_packets().ok()?;
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).ok()?;
        }
        let mut rest = flight.as_slice();
        let mut size = 0;
        while let Some(([.., high, low], tail)) = rest.split_first_chunk::<RECORD_HEADER>() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            size += length;
            rest = tail.get(length..)?;
        }
        (size > 0).then_some(size)
    }
}
