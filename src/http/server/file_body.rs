//! Response bodies from files and memory, and whether they were sent completely.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

/// Read from a file at once; one block is read ahead while one is sent. All
/// connections together hold two each.
const BLOCK: u64 = 64 * 1024;
/// Handed on at once from memory.
const SLICE: usize = 64 * 1024;

/// How a response ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// All of it was handed to the connection.
    Complete {
        /// How many bytes that were.
        sent: u64,
    },
    /// The client left, or reading failed, after this many bytes were handed on.
    BrokenOff {
        /// Bytes handed to the connection; the kernel may hold some of them.
        sent: u64,
    },
}

/// `length` bytes of `file` from `start`. The file may be removed meanwhile.
/// `done` is called once, when the answer ends.
pub fn from_file(
    file: File,
    start: u64,
    length: u64,
    done: impl FnOnce(Delivery) + Send + 'static,
) -> Body {
    Body::new(FileBody {
        file: Arc::new(file),
        at: start,
        unread: length,
        next: None,
        report: Report::new(length, done),
    })
}

/// `bytes`, which are shared, not copied. `done` is called once, when the
/// answer ends.
pub fn from_memory(bytes: Bytes, done: impl FnOnce(Delivery) + Send + 'static) -> Body {
    let report = Report::new(bytes.len() as u64, done);
    Body::new(MemoryBody { bytes, report })
}

/// Counts what was handed on; says how it ended when dropped.
struct Report {
    sent: u64,
    length: u64,
    done: Option<Box<dyn FnOnce(Delivery) + Send>>,
}

impl Report {
    fn new(length: u64, done: impl FnOnce(Delivery) + Send + 'static) -> Self {
        Self {
            sent: 0,
            length,
            done: Some(Box::new(done)),
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let Some(done) = self.done.take() else { return };
        done(if self.sent == self.length {
            Delivery::Complete { sent: self.sent }
        } else {
            Delivery::BrokenOff { sent: self.sent }
        });
    }
}

struct FileBody {
    file: Arc<File>,
    at: u64,
    unread: u64,
    next: Option<JoinHandle<io::Result<Bytes>>>,
    report: Report,
}

impl FileBody {
    /// Begins to read the next block, if there is one.
    fn read_ahead(&mut self) {
        let length = self.unread.min(BLOCK);
        let Some(size) = usize::try_from(length).ok().filter(|size| *size > 0) else {
            return;
        };
        let (file, at) = (Arc::clone(&self.file), self.at);
        self.at += length;
        self.unread -= length;
        self.next = Some(tokio::task::spawn_blocking(move || {
            let mut block = vec![0; size];
            file.read_exact_at(&mut block, at)?;
            Ok(Bytes::from(block))
        }));
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = &mut *self;
        if body.next.is_none() {
            body.read_ahead();
        }
        let Some(next) = &mut body.next else {
            return Poll::Ready(None);
        };
        let block = ready!(Pin::new(next).poll(cx)).map_err(io::Error::other)??;
        body.next = None;
        body.read_ahead();
        body.report.sent += block.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(block))))
    }

    fn is_end_stream(&self) -> bool {
        self.report.sent == self.report.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.report.length - self.report.sent)
    }
}

struct MemoryBody {
    bytes: Bytes,
    report: Report,
}

impl http_body::Body for MemoryBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.bytes.len().min(SLICE);
        let slice = self.bytes.split_to(length);
        self.report.sent += length as u64;
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;

    use http_body_util::BodyExt;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn sample() -> Vec<u8> {
        (0..700_000_u32)
            .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
            .collect()
    }

    #[tokio::test]
    async fn a_range_of_a_file_comes_out_as_it_is_and_is_reported_complete() {
        let bytes = sample();
        for (start, length) in [
            (0, 700_000),
            (1, 1),
            (262_143, 262_146),
            (699_999, 1),
            (5, 0),
        ] {
            let (told, outcome) = mpsc::channel();
            let body = from_file(file(&bytes), start, length, move |d| told.send(d).unwrap());
            let got = body.collect().await.unwrap().to_bytes();
            let from = usize::try_from(start).unwrap();
            let to = usize::try_from(start + length).unwrap();
            assert!(got == bytes[from..to], "{start} {length}");
            assert_eq!(outcome.recv().unwrap(), Delivery::Complete { sent: length });
        }
    }

    #[tokio::test]
    async fn who_leaves_early_is_reported_broken_off() {
        let (told, outcome) = mpsc::channel();
        let mut body = from_file(file(&sample()), 0, 700_000, move |d| told.send(d).unwrap());
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(outcome.recv().unwrap(), Delivery::BrokenOff { sent: BLOCK });
    }

    #[tokio::test]
    async fn a_file_that_is_shorter_than_promised_is_an_error_not_a_short_answer() {
        let body = from_file(file(b"abc"), 0, 10, |_| {});
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn memory_is_shared_and_reported() {
        let (told, outcome) = mpsc::channel();
        let bytes = Bytes::from(sample());
        let body = from_memory(bytes.clone(), move |d| told.send(d).unwrap());
        assert!(body.collect().await.unwrap().to_bytes() == bytes);
        let sent = bytes.len() as u64;
        assert_eq!(outcome.recv().unwrap(), Delivery::Complete { sent });
    }
}
