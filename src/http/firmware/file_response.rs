//! Responds with a stored file or a part of it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use crate::digest::Sha256;
use crate::http::error::{Error, Result};
use crate::http::range_requests::{self, RangeAnswer};
use crate::http::server::{Delivery, from_file, from_memory};
use crate::store::firmware::OpenedFile;

/// The ETag of a file.
pub(super) fn etag(digest: Sha256) -> String {
    format!("\"{}\"", digest.short(32))
}

/// Responds with a stored file or a part of it. `done` is called when the transfer
/// ends.
///
/// # Errors
/// None of its own; header values are all made here.
pub(super) fn answer(
    parts: &Parts,
    stored: OpenedFile,
    image: Option<Arc<Vec<u8>>>,
    kind: &'static str,
    file_name: &str,
    done: impl FnOnce(RangeAnswer, Delivery) + Send + 'static,
) -> Result<Response> {
    let etag = etag(stored.sha256);
    let decision = range_requests::decide(&parts.method, &parts.headers, stored.size, &etag);
    let slice = decision.slice(stored.size);
    let mut headers = HeaderMap::new();
    let mut set = |name, value: String| -> Result<()> {
        let value = HeaderValue::try_from(value).map_err(|error| Error::internal(&error))?;
        headers.insert(name, value);
        Ok(())
    };
    set(ETAG, etag)?;
    set(ACCEPT_RANGES, String::from("bytes"))?;
    set(CACHE_CONTROL, String::from("no-cache"))?;
    if let Some(range) = decision.content_range(stored.size) {
        set(CONTENT_RANGE, range)?;
    }
    if let Some((_, length)) = slice {
        set(CONTENT_TYPE, kind.to_owned())?;
        set(
            CONTENT_DISPOSITION,
            format!("attachment; filename={file_name}"),
        )?;
        set(CONTENT_LENGTH, length.to_string())?;
    } else if decision == RangeAnswer::Unsatisfiable {
        set(CONTENT_LENGTH, String::from("0"))?;
    }
    let body = match slice {
        Some((start, length)) if parts.method == Method::GET => {
            let done = move |outcome| done(decision, outcome);
            match image.and_then(|image| part_of(image, start, length)) {
                Some(part) => from_memory(part, done),
                None => from_file(stored.file, start, length, done),
            }
        }
        _ => {
            if decision == RangeAnswer::NotModified {
                done(decision, Delivery::Complete { sent: 0 });
            }
            Body::empty()
        }
    };
    Ok((decision.status(), headers, body).into_response())
}

/// Part of an image that stays in memory as long as the part does.
fn part_of(image: Arc<Vec<u8>>, start: u64, length: u64) -> Option<Bytes> {
    struct Shared(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let (start, end) = (
        usize::try_from(start).ok()?,
        usize::try_from(start.checked_add(length)?).ok()?,
    );
    let whole = Bytes::from_owner(Shared(image));
    (end <= whole.len()).then(|| whole.slice(start..end))
}
