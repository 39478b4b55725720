//! Requests that are refused before they have a handler.

use std::time::Duration;

use espgate::http::server::Limits;
use tokio::io::AsyncWriteExt;

use crate::test_server::{TestServer, answer, until_closed};

#[tokio::test]
async fn malformed_requests_get_their_status_and_the_connection_ends() {
    let site = TestServer::new(Limits::default()).await;
    let post = |headers: &str, body: &str| format!("POST /length HTTP/1.1\r\n{headers}\r\n{body}");
    let long = |length| "a".repeat(length);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n".to_owned(), 400),
        (
            post(
                "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
                "abc",
            ),
            400,
        ),
        (
            post(
                "Host: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
                "abcd",
            ),
            400,
        ),
        (post("Host: a\r\nContent-Length: 3, 3\r\n", "abc"), 400),
        (post("Host: a\r\nContent-Length: abc\r\n", "abc"), 400),
        (post("Host: a\r\nContent-Length: -3\r\n", "abc"), 400),
        (post("Host: a\r\nTransfer-Encoding: gzip\r\n", ""), 400),
        (
            post(
                "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            "POST /length HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            400,
        ),
        (post("Host: a\r\nContent-Length: +3\r\n", "abc"), 400),
        (post("Host: a\r\nX: a\0b\r\n", ""), 400),
        (post("Host: a\r\nX: a\rb\r\n", ""), 400),
        (post("Host: u@a\r\n", ""), 400),
        (
            post(
                "Host: a\r\nTransfer-Encoding: chunked\r\n",
                "zz\r\nabc\r\n0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "Host: a\r\nTransfer-Encoding: chunked\r\n",
                "3\r\nabcdef\r\n0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "Host: a\r\nTransfer-Encoding: chunked\r\n",
                "ffffffffffffffffff\r\nabc",
            ),
            400,
        ),
        (post("Host: a\r\nBad Name: x\r\n", ""), 400),
        (post("Host: a\r\nX : y\r\n", ""), 400),
        (post("Host: a\r\nX: y\r\n folded\r\n", ""), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(9_000)),
            414,
        ),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(200_000)),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(20_000)),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                long(2_000_000)
            ),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "A: b\r\n".repeat(500)
            ),
            431,
        ),
    ] {
        let shown = &request[..request.len().min(90)];
        let got = site.exchange(request.as_bytes()).await;
        assert!(
            got.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown:?}: {got}"
        );
        assert_eq!(got.matches("HTTP/1.1").count(), 1, "{shown:?}: {got}");
    }
}

#[tokio::test]
async fn a_malformed_request_after_a_good_one_is_refused_too() {
    let site = TestServer::new(Limits::default()).await;
    let got = site
        .exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        .await;
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    assert!(got.contains("HTTP/1.1 400 "), "{got}");
}

#[tokio::test]
async fn what_is_unusual_but_right_is_served() {
    let site = TestServer::new(Limits::default()).await;
    for (request, expected) in [
        ("GET / HTTP/1.0\r\n\r\n", "ok"),
        ("GET / HTTP/1.1\nHost: a\nConnection: close\n\n", "ok"),
        (
            "\r\nGET / HTTP/1.1\r\nHost: [::1]:8443\r\nConnection: close\r\n\r\n",
            "ok",
        ),
        (
            "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: r\r\n\r\n",
            "5",
        ),
        (
            "POST /length HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "0",
        ),
        (
            "GET http://other/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "ok",
        ),
    ] {
        let got = site.exchange(request.as_bytes()).await;
        assert!(
            got.contains(" 200 OK\r\n") && got.ends_with(expected),
            "{request:?}: {got}"
        );
    }
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let site = TestServer::new(Limits::default()).await;
    let mut client = site.client().await;
    for length in [0, 1, 5_000, 300_000, 3_usize] {
        let head = format!("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        // in as many records as a device would use
        for part in head
            .as_bytes()
            .chunks(7)
            .chain(vec![b'x'; length].chunks(1024))
        {
            client.write_all(part).await.unwrap();
        }
        client.flush().await.unwrap();
        let got = answer(&mut client).await;
        assert!(
            got.ends_with(&format!("\r\n\r\n{length}")),
            "{length}: {got}"
        );
    }
    let twice = "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcdGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.write_all(twice.as_bytes()).await.unwrap();
    let got = until_closed(&mut client).await;
    assert!(
        got.contains("\r\n\r\n4HTTP/1.1 200 OK") && got.ends_with("ok"),
        "{got}"
    );
}

#[tokio::test]
async fn a_client_that_sends_a_refused_body_still_reads_the_status() {
    let site = TestServer::new(Limits::default()).await;
    let mut client = site.client().await;
    let head = "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..1024 {
        client.write_all(&[b'x'; 1024]).await.unwrap();
    }
    client.flush().await.unwrap();
    let got = answer(&mut client).await;
    assert!(got.starts_with("HTTP/1.1 403 "), "{got}");
    // the rest was dropped in full, so the connection goes on
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(answer(&mut client).await.ends_with("ok"));
}

#[tokio::test]
async fn a_client_that_sends_a_body_after_a_malformed_head_reads_the_status() {
    let site = TestServer::new(Limits::default()).await;
    for (version, length) in [("1.1", "abc"), ("1.1", "+1048576"), ("2.0", "1048576")] {
        let mut client = site.client().await;
        let head =
            format!("POST /length HTTP/{version}\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..1024 {
            client.write_all(&[b'x'; 1024]).await.unwrap();
        }
        client.flush().await.unwrap();
        let got = until_closed(&mut client).await;
        assert!(got.starts_with("HTTP/1.1 400 "), "{head:?}: {got}");
    }
    // counted when the connections are over
    assert!(site.server.drain(Duration::from_secs(60)).await);
    assert_eq!(site.server.counts().requests_malformed(), 3);
}

#[tokio::test]
async fn a_client_that_asks_first_is_not_told_to_send_what_is_refused() {
    let site = TestServer::new(Limits::default()).await;
    let got = site
        .exchange(b"POST /refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert!(got.starts_with("HTTP/1.1 403 "), "{got}");
}
