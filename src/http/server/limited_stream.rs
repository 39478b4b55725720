//! A connection's bytes as hyper sees them: one whole, checked head at a time,
//! with time limits for head, body and writing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::time::{Instant, timeout};

use super::Limits;
use super::deliveries::LOOK_SOON;
use super::request_head::{self, Framing, RequestError};
use super::request_state::RequestState;
use super::transfer_rate::{Timer, TransferRate};

/// Given to hyper in place of a head that is refused; the service then answers
/// with the reason.
const SUBSTITUTE: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";
/// Read from the connection at once while waiting for a head.
const HEAD_READ: usize = 4096;

#[derive(Debug)]
enum Reading {
    /// Waiting for a whole head; since when there are bytes of it.
    Head {
        begun: Option<Instant>,
    },
    /// This much of `buffer` is a checked head that goes to hyper.
    HandOver {
        left: usize,
        then: Framing,
    },
    Body {
        left: u64,
    },
    Ended,
}

#[derive(Debug)]
pub(super) struct LimitedStream<IO> {
    io: Take<IO>,
    limits: Arc<Limits>,
    state: Arc<RequestState>,
    reading: Reading,
    buffer: BytesMut,
    is_first: bool,
    read_rate: TransferRate,
    read_timer: Timer,
    write_rate: TransferRate,
    write_timer: Timer,
    shutdown_timer: Timer,
}

impl<IO: AsyncRead> LimitedStream<IO> {
    pub(super) fn new(io: IO, limits: Arc<Limits>, state: Arc<RequestState>) -> Self {
        Self {
            io: io.take(u64::MAX),
            state,
            reading: Reading::Head { begun: None },
            buffer: BytesMut::new(),
            is_first: true,
            read_rate: TransferRate::new(limits.body_idle, limits.body_bytes_per_second),
            read_timer: Timer::default(),
            write_rate: TransferRate::new(limits.write_stall, limits.write_bytes_per_second),
            write_timer: Timer::default(),
            shutdown_timer: Timer::default(),
            limits,
        }
    }

    /// Begins to hand over the head of `length` bytes in the buffer.
    fn hand_over(&mut self, length: usize, then: Framing, error: Option<RequestError>) {
        self.state.begin(error);
        self.is_first = false;
        self.read_rate =
            TransferRate::new(self.limits.body_idle, self.limits.body_bytes_per_second);
        self.write_rate =
            TransferRate::new(self.limits.write_stall, self.limits.write_bytes_per_second);
        self.reading = Reading::HandOver { left: length, then };
    }

    /// Notes an error of the connection.
    fn noted<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.state.failed(error);
        }
        polled
    }

    /// Hands over a substitute, after which nothing is read any more.
    fn refuse(&mut self, error: RequestError) {
        self.buffer = SUBSTITUTE.into();
        self.hand_over(SUBSTITUTE.len(), Framing::Chunked, Some(error));
    }

    /// Whether a head is complete and no other request is under way.
    fn take_head(&mut self) -> bool {
        if self.state.is_busy() {
            return false;
        }
        match request_head::parse(&self.buffer, &self.limits) {
            None => return false,
            Some(Err(error)) => self.refuse(error),
            Some(Ok((length, then))) => self.hand_over(length, then, None),
        }
        true
    }

    /// Whether the client took too long for a head (it is refused) or between
    /// two requests (the connection ends).
    fn poll_head_time(&mut self, begun: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(idle_since) = self
            .state
            .idle_since(cx)
            .filter(|_| !self.write_rate.is_waiting())
        else {
            // neither counts while the client still gets an answer
            self.reading = Reading::Head { begun: None };
            return Poll::Pending;
        };
        let deadline = if self.buffer.is_empty() {
            let is_first = self.is_first;
            let limit = if is_first {
                self.limits.head_time
            } else {
                self.limits.keep_alive
            };
            idle_since + limit
        } else {
            let begun = begun.unwrap_or_else(Instant::now);
            self.reading = Reading::Head { begun: Some(begun) };
            begun + self.limits.head_time
        };
        if !self.read_timer.is_over(deadline, cx) {
            return Poll::Pending;
        }
        if self.buffer.is_empty() {
            self.reading = Reading::Ended;
        } else {
            self.refuse(RequestError::TooSlow);
        }
        Poll::Ready(())
    }
}

impl<IO: AsyncRead + Unpin> LimitedStream<IO> {
    /// Reads more of a head into the buffer; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [0; HEAD_READ];
        let mut part = ReadBuf::new(&mut space);
        self.io.set_limit(u64::MAX);
        let polled = Pin::new(&mut self.io).poll_read(cx, &mut part);
        ready!(self.noted(polled))?;
        self.buffer.extend_from_slice(part.filled());
        Poll::Ready(Ok(part.filled().len()))
    }

    /// Reads body bytes, at most `limit`, from the buffer and then the connection.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        if !self.buffer.is_empty() {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            return Poll::Ready(Ok(self.give(limit, out)));
        }
        let before = out.filled().len();
        // not beyond the body: what follows is the next head
        self.io.set_limit(limit);
        let polled = Pin::new(&mut self.io).poll_read(cx, out);
        let polled = self.noted(polled);
        let now = Instant::now();
        // hyper also reads to see whether the client leaves
        if polled.is_pending() && !self.state.is_body_done() {
            self.state.body_moved(0, now);
            if self.state.is_cut(cx) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            let deadline = self.read_rate.deadline(now);
            if self.read_timer.is_over(deadline, cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        ready!(polled)?;
        let bytes = out.filled().len() - before;
        self.read_rate.moved(bytes, now);
        self.state.body_moved(bytes, now);
        Poll::Ready(Ok(bytes))
    }

    /// Gives at most `limit` bytes of the buffer away; how many.
    fn give(&mut self, limit: usize, out: &mut ReadBuf<'_>) -> usize {
        let bytes = self.buffer.len().min(limit).min(out.remaining());
        out.put_slice(&self.buffer.split_to(bytes));
        bytes
    }

    /// Drops what the client is still sending, for a bounded time, after the
    /// answer was sent: closing at once would reset the connection, and the
    /// client would lose the answer.
    pub(super) async fn linger(mut self) {
        let is_between_requests = matches!(
            self.reading,
            Reading::Head { begun: None } | Reading::Body { left: 0 } | Reading::Ended
        );
        if is_between_requests && self.buffer.is_empty() {
            return;
        }
        self.io.set_limit(self.limits.linger_bytes);
        let mut dropped = tokio::io::sink();
        let rest = tokio::io::copy(&mut self.io, &mut dropped);
        let _ = timeout(self.limits.linger_time, rest).await;
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for LimitedStream<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        loop {
            match stream.reading {
                Reading::Head { begun } => {
                    if stream.take_head() {
                        continue;
                    }
                    if stream.buffer.len() > stream.limits.head_bytes {
                        // a pipelined request that waits for its turn
                        ready!(stream.poll_head_time(begun, cx));
                        continue;
                    }
                    match stream.poll_fill(cx)? {
                        Poll::Ready(0) => stream.reading = Reading::Ended,
                        Poll::Ready(_) => {}
                        Poll::Pending => ready!(stream.poll_head_time(begun, cx)),
                    }
                }
                Reading::HandOver { left, then } => {
                    let left = left - stream.give(left, out);
                    stream.reading = match (left, then) {
                        (0, Framing::Length(left)) => Reading::Body { left },
                        // hyper sees the end, and the connection ends with it
                        (0, Framing::Chunked) => Reading::Body { left: u64::MAX },
                        (left, then) => Reading::HandOver { left, then },
                    };
                    return Poll::Ready(Ok(()));
                }
                Reading::Body { left: 0 } => stream.reading = Reading::Head { begun: None },
                Reading::Body { left } => {
                    let bytes = ready!(stream.poll_body(cx, out, left))?;
                    stream.reading = match bytes {
                        0 => Reading::Ended,
                        _ => Reading::Body {
                            left: left.saturating_sub(bytes as u64),
                        },
                    };
                    return Poll::Ready(Ok(()));
                }
                Reading::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> LimitedStream<IO> {
    /// Notes how a write went and whether the client stopped reading.
    fn paced<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let now = Instant::now();
        if polled.is_pending() {
            let deadline = self.write_rate.deadline(now);
            if self.write_timer.is_over(deadline, cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        let value = ready!(self.noted(polled))?;
        self.write_rate.moved(bytes(&value), now);
        Poll::Ready(Ok(value))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LimitedStream<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(self.io.get_mut()).poll_write(cx, bytes);
        self.paced(polled, |written| *written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(self.io.get_mut()).poll_write_vectored(cx, slices);
        self.paced(polled, |written| *written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(self.io.get_mut()).poll_flush(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.state.flushed();
        }
        self.paced(polled, |()| 0, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.state.may_shut_down() {
            // wakes the task; how long it waits in all is as for writing
            let _ = self.shutdown_timer.is_over(Instant::now() + LOOK_SOON, cx);
            return self.paced(Poll::Pending, |()| 0, cx);
        }
        let polled = Pin::new(self.io.get_mut()).poll_shutdown(cx);
        self.paced(polled, |()| 0, cx)
    }
}
