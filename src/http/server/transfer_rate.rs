//! Idle timeout and minimum transfer rate for slow or silent clients.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that can be reset.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether `deadline` is over; if not, the task is woken then.
    pub(super) fn is_over(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

/// Counts only time spent waiting for the peer, not our own pauses such as for a
/// slow disk.
#[derive(Debug)]
pub(super) struct TransferRate {
    idle: Duration,
    bytes_per_second: u64,
    waiting_since: Option<Instant>,
    waited: Duration,
    moved: u64,
}

/// Waiting time before the average rate is checked.
const GRACE: Duration = Duration::from_secs(20);

impl TransferRate {
    /// No wait longer than `idle`, and on average at least `bytes_per_second`.
    pub(super) fn new(idle: Duration, bytes_per_second: u64) -> Self {
        Self {
            idle,
            bytes_per_second: bytes_per_second.max(1),
            waiting_since: None,
            waited: Duration::ZERO,
            moved: 0,
        }
    }

    /// Notes that `bytes` moved.
    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.moved = self.moved.saturating_add(bytes as u64);
    }

    /// Whether the peer is being waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Notes the start of a wait; returns when it times out.
    pub(super) fn deadline(&mut self, now: Instant) -> Instant {
        let since = *self.waiting_since.get_or_insert(now);
        let earned = Duration::from_secs(self.moved / self.bytes_per_second);
        let left = (GRACE.saturating_add(earned)).saturating_sub(self.waited);
        since + self.idle.min(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_ends_after_the_idle_time_counted_from_the_last_byte() {
        let start = Instant::now();
        let mut pace = TransferRate::new(10 * SECOND, 100);
        assert_eq!(pace.deadline(start), start + 10 * SECOND);
        assert_eq!(pace.deadline(start + SECOND), start + 10 * SECOND);
        pace.moved(1, start + 2 * SECOND);
        assert_eq!(pace.deadline(start + 3 * SECOND), start + 13 * SECOND);
    }

    #[test]
    fn a_trickle_below_the_rate_ends_after_the_grace() {
        let mut now = Instant::now();
        let start = now;
        let mut pace = TransferRate::new(10 * SECOND, 100);
        while pace.deadline(now) > now + SECOND {
            now += SECOND;
            pace.moved(1, now);
        }
        assert!(now - start <= GRACE);
    }

    #[test]
    fn enough_bytes_buy_time_and_own_pauses_cost_none() {
        let start = Instant::now();
        let mut pace = TransferRate::new(10 * SECOND, 100);
        pace.moved(6_000, start);
        for round in 0..7 {
            // waits 10 s, then an hour passes in which nobody waits
            let at = start + 3600 * SECOND * round;
            assert_eq!(pace.deadline(at), at + 10 * SECOND, "{round}");
            pace.moved(0, at + 10 * SECOND);
        }
    }
}
