//! Finds the end of a request's head and refuses what hyper would let through.
//!
//! hyper refuses most malformed heads itself. Checked here is what its service
//! no longer sees: hyper merges equal Content-Length lines and drops
//! Content-Length beside Transfer-Encoding (RFC 9112 section 6.3 allows 400 for
//! both), takes other codings before `chunked`, and has one limit for the
//! request target and the headers.

use super::Limits;

/// Why a request is refused before it has a handler.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    #[error("Malformed request: {0}")]
    Malformed(String),
    #[error("Request target too long")]
    UriTooLong,
    #[error("Request headers too large")]
    HeadTooLarge,
    #[error("Request timed out")]
    TooSlow,
}

impl RequestError {
    pub(super) fn malformed(why: impl Into<String>) -> Self {
        Self::Malformed(why.into())
    }
}

/// How the body's end is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    Length(u64),
    /// By the body itself; the connection ends with it.
    Chunked,
}

/// hyper's limit too.
const MAX_HEADERS: usize = 100;

/// Looks for a whole head at the start of `bytes`: `None` if more is needed,
/// else its length and what it says about the body.
///
/// # Errors
/// [`RequestError`].
pub fn parse(bytes: &[u8], limits: &Limits) -> Option<Result<(usize, Framing), RequestError>> {
    let line = bytes.trim_ascii_start().split(|byte| *byte == b'\n').next();
    // method, two spaces and version are short
    if line.is_some_and(|line| line.len() > limits.uri_bytes + 32) {
        return Some(Err(RequestError::UriTooLong));
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let outcome = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= limits.head_bytes => {
            framing(request.headers).map(|framing| (length, framing))
        }
        Ok(httparse::Status::Partial) if bytes.len() <= limits.head_bytes => return None,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(RequestError::HeadTooLarge),
        Err(error) => Err(RequestError::malformed(error.to_string())),
    };
    Some(outcome)
}

fn framing(headers: &[httparse::Header<'_>]) -> Result<Framing, RequestError> {
    let values = |name| {
        let lines = headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name));
        lines.map(|header| header.value).collect::<Vec<_>>()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Framing::Length(0)),
        ([length], []) => std::str::from_utf8(length)
            .ok()
            .and_then(|length| length.parse().ok())
            .map(Framing::Length)
            .ok_or_else(|| RequestError::malformed("Content-Length is not a number")),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        ([], _) => Err(RequestError::malformed("Transfer-Encoding is not chunked")),
        (_, []) => Err(RequestError::malformed("more than one Content-Length")),
        _ => Err(RequestError::malformed(
            "Content-Length beside Transfer-Encoding",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(head: &str) -> Option<Result<(usize, Framing), RequestError>> {
        parse(head.as_bytes(), &Limits::default())
    }

    #[test]
    fn heads_are_taken_or_refused_by_their_framing() {
        let refused = |why: &str| Some(Err(RequestError::malformed(why)));
        let length = |bytes| Some(Ok(Framing::Length(bytes)));
        let two_lengths = refused("more than one Content-Length");
        let no_number = refused("Content-Length is not a number");
        let both = refused("Content-Length beside Transfer-Encoding");
        let no_chunks = refused("Transfer-Encoding is not chunked");
        for (headers, expected) in [
            ("", length(0)),
            ("cOnTeNt-LeNgTh:  12\r\n", length(12)),
            ("Transfer-Encoding: Chunked\r\n", Some(Ok(Framing::Chunked))),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                two_lengths.clone(),
            ),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", two_lengths),
            ("Content-Length: 5, 5\r\n", no_number.clone()),
            ("Content-Length: -1\r\n", no_number.clone()),
            ("Content-Length:\r\n", no_number.clone()),
            ("Content-Length: 99999999999999999999\r\n", no_number),
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                both.clone(),
            ),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", both),
            ("Transfer-Encoding: gzip, chunked\r\n", no_chunks.clone()),
            ("Transfer-Encoding: identity\r\n", no_chunks.clone()),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                no_chunks,
            ),
        ] {
            let head = format!("GET / HTTP/1.1\r\n{headers}\r\n");
            let expected = expected.map(|e| e.map(|framing| (head.len(), framing)));
            assert_eq!(outcome(&head), expected, "{headers:?}");
        }
    }

    #[test]
    fn long_targets_and_long_heads_are_told_apart() {
        let limits = Limits::default();
        let target = "a".repeat(limits.uri_bytes + 100);
        let header = "b".repeat(limits.head_bytes);
        for (head, expected) in [
            (
                format!("GET /{target} HTTP/1.1\r\n\r\n"),
                RequestError::UriTooLong,
            ),
            (format!("\r\nGET /{target}"), RequestError::UriTooLong),
            (
                format!("GET / HTTP/1.1\r\nX: {header}\r\n\r\n"),
                RequestError::HeadTooLarge,
            ),
            (
                format!("GET / HTTP/1.1\r\nX: {header}"),
                RequestError::HeadTooLarge,
            ),
        ] {
            assert_eq!(outcome(&head), Some(Err(expected)), "{}", head.len());
        }
    }

    #[test]
    fn a_head_ends_at_its_empty_line_and_not_before() {
        let head = "\r\nGET / HTTP/1.1\nHost: a\r\n\n";
        let whole = Some(Ok((head.len(), Framing::Length(0))));
        assert_eq!(outcome(&format!("{head}rest")), whole);
        for cut in 0..head.len() {
            assert_eq!(outcome(&head[..cut]), None, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn a_head_is_never_longer_than_its_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(Ok((length, _))) = parse(&bytes, &Limits::default()) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
