//! Conditional and range requests (RFC 9110, sections 13 and 14), for one file
//! with a strong ETag: decided from method, headers, length and ETag alone.
//!
//! ESP-IDF's `esp_https_ota` resumes with `Range: bytes=N-` and takes a 200 for
//! a failure even for N = 0, so a range is honoured whenever it is one.

use http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{Method, StatusCode};

use crate::firmware::Part;

/// The response to a `GET` or `HEAD` of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RangeAnswer {
    /// The whole file.
    Full,
    /// The client already has this file.
    NotModified,
    /// The client requires another file.
    PreconditionFailed,
    /// The bytes from `first` to `last`, both included.
    Partial { first: u64, last: u64 },
    /// The range begins after the end of the file.
    Unsatisfiable,
}

impl RangeAnswer {
    /// The response's status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Full => StatusCode::OK,
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::Partial { .. } => StatusCode::PARTIAL_CONTENT,
            Self::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// The value of `Content-Range` for a file of `length` bytes, if the answer has one.
    pub fn content_range(self, length: u64) -> Option<String> {
        match self {
            Self::Partial { first, last } => Some(format!("bytes {first}-{last}/{length}")),
            Self::Unsatisfiable => Some(format!("bytes */{length}")),
            Self::Full | Self::NotModified | Self::PreconditionFailed => None,
        }
    }

    /// Offset and count of the bytes that a `GET` is answered with; `None` is no part of the file.
    pub fn slice(self, length: u64) -> Option<(u64, u64)> {
        match self {
            Self::Full => Some((0, length)),
            Self::Partial { first, last } => Some((first, last - first + 1)),
            Self::NotModified | Self::PreconditionFailed | Self::Unsatisfiable => None,
        }
    }
}

/// Decides about a file of `length` bytes whose strong ETag is `etag`, quotes included.
///
/// `Range` counts for `GET` only; several ranges, other units and what is malformed are
/// ignored, which makes the answer [`RangeAnswer::Full`].
pub fn decide(method: &Method, headers: &HeaderMap, length: u64, etag: &str) -> RangeAnswer {
    if headers.contains_key(IF_MATCH) && !any_matches(headers, IF_MATCH, etag, strong_eq) {
        return RangeAnswer::PreconditionFailed;
    }
    if any_matches(headers, IF_NONE_MATCH, etag, weak_eq) {
        return RangeAnswer::NotModified;
    }
    let range = single(headers, RANGE).and_then(Range::parse);
    let (Some(range), &Method::GET) = (range, method) else {
        return RangeAnswer::Full;
    };
    // a date never fits: no Last-Modified is given
    let same_file = !headers.contains_key(IF_RANGE)
        || single(headers, IF_RANGE).is_some_and(|tag| strong_eq(tag, etag));
    if same_file {
        range.within(length)
    } else {
        RangeAnswer::Full
    }
}

/// What of a file a request asks for, whatever the file is. One byte alone is how some
/// clients learn the length: it is a question like `HEAD`.
pub fn part(method: &Method, headers: &HeaderMap) -> Part {
    if *method != Method::GET || !headers.contains_key(RANGE) {
        return Part::Whole;
    }
    match single(headers, RANGE).and_then(Range::parse) {
        Some(Range::Between(0, 0)) => Part::Whole,
        Some(Range::From(0) | Range::Between(0, _)) => Part::First,
        _ => Part::Later,
    }
}

/// Whether a list of ETags has one that equals ours by `eq`; `*` stands for any.
fn any_matches(
    headers: &HeaderMap,
    name: HeaderName,
    etag: &str,
    eq: fn(&str, &str) -> bool,
) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        // our own ETags have no comma, so a foreign one that has may be cut
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || eq(tag, etag))
}

fn strong_eq(tag: &str, etag: &str) -> bool {
    tag == etag
}

fn weak_eq(tag: &str, etag: &str) -> bool {
    tag.strip_prefix("W/").unwrap_or(tag) == etag
}

/// A header that is there once, as text.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        _ => None,
    }
}

/// One requested byte range.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Range {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        match (first, last) {
            ("", count) => position(count).map(Self::Last),
            (first, "") => position(first).map(Self::From),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    fn within(self, length: u64) -> RangeAnswer {
        let (first, last) = match self {
            Self::From(first) => (first, u64::MAX),
            Self::Between(first, last) => (first, last),
            Self::Last(0) => return RangeAnswer::Unsatisfiable,
            Self::Last(count) => (length.saturating_sub(count), u64::MAX),
        };
        if first >= length {
            return RangeAnswer::Unsatisfiable;
        }
        let last = last.min(length - 1);
        RangeAnswer::Partial { first, last }
    }
}

/// A position; one with more digits than fit is as far behind the end as any.
fn position(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const ETAG: &str = "\"1b43c5e7\"";

    fn answer(method: Method, headers: &[(HeaderName, &str)], length: u64) -> RangeAnswer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        decide(&method, &map, length, ETAG)
    }

    fn ranged(range: &str) -> RangeAnswer {
        answer(Method::GET, &[(RANGE, range)], 1000)
    }

    fn partial(first: u64, last: u64) -> RangeAnswer {
        RangeAnswer::Partial { first, last }
    }

    #[test]
    fn one_range_is_cut_to_the_file() {
        for (range, expected) in [
            ("bytes=0-", partial(0, 999)),
            ("bytes=0-0", partial(0, 0)),
            ("bytes=999-", partial(999, 999)),
            ("bytes=500-1000", partial(500, 999)),
            ("bytes=500-99999999999999999999999", partial(500, 999)),
            ("bytes=-1", partial(999, 999)),
            ("bytes=-1000", partial(0, 999)),
            ("bytes=-99999999999999999999999", partial(0, 999)),
            ("BYTES=1-2", partial(1, 2)),
            ("bytes= 1-2", partial(1, 2)),
            ("bytes=1000-", RangeAnswer::Unsatisfiable),
            ("bytes=1000-1000", RangeAnswer::Unsatisfiable),
            ("bytes=99999999999999999999999-", RangeAnswer::Unsatisfiable),
            ("bytes=-0", RangeAnswer::Unsatisfiable),
        ] {
            assert_eq!(ranged(range), expected, "{range}");
        }
    }

    #[test]
    fn what_is_not_one_byte_range_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=2-1",
            "bytes=0-0,2-3",
            "bytes=1-2,",
            "bytes=--1",
            "bytes=1-2-3",
            "items=0-1",
            "bytes =1-2",
            "bytes=1 - 2",
            "bytes=0x1-",
        ] {
            assert_eq!(ranged(range), RangeAnswer::Full, "{range}");
        }
        let twice = [(RANGE, "bytes=0-1"), (RANGE, "bytes=2-3")];
        assert_eq!(answer(Method::GET, &twice, 1000), RangeAnswer::Full);
    }

    #[test]
    fn nothing_of_an_empty_file_can_be_had_by_range() {
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            let found = answer(Method::GET, &[(RANGE, range)], 0);
            assert_eq!(found, RangeAnswer::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn a_head_ignores_ranges_and_honours_conditions() {
        let range = (RANGE, "bytes=0-1");
        assert_eq!(answer(Method::HEAD, &[range], 1000), RangeAnswer::Full);
        let known = (IF_NONE_MATCH, ETAG);
        assert_eq!(
            answer(Method::HEAD, &[known], 1000),
            RangeAnswer::NotModified
        );
    }

    #[test]
    fn a_known_etag_is_not_sent_again() {
        for (tags, expected) in [
            (ETAG, RangeAnswer::NotModified),
            ("W/\"1b43c5e7\"", RangeAnswer::NotModified),
            ("\"x\", \"1b43c5e7\"", RangeAnswer::NotModified),
            ("*", RangeAnswer::NotModified),
            ("\"x\"", RangeAnswer::Full),
            ("1b43c5e7", RangeAnswer::Full),
            ("", RangeAnswer::Full),
        ] {
            let found = answer(Method::GET, &[(IF_NONE_MATCH, tags)], 1000);
            assert_eq!(found, expected, "{tags}");
        }
        let both = [(IF_NONE_MATCH, ETAG), (RANGE, "bytes=5000-")];
        assert_eq!(answer(Method::GET, &both, 1000), RangeAnswer::NotModified);
    }

    #[test]
    fn a_range_of_another_build_becomes_the_whole_file() {
        for (tag, expected) in [
            (ETAG, partial(1, 999)),
            ("\"x\"", RangeAnswer::Full),
            ("W/\"1b43c5e7\"", RangeAnswer::Full),
            ("Sat, 29 Oct 1994 19:43:31 GMT", RangeAnswer::Full),
        ] {
            let headers = [(IF_RANGE, tag), (RANGE, "bytes=1-")];
            assert_eq!(answer(Method::GET, &headers, 1000), expected, "{tag}");
        }
        let behind = [(IF_RANGE, "\"x\""), (RANGE, "bytes=1000-")];
        assert_eq!(answer(Method::GET, &behind, 1000), RangeAnswer::Full);
    }

    #[test]
    fn a_precondition_is_compared_strongly() {
        for (tags, expected) in [
            (ETAG, RangeAnswer::Full),
            ("*", RangeAnswer::Full),
            ("\"x\"", RangeAnswer::PreconditionFailed),
            ("W/\"1b43c5e7\"", RangeAnswer::PreconditionFailed),
        ] {
            let found = answer(Method::GET, &[(IF_MATCH, tags)], 1000);
            assert_eq!(found, expected, "{tags}");
        }
    }

    #[test]
    fn an_answer_knows_its_headers_and_its_bytes() {
        assert_eq!(partial(5, 9).content_range(10).unwrap(), "bytes 5-9/10");
        assert_eq!(partial(5, 9).slice(10), Some((5, 5)));
        let unsatisfiable = RangeAnswer::Unsatisfiable;
        assert_eq!(unsatisfiable.content_range(10).unwrap(), "bytes */10");
        assert_eq!(unsatisfiable.slice(10), None);
        assert_eq!(RangeAnswer::Full.slice(10), Some((0, 10)));
        assert_eq!(RangeAnswer::Full.content_range(10), None);
    }

    proptest! {
        #[test]
        fn any_range_stays_within_the_file(range in "(bytes=)?[0-9,-]{0,24}|.*", length: u64) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(range.as_bytes()) {
                headers.insert(RANGE, value);
            }
            let found = decide(&Method::GET, &headers, length, ETAG);
            if let Some((offset, count)) = found.slice(length) {
                prop_assert!(offset.checked_add(count).is_some_and(|end| end <= length));
                prop_assert!(count > 0 || found == RangeAnswer::Full);
            }
        }

        #[test]
        fn ranges_one_after_the_other_make_the_file(length in 1_u64..5000, step in 1_u64..700) {
            let mut next = 0;
            while next < length {
                let range = format!("bytes={next}-{}", next + step - 1);
                let found = answer(Method::GET, &[(RANGE, &range)], length);
                let (offset, count) = found.slice(length).unwrap();
                prop_assert_eq!(offset, next);
                next += count;
            }
            prop_assert_eq!(next, length);
            let behind = format!("bytes={next}-");
            let found = answer(Method::GET, &[(RANGE, &behind)], length);
            prop_assert_eq!(found, RangeAnswer::Unsatisfiable);
        }
    }
}
