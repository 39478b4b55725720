//! Heads of HTTP requests, and what is taken from them.

use espgate::http::query::{Query, decode};
use espgate::http::range_requests::decide;
use espgate::http::server::Limits;
use espgate::http::server::request_head::{Framing, parse};
use http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, Method};

/// What a client sends first. The first byte says where it is cut.
pub fn head(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let limits = Limits {
        head_bytes: 512,
        uri_bytes: 128,
        ..Limits::default()
    };
    let whole = parse(bytes, &limits);
    let part = bytes.get(..usize::from(*cut)).unwrap_or(bytes);
    match parse(part, &limits) {
        None => assert!(
            part.len() <= limits.head_bytes,
            "waits for more than the limit"
        ),
        Some(Ok(found)) => assert_eq!(whole, Some(Ok(found)), "changed by what follows"),
        Some(Err(_)) => assert!(matches!(whole, Some(Err(_))), "taken after all: {whole:?}"),
    }
    let Some(Ok((length, framing))) = whole else {
        return;
    };
    let head = bytes.get(..length).expect("a head is part of what came");
    assert!(head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n"));
    assert!(length <= limits.head_bytes);
    // one way alone to tell where the body ends
    let lower = head.to_ascii_lowercase();
    let lines = |name: &str| {
        let lines = lower.split(|byte| *byte == b'\n').skip(1);
        lines
            .filter(|line| line.starts_with(name.as_bytes()))
            .count()
    };
    let (lengths, codings) = (lines("content-length:"), lines("transfer-encoding:"));
    assert!(
        lengths + codings <= 1,
        "{lengths} lengths, {codings} codings"
    );
    assert_eq!(framing == Framing::Chunked, codings == 1);
}

/// A query string, a path segment, and conditions of a range request, line by line.
pub fn query(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let decoded = decode(&text);
    // a byte that is no text becomes one of three
    assert!(decoded.len() <= 3 * text.len());
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(decode(&encoded), text);
    let query = Query::parse(&text);
    for name in ["chip", "firmware_version", "device_key", "v", ""] {
        assert_ne!(query.get(name), Some(""));
    }
    let again = format!("v={encoded}&{text}");
    let value = Some(&*text).filter(|text| !text.is_empty());
    assert_eq!(Query::parse(&again).get("v"), value.or(query.get("v")));

    let names = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, RANGE];
    let lines = bytes.split(|byte| *byte == b'\n');
    let headers: HeaderMap = lines
        .zip(names)
        .filter_map(|(line, name): (&[u8], HeaderName)| {
            Some((name, HeaderValue::from_bytes(line).ok()?))
        })
        .collect();
    for length in [0, 1, 1000, u64::MAX] {
        let answer = decide(&Method::GET, &headers, length, "\"abc\"");
        if let Some((start, count)) = answer.slice(length) {
            assert!(start.checked_add(count).is_some_and(|end| end <= length));
            assert!(answer.status() != 206 || count > 0);
        }
        let whole = decide(&Method::HEAD, &headers, length, "\"abc\"");
        assert_ne!(whole.status(), 206);
    }
}
