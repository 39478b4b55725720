//! From the first certificate to the last connection.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use espgate::api::tls::Source;
use espgate::config::Tls as Settings;
use espgate::http::server::{Limits, Peer, Server};
use espgate::http::tls::Tls;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::test_server::{Client, TestServer, answer, until_closed};

fn served(client: &Client) -> CertificateDer<'static> {
    let chain = client.get_ref().1.peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart_and_keeps_its_key() {
    let site = TestServer::new(Limits::default()).await;
    let before = served(&site.client().await);
    let request = site.tls.csr().unwrap();
    site.tls.renew().unwrap();
    let after = served(&site.client().await);
    assert_ne!(before, after);
    let key = |request: &str| {
        CertificateSigningRequestParams::from_pem(request)
            .unwrap()
            .public_key
    };
    assert_eq!(key(&request), key(&site.tls.csr().unwrap()));
}

#[tokio::test]
async fn new_names_are_in_the_certificate_after_a_reload() {
    let site = TestServer::new(Limits::default()).await;
    let names = vec![String::from("gate.example")];
    site.tls
        .reload(Settings {
            names,
            ..Settings::default()
        })
        .unwrap();
    let shown = site.tls.show();
    assert!(shown.server.names.contains(&String::from("gate.example")));
    assert!(
        !site.tls.refresh(espgate::clock::wall()).unwrap(),
        "settled"
    );
    let years = time::Duration::days(3000);
    assert!(site.tls.refresh(espgate::clock::wall() + years).unwrap());
}

#[tokio::test]
async fn the_ca_survives_restarts_and_its_files_are_private() {
    let site = TestServer::new(Limits::default()).await;
    let folder = site.folder.path().join("tls");
    let again = Tls::open(&folder, Settings::default()).unwrap();
    assert_eq!(again.ca_pem(), site.tls.ca_pem());
    assert_eq!(
        again.show().server.fingerprint_sha256,
        site.tls.show().server.fingerprint_sha256
    );
    let ca = again.show().ca.unwrap();
    assert!(ca.not_before.starts_with("2020-01-01") && ca.not_after.starts_with("2070-01-01"));
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["ca.key", "ca.pem", "server.key", "server.pem"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_chain_from_a_ca_of_ones_own_is_installed_for_the_servers_key() {
    let site = TestServer::new(Limits::default()).await;
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::from_params(&ca, &ca_key);
    let mut request = CertificateSigningRequestParams::from_pem(&site.tls.csr().unwrap()).unwrap();
    request.params.not_after = espgate::clock::wall() + time::Duration::days(90);
    let leaf = request.signed_by(&issuer).unwrap().pem();

    let stranger = KeyPair::generate().unwrap();
    let foreign = CertificateParams::new(vec![String::from("x")])
        .unwrap()
        .signed_by(&stranger, &issuer)
        .unwrap()
        .pem();
    for (chain, word) in [
        (foreign, "does not match"),
        (format!("{ca_pem}{leaf}"), "wrong order"),
        (String::from("junk"), "no CERTIFICATE block"),
    ] {
        let error = site.tls.install(chain.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(site.tls.show().source, Source::SiteCa);

    let warnings = site
        .tls
        .install(format!("{leaf}{ca_pem}").as_bytes())
        .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(site.tls.show().source, Source::Installed);
    let folder = site.folder.path().join("tls");
    let again = Tls::open(&folder, Settings::default()).unwrap();
    assert_eq!(again.show().source, Source::Installed);
    assert_eq!(again.renew().unwrap().source, Source::SiteCa);
}

#[tokio::test]
async fn configured_files_are_used_and_their_faults_named() {
    let site = TestServer::new(Limits::default()).await;
    let folder = site.folder.path().join("tls");
    let (cert, key) = (folder.join("server.pem"), folder.join("server.key"));
    let settings = |cert: &std::path::Path, key: &std::path::Path| Settings {
        cert: Some(cert.to_owned()),
        key: Some(key.to_owned()),
        ..Settings::default()
    };
    site.tls.reload(settings(&cert, &key)).unwrap();
    assert_eq!(site.tls.show().source, Source::Configured);
    for (cert, key, file) in [
        (cert.clone(), folder.join("ca.key"), "ca.key"),
        (cert.clone(), folder.join("absent.key"), "absent.key"),
        (folder.join("absent.pem"), key.clone(), "absent.pem"),
        (key.clone(), key.clone(), "server.key"),
    ] {
        let error = site
            .tls
            .reload(settings(&cert, &key))
            .unwrap_err()
            .to_string();
        assert!(error.contains(file), "{error}");
    }
    let ca = Settings {
        ca_cert: Some(folder.join("ca.pem")),
        ca_key: Some(folder.join("ca.key")),
        ..Settings::default()
    };
    site.tls.reload(ca).unwrap();
    assert_eq!(site.tls.show().source, Source::ConfiguredCa);
}

#[tokio::test]
async fn at_the_end_idle_connections_close_and_busy_ones_finish() {
    let site = TestServer::new(Limits::default()).await;
    let mut idle = site.client().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    answer(&mut idle).await;
    let mut busy = site.client().await;
    busy.write_all(
        b"POST /length HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    )
    .await
    .unwrap();
    let mut go_on = [0; 25];
    busy.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let drained = tokio::spawn({
        let server = site.server.clone();
        async move { server.drain(Duration::from_secs(60)).await }
    });
    assert_eq!(until_closed(&mut idle).await, "");
    busy.write_all(b"abc").await.unwrap();
    let got = until_closed(&mut busy).await;
    assert!(
        got.contains("connection: close") && got.ends_with("\r\n\r\n3"),
        "{got}"
    );
    assert!(drained.await.unwrap());
    assert_eq!(site.server.open(), 0);
}

#[tokio::test]
async fn who_has_just_connected_at_the_end_is_still_served() {
    let site = TestServer::new(Limits::default()).await;
    let mut client = site.client().await;
    let drained = tokio::spawn({
        let server = site.server.clone();
        async move { server.drain(Duration::from_secs(60)).await }
    });
    // lets the drain begin
    tokio::task::yield_now().await;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let got = until_closed(&mut client).await;
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
    assert!(drained.await.unwrap());
}

#[tokio::test]
async fn nobody_is_accepted_after_the_end() {
    let site = TestServer::new(Limits::default()).await;
    // the accept loop waits
    tokio::task::yield_now().await;
    let _client = std::net::TcpStream::connect(site.address).unwrap();
    assert!(site.server.drain(Duration::from_secs(60)).await);
    let accepted = site.server.counts().accepted();
    // an accept loop that is still there would get its turn now
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(site.server.counts().accepted(), accepted);
    assert_eq!(site.server.open(), 0);
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let site = TestServer::new(Limits::default()).await;
    let mut stuck = site.client().await;
    stuck
        .write_all(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
        .await
        .unwrap();
    // the request is under way once a second connection is served
    site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert!(!site.server.drain(Duration::from_millis(200)).await);
    assert_eq!(site.server.open(), 0);
}

#[tokio::test]
async fn the_control_socket_names_its_callers_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let router = axum::Router::new().route(
        "/",
        axum::routing::get(|axum::Extension(peer): axum::Extension<Peer>| async move {
            format!("{peer:?}")
        }),
    );
    let server = Server::new(router, Limits::default());
    let listener = UnixListener::bind(&path).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        async move { server.control(listener, stop).await }
    });
    let mut client = UnixStream::connect(&path).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut got = String::new();
    client.read_to_string(&mut got).await.unwrap();
    assert!(
        got.ends_with(&format!(
            "{:?}",
            Peer::Control {
                uid: nix::unistd::getuid().as_raw()
            }
        )),
        "{got}"
    );
    stop.cancel();
    task.await.unwrap();
}
