//! Whether responses arrived. What hyper has written may still be in the kernel's
//! buffer when the client leaves: a small image would count as delivered to a board
//! that read its head and hung up.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::Connection;
use super::file_body::Delivery;
use super::tcp_socket::{Phase, TcpState, reset_at_close};

/// How a response ended at the other side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// The peer acknowledged all of it, and did not reset the connection.
    Delivered,
    /// The peer left; it had acknowledged so many bytes since the request, head and
    /// encryption included.
    PeerLeft { acknowledged: u64 },
    /// The gateway ended it, or the connection failed.
    BrokenOff,
}

/// The responses of one connection that may not have arrived yet.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Absent for what is not TCP. Open for as long as `end` was not called.
    socket: OnceLock<RawFd>,
    inside: Mutex<Inside>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    pending: Vec<Pending>,
    end: Option<End>,
}

struct Pending {
    /// What the peer had acknowledged before the request.
    before: u64,
    /// hyper got all of it.
    is_whole: bool,
    /// The kernel got all of it.
    is_written: bool,
    acknowledged_at: Option<Instant>,
    done: Box<dyn FnOnce(Arrival) + Send>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

/// The connection's state when it ended.
#[derive(Clone, Copy, Debug)]
struct End {
    was_reset: bool,
    state: Option<TcpState>,
}

impl Connection {
    /// Bytes that the client has acknowledged on this connection.
    pub fn acknowledged(&self) -> u64 {
        self.deliveries().acknowledged()
    }

    /// A response ended for us; `done` is called once it is known whether it arrived. `before`
    /// is what was [acknowledged](Self::acknowledged) when its request came.
    pub fn settle(
        &self,
        outcome: Delivery,
        before: u64,
        done: impl FnOnce(Arrival) + Send + 'static,
    ) {
        self.deliveries().settle(outcome, before, done);
    }
}

impl Deliveries {
    /// The connection is TCP, with this socket.
    pub(super) fn on(&self, socket: RawFd) {
        let _ = self.socket.set(socket);
    }

    fn state(&self) -> Option<TcpState> {
        TcpState::of(*self.socket.get()?)
    }

    /// What the peer has acknowledged up to now.
    pub(super) fn acknowledged(&self) -> u64 {
        let inside = self.lock();
        let is_open = inside.end.is_none();
        let state = is_open.then(|| self.state()).flatten();
        state.map_or(0, |state| state.acknowledged)
    }

    /// What is not sent yet when the connection ends is dropped.
    pub(super) fn drop_unsent(&self) {
        let inside = self.lock();
        if let Some(socket) = self.socket.get().filter(|_| inside.end.is_none()) {
            reset_at_close(*socket);
        }
    }

    /// `done` is called once it is known whether the response arrived.
    pub(super) fn settle(
        &self,
        outcome: Delivery,
        before: u64,
        done: impl FnOnce(Arrival) + Send + 'static,
    ) {
        let pending = Pending {
            before,
            is_whole: matches!(outcome, Delivery::Complete { .. }),
            is_written: false,
            acknowledged_at: None,
            done: Box::new(done),
        };
        let mut inside = self.lock();
        match inside.end {
            Some(end) => {
                drop(inside);
                let arrival = pending.at(end);
                (pending.done)(arrival);
            }
            // nothing can be asked: it is taken for what it looks like
            None if self.state().is_none() => {
                drop(inside);
                (pending.done)(match outcome {
                    Delivery::Complete { .. } => Arrival::Delivered,
                    Delivery::BrokenOff { .. } => Arrival::BrokenOff,
                });
            }
            None => {
                inside.pending.push(pending);
                drop(inside);
                self.changed.notify_one();
            }
        }
    }

    /// The kernel has all that was written for responses so far.
    pub(super) fn written(&self) {
        let mut inside = self.lock();
        for pending in &mut inside.pending {
            pending.is_written |= pending.is_whole;
        }
    }

    /// The client's next request: it has read the response to the last one.
    pub(super) fn next_request(&self) {
        if self.lock().pending.is_empty() {
            return;
        }
        let state = self.state();
        self.finish(|pending| {
            let is_acknowledged = state.is_some_and(|state| state.queued == 0);
            (pending.is_written && is_acknowledged).then_some(Arrival::Delivered)
        });
    }

    /// Watches the socket while responses are on their way. Does not end.
    pub(super) async fn watch(&self) {
        loop {
            self.changed.notified().await;
            while !self.lock().pending.is_empty() {
                sleep(LOOK_EVERY).await;
                self.look();
            }
        }
    }

    /// Whether the connection may be shut down: not while it is open how a response ended.
    /// What is sent then makes a client that has read all reset the connection, as one
    /// does that has not. The socket is to be looked at again soon if not.
    pub(super) fn may_shut_down(&self) -> bool {
        if !self.lock().pending.iter().any(|pending| pending.is_written) {
            return true;
        }
        match self.state() {
            Some(state) if state.has_error => self.end(true),
            // it may have ended its side only, and still read
            Some(state) if state.phase == Phase::PeerLeft && state.queued == 0 => self.end(false),
            Some(_) => self.look(),
            None => return true,
        }
        self.lock().pending.is_empty()
    }

    fn look(&self) {
        let Some(state) = self.state() else { return };
        let now = Instant::now();
        self.finish(|pending| {
            if !pending.is_written || state.queued > 0 {
                return None;
            }
            // who compares and hangs up resets the connection if it left something unread
            let since = *pending.acknowledged_at.get_or_insert(now);
            (now - since >= GRACE).then_some(Arrival::Delivered)
        });
    }

    /// Calls back those of which it is known.
    fn finish(&self, mut of: impl FnMut(&mut Pending) -> Option<Arrival>) {
        let mut known = Vec::new();
        let mut inside = self.lock();
        for mut pending in std::mem::take(&mut inside.pending) {
            match of(&mut pending) {
                Some(arrival) => known.push((pending, arrival)),
                None => inside.pending.push(pending),
            }
        }
        drop(inside);
        for (pending, arrival) in known {
            (pending.done)(arrival);
        }
    }

    /// The connection ended; its socket is open for the last time. Only the first call
    /// counts.
    pub(super) fn end(&self, was_reset: bool) {
        let mut inside = self.lock();
        if inside.end.is_some() {
            return;
        }
        let state = self.state();
        let has_error = state.is_some_and(|state| state.has_error);
        let end = End {
            was_reset: was_reset || has_error,
            state,
        };
        inside.end = Some(end);
        drop(inside);
        self.finish(|pending| Some(pending.at(end)));
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// What is known of it when the connection has ended.
    fn at(&self, end: End) -> Arrival {
        let Some(state) = end.state else {
            return Arrival::BrokenOff;
        };
        if self.is_whole && self.is_written && state.queued == 0 && !end.was_reset {
            return Arrival::Delivered;
        }
        match end.was_reset || state.phase == Phase::PeerLeft {
            true => Arrival::PeerLeft {
                acknowledged: state.acknowledged.saturating_sub(self.before),
            },
            false => Arrival::BrokenOff,
        }
    }
}

/// Ends the deliveries of a connection, however it ends.
pub(super) struct EndOfDeliveries<'a>(pub(super) &'a Deliveries);

impl Drop for EndOfDeliveries<'_> {
    fn drop(&mut self) {
        self.0.end(false);
    }
}

/// How often the socket is looked at while a response is on its way.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same before the connection is shut down.
pub(super) const LOOK_SOON: Duration = Duration::from_millis(20);
/// A client that resets the connection after everything was acknowledged does so
/// within this time.
const GRACE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_arrived_if_all_of_it_was_acknowledged_and_nothing_reset() {
        const LEFT: Arrival = Arrival::PeerLeft { acknowledged: 400 };
        for (is_whole, is_written, queued, phase, was_reset, expected) in [
            (true, true, 0, Phase::Open, false, Arrival::Delivered),
            (true, true, 0, Phase::PeerLeft, false, Arrival::Delivered),
            (true, true, 0, Phase::EndedByUs, false, Arrival::Delivered),
            (true, true, 0, Phase::PeerLeft, true, LEFT),
            (true, true, 9, Phase::PeerLeft, false, LEFT),
            (true, true, 9, Phase::EndedByUs, false, Arrival::BrokenOff),
            (true, false, 0, Phase::PeerLeft, false, LEFT),
            (false, false, 0, Phase::PeerLeft, true, LEFT),
            (false, false, 9, Phase::Open, false, Arrival::BrokenOff),
        ] {
            let pending = Pending {
                before: 100,
                is_whole,
                is_written,
                acknowledged_at: None,
                done: Box::new(|_| {}),
            };
            let state = TcpState {
                acknowledged: 500,
                queued,
                phase,
                has_error: was_reset,
            };
            let end = End {
                was_reset,
                state: Some(state),
            };
            let case = (is_whole, is_written, queued, phase, was_reset);
            assert_eq!(pending.at(end), expected, "{case:?}");
        }
    }

    #[test]
    fn what_is_no_tcp_is_taken_for_what_it_looks_like() {
        for (outcome, expected) in [
            (Delivery::Complete { sent: 1 }, Arrival::Delivered),
            (Delivery::BrokenOff { sent: 1 }, Arrival::BrokenOff),
        ] {
            let (told, arrival) = std::sync::mpsc::channel();
            Deliveries::default().settle(outcome, 0, move |arrival| told.send(arrival).unwrap());
            assert_eq!(arrival.recv().unwrap(), expected);
        }
    }
}
