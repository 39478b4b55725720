//! Where a request's head ends, and whether it may go on to the HTTP library.
//!
//! The library merges two equal Content-Length lines, drops Content-Length
//! beside Transfer-Encoding, and does not look at Host (RFC 9112 sections 3.2,
//! 6.1 and 6.3 want 400 for all of these), so it is looked at here first.

use std::net::Ipv6Addr;

use super::Limits;

/// What a request is refused for before it is a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Malformed(&'static str),
    UriTooLong,
    HeadTooLarge,
    TooSlow,
}

/// How the body's end is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    Length(u64),
    /// By the body itself; the connection ends with it.
    Chunked,
}

/// Looks for a whole head at the start of `bytes`: `None` if more is needed,
/// else its length and what it says about the body.
pub(super) fn look(bytes: &[u8], limits: &Limits) -> Option<Result<(usize, Framing), Fault>> {
    let start = bytes
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count();
    let (_, head) = bytes.split_at_checked(start)?;
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or(head);
    // method, two spaces and version are short
    if first.len() > limits.uri_bytes + 32 {
        return Some(Err(Fault::UriTooLong));
    }
    let Some(length) = end(head) else {
        return (bytes.len() > limits.head_bytes).then_some(Err(Fault::HeadTooLarge));
    };
    if start + length > limits.head_bytes {
        return Some(Err(Fault::HeadTooLarge));
    }
    let framing = head.get(..length).map_or(Err(Fault::HeadTooLarge), check);
    Some(framing.map(|framing| (start + length, framing)))
}

/// Length of a head with the empty line that ends it.
fn end(head: &[u8]) -> Option<usize> {
    head.iter().enumerate().find_map(|(at, byte)| {
        let rest = head.get(at + 1..)?;
        match rest {
            _ if *byte != b'\n' => None,
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        }
    })
}

fn check(head: &[u8]) -> Result<Framing, Fault> {
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request = lines.next().unwrap_or_default();
    let is_old = request.ends_with(b"HTTP/1.0");
    let (mut hosts, mut lengths, mut length, mut codings) = (0_u32, 0_u32, 0_u64, 0_u32);
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(Fault::Malformed("a header line has no colon"));
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            if !is_host(value) {
                return Err(Fault::Malformed("the Host header is malformed"));
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            lengths += 1;
            length = decimal(value).ok_or(Fault::Malformed("Content-Length is not a number"))?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Malformed(
                    "only chunked transfer coding is understood",
                ));
            }
        }
    }
    match (hosts, lengths, codings) {
        (2.., _, _) => Err(Fault::Malformed("more than one Host header")),
        (0, _, _) if !is_old => Err(Fault::Malformed("the Host header is missing")),
        (_, 2.., _) => Err(Fault::Malformed("more than one Content-Length")),
        (_, _, 2..) => Err(Fault::Malformed("more than one Transfer-Encoding")),
        (_, 1, 1) => Err(Fault::Malformed("Content-Length beside Transfer-Encoding")),
        (_, _, 1) if is_old => Err(Fault::Malformed("Transfer-Encoding in HTTP/1.0")),
        (_, _, 1) => Ok(Framing::Chunked),
        _ => Ok(Framing::Length(length)),
    }
}

/// `1*DIGIT`, as Content-Length is; no sign, no list.
fn decimal(value: &[u8]) -> Option<u64> {
    let all_digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()?
        .parse()
        .ok()
        .filter(|_| all_digits)
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2), a name or address that can exist.
fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let (host_is_good, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        (
            !host.is_empty() && host.len() <= 255 && host.bytes().all(is_good),
            port,
        )
    };
    let port_is_good = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.is_empty()
                || digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
    };
    host_is_good && port_is_good
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(head: &str) -> Option<Result<(usize, Framing), Fault>> {
        look(head.as_bytes(), &Limits::default())
    }

    #[test]
    fn heads_are_taken_or_refused_by_host_and_framing() {
        let refused = |why| Some(Err(Fault::Malformed(why)));
        let length = |bytes| Some(Ok(Framing::Length(bytes)));
        for (headers, expected) in [
            ("Host: a\r\n", length(0)),
            ("hOsT: a:8443\r\nContent-Length: 12\r\n", length(12)),
            ("Host: [::1]:8443\r\n", length(0)),
            ("Host: a:\r\n", length(0)),
            (
                "Host: a\r\nTransfer-Encoding: Chunked\r\n",
                Some(Ok(Framing::Chunked)),
            ),
            ("", refused("the Host header is missing")),
            (
                "Host: a\r\nHost: a\r\n",
                refused("more than one Host header"),
            ),
            ("Host:\r\n", refused("the Host header is malformed")),
            ("Host: a b\r\n", refused("the Host header is malformed")),
            ("Host: a/b\r\n", refused("the Host header is malformed")),
            ("Host: u@a\r\n", refused("the Host header is malformed")),
            ("Host: a,b\r\n", refused("the Host header is malformed")),
            ("Host: a:x\r\n", refused("the Host header is malformed")),
            ("Host: a:70000\r\n", refused("the Host header is malformed")),
            ("Host: [::1\r\n", refused("the Host header is malformed")),
            (
                "Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
                refused("more than one Content-Length"),
            ),
            (
                "Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
                refused("more than one Content-Length"),
            ),
            (
                "Host: a\r\nContent-Length: 5, 5\r\n",
                refused("Content-Length is not a number"),
            ),
            (
                "Host: a\r\nContent-Length: +5\r\n",
                refused("Content-Length is not a number"),
            ),
            (
                "Host: a\r\nContent-Length: -1\r\n",
                refused("Content-Length is not a number"),
            ),
            (
                "Host: a\r\nContent-Length:\r\n",
                refused("Content-Length is not a number"),
            ),
            (
                "Host: a\r\nContent-Length: 99999999999999999999\r\n",
                refused("Content-Length is not a number"),
            ),
            (
                "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                refused("Content-Length beside Transfer-Encoding"),
            ),
            (
                "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                refused("Content-Length beside Transfer-Encoding"),
            ),
            (
                "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
                refused("only chunked transfer coding is understood"),
            ),
            (
                "Host: a\r\nTransfer-Encoding: identity\r\n",
                refused("only chunked transfer coding is understood"),
            ),
            (
                "Host: a\r\nno colon\r\n",
                refused("a header line has no colon"),
            ),
        ] {
            let head = format!("GET / HTTP/1.1\r\n{headers}\r\n");
            let found = outcome(&head);
            let expected = expected.map(|e| e.map(|framing| (head.len(), framing)));
            assert_eq!(found, expected, "{headers:?}");
        }
    }

    #[test]
    fn http_1_0_needs_no_host_and_knows_no_chunks() {
        assert!(matches!(outcome("GET / HTTP/1.0\r\n\r\n"), Some(Ok(_))));
        assert!(matches!(
            outcome("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Some(Err(Fault::Malformed(_)))
        ));
    }

    #[test]
    fn long_targets_and_long_heads_are_told_apart() {
        let limits = Limits::default();
        let target = "a".repeat(limits.uri_bytes + 100);
        let header = "b".repeat(limits.head_bytes);
        for (head, expected) in [
            (
                format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n"),
                Fault::UriTooLong,
            ),
            (format!("GET /{target}"), Fault::UriTooLong),
            (
                format!("GET / HTTP/1.1\r\nHost: a\r\nX: {header}\r\n\r\n"),
                Fault::HeadTooLarge,
            ),
            (
                format!("GET / HTTP/1.1\r\nHost: a\r\nX: {header}"),
                Fault::HeadTooLarge,
            ),
        ] {
            assert_eq!(outcome(&head), Some(Err(expected)), "{}", head.len());
        }
    }

    #[test]
    fn a_head_ends_at_its_empty_line_and_not_before() {
        let head = "\r\nGET / HTTP/1.1\nHost: a\r\n\n";
        assert_eq!(
            outcome(&format!("{head}rest")),
            Some(Ok((head.len(), Framing::Length(0))))
        );
        for cut in 0..head.len() {
            assert_eq!(outcome(&head[..cut]), None, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn a_head_is_never_longer_than_its_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(Ok((length, _))) = look(&bytes, &Limits::default()) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
