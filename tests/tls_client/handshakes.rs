//! What is agreed on in a handshake, and how large records are after it.

use std::sync::Arc;

use espgate::config::{RecordLimit, Tls as Settings};
use espgate::http::server::Limits;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, kx_group};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, NamedGroup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::test_server::{Client, TestServer, answer};

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

#[tokio::test]
async fn both_tls_versions_and_both_key_exchanges_work_and_p_384_does_not() {
    let site = TestServer::new(Limits::default()).await;
    for version in [&TLS12, &TLS13] {
        for (group, works) in [
            (kx_group::X25519, true),
            (kx_group::SECP256R1, true),
            (kx_group::SECP384R1, false),
        ] {
            let provider = CryptoProvider {
                kx_groups: vec![group],
                ..ring::default_provider()
            };
            let config = site.config(provider, &[version]);
            let outcome = site.connect(Arc::new(config)).await;
            assert_eq!(outcome.is_ok(), works, "{version:?} {group:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_prefers_p_384_gets_a_quicker_group() {
    let site = TestServer::new(Limits::default()).await;
    let provider = CryptoProvider {
        kx_groups: vec![kx_group::SECP384R1, kx_group::SECP256R1],
        ..ring::default_provider()
    };
    let client = site
        .connect(Arc::new(site.config(provider, &[&TLS12])))
        .await
        .unwrap();
    let group = client.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::secp256r1);
}

#[tokio::test]
async fn sessions_resume_in_both_versions_with_and_without_tickets() {
    let site = TestServer::new(Limits::default()).await;
    for (version, tickets) in [(&TLS12, true), (&TLS12, false), (&TLS13, true)] {
        let mut config = site.config(ring::default_provider(), &[version]);
        if !tickets {
            config.resumption = config
                .resumption
                .tls12_resumption(rustls::client::Tls12Resumption::SessionIdOnly);
        }
        let config = Arc::new(config);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut client = site.connect(Arc::clone(&config)).await.unwrap();
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .await
                .unwrap();
            answer(&mut client).await;
            kinds.push(client.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(
            kinds[1..],
            [HandshakeKind::Resumed, HandshakeKind::Resumed],
            "{version:?} tickets: {tickets}"
        );
    }
}

/// Largest data record while a megabyte comes in.
async fn largest(mut client: Client) -> usize {
    client
        .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    client.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
    let records = &client.get_ref().0.records;
    records
        .iter()
        .filter(|(kind, _)| *kind == DATA)
        .map(|(_, length)| *length)
        .max()
        .unwrap()
}

#[tokio::test]
async fn records_are_small_for_devices_and_full_for_clients_that_offer_h2() {
    // nonce, content type and authentication tag
    const OVERHEAD: usize = 8 + 1 + 16;
    for (setting, device, other) in [
        (RecordLimit::Auto, 4096, 16384),
        (RecordLimit::Maximum, 16384, 16384),
        (RecordLimit::Bytes(1024), 1024, 1024),
    ] {
        let settings = Settings {
            max_record_bytes: setting,
            ..Settings::default()
        };
        let site = TestServer::with(Limits::default(), settings).await;
        for version in [&TLS12, &TLS13] {
            for (alpn, limit) in [
                (&[][..], device),
                (&["http/1.1"][..], device),
                (&["h2", "http/1.1"][..], other),
            ] {
                let mut config = site.config(ring::default_provider(), &[version]);
                config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
                let largest = largest(site.connect(Arc::new(config)).await.unwrap()).await;
                let shown = format!("{setting:?} {version:?} {alpn:?}: {largest}");
                assert!(largest <= limit + OVERHEAD, "{shown}");
                assert!(largest > limit / 2, "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn the_servers_flight_is_one_small_record() {
    let settings = Settings {
        names: vec![
            String::from("gateway.plant-7.example.com"),
            String::from("10.11.12.13"),
        ],
        ..Settings::default()
    };
    let site = TestServer::with(Limits::default(), settings).await;
    let client = site.client().await;
    let first: Vec<_> = client.get_ref().0.records.iter().collect();
    let (kind, length) = first[0];
    assert_eq!(*kind, HANDSHAKE);
    assert!(*length <= 4096, "{length}");
    let shown = site.tls.show();
    assert_eq!(shown.fits_4096, Some(true));
    let flight = shown.flight_bytes.unwrap();
    // A signature is up to some bytes longer or shorter.
    assert!(flight.abs_diff(*length) < 300, "{length} {flight}");
    assert_ne!(first[1].1, 0);
}

#[tokio::test]
async fn a_certificate_whose_flight_does_not_fit_is_shown_as_such() {
    let label = "a".repeat(60);
    let names = (0..32)
        .map(|n| format!("{label}.{label}.{n}.example"))
        .collect();
    let settings = Settings {
        names,
        ..Settings::default()
    };
    let site = TestServer::with(Limits::default(), settings).await;
    let shown = site.tls.show();
    assert!(
        shown.fits_4096 == Some(false) && shown.flight_bytes > Some(4096),
        "{shown:?}"
    );
}
