//! Clients that are slow, silent or gone cost a bounded time.

use espgate::http::server::{Delivery, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::test_server::{BIG, TestServer, answer, impatient, until_closed};

#[tokio::test]
async fn a_head_that_does_not_end_gets_408() {
    let site = TestServer::new(impatient()).await;
    let got = site.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
    assert!(got.starts_with("HTTP/1.1 408 "), "{got}");
}

#[tokio::test]
async fn a_silent_client_is_let_go_without_a_word() {
    let site = TestServer::new(impatient()).await;
    assert_eq!(site.exchange(b"").await, "");
    let mut client = site.client().await;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(answer(&mut client).await.ends_with("ok"));
    assert_eq!(until_closed(&mut client).await, "");
}

#[tokio::test]
async fn a_body_that_stops_coming_gets_408() {
    let site = TestServer::new(impatient()).await;
    for framing in [
        "Content-Length: 10\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nab",
    ] {
        let request = format!("POST /length HTTP/1.1\r\nHost: a\r\n{framing}");
        let got = site.exchange(request.as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 408 "), "{framing}: {got}");
    }
}

#[tokio::test]
async fn a_slow_handler_does_not_count_as_a_slow_client() {
    let site = TestServer::new(impatient()).await;
    for framing in [
        "Content-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let request = format!("POST /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}");
        let got = site.exchange(request.as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 200 "), "{framing}: {got}");
    }
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_dropped() {
    let mut site = TestServer::new(impatient()).await;
    let mut client = site.client().await;
    client
        .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    client.read_u8().await.unwrap();
    let ended = site.deliveries.recv().await.unwrap();
    assert!(
        matches!(ended, Delivery::BrokenOff { sent } if sent < BIG as u64),
        "{ended:?}"
    );
    assert!(
        client.read_to_end(&mut Vec::new()).await.is_err(),
        "cut, not ended"
    );
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_is_noticed() {
    let mut site = TestServer::new(Limits::default()).await;
    let mut client = site.client().await;
    client
        .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    client.read_exact(&mut [0; 4096]).await.unwrap();
    drop(client);
    let ended = site.deliveries.recv().await.unwrap();
    assert!(matches!(ended, Delivery::BrokenOff { .. }), "{ended:?}");
}

#[tokio::test]
async fn a_hundred_silent_connections_do_not_stop_a_good_client() {
    let site = TestServer::new(Limits::default()).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(site.address).await.unwrap());
    }
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(site.client().await);
    }
    let got = site
        .exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert!(got.ends_with("ok"), "{got}");
}

#[tokio::test]
async fn slots_taken_by_silent_clients_come_back() {
    let site = TestServer::new(Limits {
        connections: 4,
        connections_per_address: 4,
        handshake: std::time::Duration::from_millis(300),
        ..impatient()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(site.address).await.unwrap());
    }
    let got = site
        .exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert!(got.ends_with("ok"), "{got}");
}
