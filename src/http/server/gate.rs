//! Stands between a connection and the HTTP library: hands over one whole,
//! checked head at a time, keeps time for head, body and writing, and closes
//! so that the client can still read the last answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;
use super::head::{self, Fault, Framing};
use super::pace::{Pace, Timer};
use super::progress::Progress;

/// Handed over in place of a head that is refused; the answer goes by the fault.
const SUBSTITUTE: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";
/// Read from the connection at once while looking for a head.
const HEAD_READ: usize = 4096;

#[derive(Debug)]
enum Reading {
    /// Looking for the end of a head; since when there are bytes of it.
    Head {
        begun: Option<Instant>,
    },
    /// This much of `buffer` is a checked head that goes to the library.
    HandOver {
        left: usize,
        then: Framing,
    },
    /// What is left of the substitute for a refused head.
    Refused {
        sent: usize,
    },
    Body {
        left: u64,
    },
    /// A body whose end only the library sees.
    ToTheEnd,
    Ended,
}

/// The connection as the HTTP library sees it.
#[derive(Debug)]
pub(super) struct Gate<IO> {
    io: IO,
    limits: Arc<Limits>,
    progress: Arc<Progress>,
    reading: Reading,
    buffer: BytesMut,
    is_first: bool,
    opened: Instant,
    read_pace: Pace,
    read_timer: Timer,
    write_pace: Pace,
    write_timer: Timer,
    lingering: Option<Lingering>,
}

#[derive(Debug)]
struct Lingering {
    until: Instant,
    left: u64,
}

impl<IO> Gate<IO> {
    pub(super) fn new(io: IO, limits: Arc<Limits>, progress: Arc<Progress>) -> Self {
        Self {
            io,
            progress,
            reading: Reading::Head { begun: None },
            buffer: BytesMut::new(),
            is_first: true,
            opened: Instant::now(),
            read_pace: Pace::new(limits.body_idle, limits.body_bytes_per_second),
            read_timer: Timer::default(),
            write_pace: Pace::new(limits.write_stall, limits.write_bytes_per_second),
            write_timer: Timer::default(),
            lingering: None,
            limits,
        }
    }

    /// Marks a head as handed over.
    fn begin(&mut self, fault: Option<Fault>, last: bool) {
        self.progress.begin(fault, last);
        self.is_first = false;
        self.read_pace = Pace::new(self.limits.body_idle, self.limits.body_bytes_per_second);
        self.write_pace = Pace::new(self.limits.write_stall, self.limits.write_bytes_per_second);
    }

    fn refuse(&mut self, fault: Fault) {
        self.begin(Some(fault), true);
        self.reading = Reading::Refused { sent: 0 };
    }

    /// Takes a whole head from the buffer, if there is one and it is its turn.
    fn take_head(&mut self) -> bool {
        if self.progress.is_busy() {
            return false;
        }
        match head::look(&self.buffer, &self.limits) {
            None => return false,
            Some(Err(fault)) => self.refuse(fault),
            Some(Ok((left, then))) => {
                self.begin(None, then == Framing::Chunked);
                self.reading = Reading::HandOver { left, then };
            }
        }
        true
    }

    /// Whether the client took too long over a head (then it is refused) or
    /// over asking for anything at all (then the connection ends).
    fn poll_head_time(&mut self, begun: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let idle_since = match self.progress.idle_since(cx) {
            Some(since) if !self.write_pace.is_waiting() => since.max(self.opened),
            _ => {
                // neither counts while the client still gets an answer
                self.reading = Reading::Head { begun: None };
                return Poll::Pending;
            }
        };
        let (since, limit) = if self.buffer.is_empty() {
            let limit = if self.is_first {
                self.limits.head_time
            } else {
                self.limits.keep_alive
            };
            (idle_since, limit)
        } else {
            let begun = begun.unwrap_or(now);
            self.reading = Reading::Head { begun: Some(begun) };
            (begun, self.limits.head_time)
        };
        if !self.read_timer.is_over(since + limit, cx) {
            return Poll::Pending;
        }
        if self.buffer.is_empty() {
            self.reading = Reading::Ended;
        } else {
            self.refuse(Fault::TooSlow);
        }
        Poll::Ready(())
    }

    /// Whether the client may still be sending what nobody will read.
    fn is_in_the_middle(&self) -> bool {
        !matches!(
            self.reading,
            Reading::Head { begun: None } | Reading::Ended | Reading::Body { left: 0 }
        ) || !self.buffer.is_empty()
    }
}

impl<IO: AsyncRead + Unpin> Gate<IO> {
    /// Reads more of a head into the buffer; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [0; HEAD_READ];
        let mut part = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
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
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if !self.buffer.is_empty() {
            let bytes = self.buffer.len().min(limit).min(out.remaining());
            out.put_slice(&self.buffer.split_to(bytes));
            return Poll::Ready(Ok(bytes));
        }
        let before = out.filled().len();
        let polled = if out.remaining() <= limit {
            let polled = Pin::new(&mut self.io).poll_read(cx, out);
            polled.map_ok(|()| out.filled().len() - before)
        } else {
            // not beyond the body: what follows is the next head
            let mut part = ReadBuf::new(out.initialize_unfilled_to(limit));
            let polled = Pin::new(&mut self.io).poll_read(cx, &mut part);
            let bytes = part.filled().len();
            polled.map_ok(|()| {
                out.advance(bytes);
                bytes
            })
        };
        let now = Instant::now();
        match polled {
            Poll::Ready(Ok(bytes)) => {
                self.read_pace.moved(bytes, now);
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending => {
                let deadline = self.read_pace.deadline(now);
                if self.read_timer.is_over(deadline, cx) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
            error => error,
        }
    }

    /// Drops what the client still sends, for a bounded time: closing at once
    /// would reset the connection and take the answer with it.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            until: Instant::now() + self.limits.linger_time,
            left: self.limits.linger_bytes,
        });
        let mut space = [0; HEAD_READ];
        loop {
            if lingering.left == 0 || self.read_timer.is_over(lingering.until, cx) {
                return Poll::Ready(());
            }
            let mut part = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut part)) {
                Ok(()) if !part.filled().is_empty() => {
                    lingering.left = lingering.left.saturating_sub(part.filled().len() as u64);
                }
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Gate<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            match gate.reading {
                Reading::Head { begun } => {
                    if gate.take_head() {
                        continue;
                    }
                    if gate.buffer.len() > gate.limits.head_bytes {
                        // a pipelined request that waits for its turn
                        ready!(gate.poll_head_time(begun, cx));
                        continue;
                    }
                    match gate.poll_fill(cx) {
                        Poll::Ready(Ok(0)) => {
                            gate.reading = Reading::Ended;
                            return Poll::Ready(Ok(()));
                        }
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => ready!(gate.poll_head_time(begun, cx)),
                    }
                }
                Reading::HandOver { left, then } => {
                    let bytes = left.min(out.remaining());
                    out.put_slice(&gate.buffer.split_to(bytes));
                    gate.reading = match (left - bytes, then) {
                        (0, Framing::Length(0)) => Reading::Head { begun: None },
                        (0, Framing::Length(left)) => Reading::Body { left },
                        (0, Framing::Chunked) => Reading::ToTheEnd,
                        (left, then) => Reading::HandOver { left, then },
                    };
                    return Poll::Ready(Ok(()));
                }
                Reading::Refused { sent } => {
                    let mut rest = SUBSTITUTE.get(sent..).unwrap_or_default();
                    if rest.is_empty() {
                        return Poll::Pending;
                    }
                    let bytes = rest.len().min(out.remaining());
                    out.put_slice(&rest.copy_to_bytes(bytes));
                    gate.reading = Reading::Refused { sent: sent + bytes };
                    return Poll::Ready(Ok(()));
                }
                Reading::Body { left: 0 } => gate.reading = Reading::Head { begun: None },
                Reading::Body { left } => {
                    let bytes = ready!(gate.poll_body(cx, out, left))?;
                    gate.reading = Reading::Body {
                        left: left.saturating_sub(bytes as u64),
                    };
                    if bytes == 0 {
                        gate.reading = Reading::Ended;
                    }
                    return Poll::Ready(Ok(()));
                }
                Reading::ToTheEnd => {
                    if ready!(gate.poll_body(cx, out, u64::MAX))? == 0 {
                        gate.reading = Reading::Ended;
                    }
                    return Poll::Ready(Ok(()));
                }
                Reading::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> Gate<IO> {
    /// Notes how a write went and whether the client stopped reading.
    fn paced<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(Ok(value)) => {
                self.write_pace.moved(bytes(&value), Instant::now());
                Poll::Ready(Ok(value))
            }
            Poll::Pending => {
                let deadline = self.write_pace.deadline(Instant::now());
                if self.write_timer.is_over(deadline, cx) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
            error => error,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.paced(polled, |written| *written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.paced(polled, |written| *written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.paced(polled, |()| 0, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let polled = Pin::new(&mut self.io).poll_shutdown(cx);
            ready!(self.paced(polled, |()| 0, cx))?;
            if !self.is_in_the_middle() {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(self.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}
