//! A list as JSON that is made while it is sent, `{"devices":[..],"next_cursor":null}`: of
//! a long one, no more than a piece is in memory.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::error::{Error, Result};
use crate::journal::{Event, chain};

/// From so many bytes on a piece is sent.
const PIECE: usize = 64 * 1024;

/// Entries that are sent together.
#[derive(Debug)]
pub struct Piece {
    bytes: Vec<u8>,
    /// Whether no entry was added to the list so far.
    is_first: bool,
}

impl Piece {
    /// Adds an entry.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn push(&mut self, entry: &impl Serialize) -> Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.bytes.push(b',');
        }
        serde_json::to_writer(&mut self.bytes, entry).map_err(|error| Error::internal(&error))
    }

    /// Whether it is to be sent before more is added.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= PIECE
    }
}

/// Answers with the list `name`. `fill` adds entries until the piece is full, off the async
/// threads, and says whether there may be more; it is asked for the next piece when this one
/// is sent. A list that is one piece has a `Content-Length`.
///
/// # Errors
/// What `fill` says for the first piece; after that the answer is cut off.
pub async fn answer(
    name: &'static str,
    next_cursor: Option<&str>,
    fill: impl FnMut(&mut Piece) -> Result<bool> + Send + 'static,
) -> Result<Response> {
    let first = Piece {
        bytes: format!("{{\"{name}\":[").into_bytes(),
        is_first: true,
    };
    let end = serde_json::to_string(&next_cursor).map_err(|error| Error::internal(&error))?;
    let list = List {
        fill,
        end: format!("],\"next_cursor\":{end}}}"),
    };
    let body = match list.next(first).await? {
        (bytes, None) => Body::from(bytes),
        (bytes, rest) => {
            let first = stream::iter([Ok(bytes)]);
            Body::from_stream(first.chain(stream::unfold(rest, following)))
        }
    };
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

struct List<F> {
    fill: F,
    end: String,
}

/// What is left of a list, and the piece that it goes on with.
type Rest<F> = Option<(List<F>, Piece)>;

impl<F: FnMut(&mut Piece) -> Result<bool> + Send + 'static> List<F> {
    /// Fills a piece: its bytes, and what is left if that is not all.
    async fn next(mut self, mut piece: Piece) -> Result<(Bytes, Rest<F>)> {
        tokio::task::spawn_blocking(move || {
            let is_more = (self.fill)(&mut piece)?;
            let mut bytes = piece.bytes;
            if !is_more {
                bytes.extend_from_slice(self.end.as_bytes());
                return Ok((bytes.into(), None));
            }
            let next = Piece {
                bytes: Vec::with_capacity(bytes.capacity()),
                is_first: piece.is_first,
            };
            Ok((bytes.into(), Some((self, next))))
        })
        .await?
    }
}

/// The piece that is made when it is asked for, and what is left then.
async fn following<F>(rest: Rest<F>) -> Option<(Result<Bytes>, Rest<F>)>
where
    F: FnMut(&mut Piece) -> Result<bool> + Send + 'static,
{
    let (list, piece) = rest?;
    match list.next(piece).await {
        Ok((bytes, rest)) => Some((Ok(bytes), rest)),
        Err(error) => {
            let entry = Event::RequestFailed.entry();
            entry.say(format_args!("list cut off: {}", chain(&error)));
            Some((Err(error), None))
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};

    use super::*;

    async fn list(count: u64, fails_at: u64) -> (Option<u64>, Option<Value>) {
        let mut next = 0;
        let fill = move |piece: &mut Piece| {
            while next < count {
                if piece.is_full() {
                    return Ok(true);
                }
                if next == fails_at {
                    return Err(Error::NoRoom);
                }
                piece.push(&json!({ "n": next, "text": "x".repeat(100) }))?;
                next += 1;
            }
            Ok(false)
        };
        let answer = answer("entries", Some("9"), fill).await.unwrap();
        let body = answer.into_body();
        let size = http_body::Body::size_hint(&body).exact();
        let whole = body.collect().await.ok();
        let whole = whole.map(|whole| serde_json::from_slice(&whole.to_bytes()).unwrap());
        (size, whole)
    }

    #[tokio::test]
    async fn a_list_has_all_entries_once_however_long_it_is() {
        for count in [0, 1, 2, 500, 5000] {
            let (size, found) = list(count, u64::MAX).await;
            let found = found.unwrap();
            assert_eq!(found["next_cursor"], "9");
            let numbers = found["entries"].as_array().unwrap().iter();
            let numbers: Vec<u64> = numbers.map(|entry| entry["n"].as_u64().unwrap()).collect();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>());
            assert_eq!(
                size.is_some(),
                count < 501,
                "{count}: one piece has a length"
            );
        }
    }

    #[tokio::test]
    async fn a_list_that_fails_half_way_is_not_taken_for_whole() {
        assert_eq!(list(5000, 4000).await, (None, None));
    }
}
