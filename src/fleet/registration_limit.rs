//! Rate limit for boards registered by a fleet token, and how often reaching it is
//! reported.

use std::time::{Duration, Instant};

/// Boards that a token registers at once, after a while without any.
pub(super) const BURST: u32 = 500;
/// Beyond the burst it registers one in this time.
const INTERVAL: Duration = Duration::from_secs(60);
/// A token at its limit is reported once in this time.
const TELL_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How many boards a token may register now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    left: u32,
    /// Up to when `left` has grown.
    grown: Instant,
    told: Option<Instant>,
}

impl Allowance {
    pub(super) fn full(now: Instant) -> Self {
        Self {
            left: BURST,
            grown: now,
            told: None,
        }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.duration_since(self.grown) >= INTERVAL {
            self.left += 1;
            self.grown += INTERVAL;
        }
        if self.left == BURST {
            self.grown = now;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// Whether to report now that the limit is reached.
    pub(super) fn tell(&mut self, now: Instant) -> bool {
        let is_due = |told: Instant| now.duration_since(told) >= TELL_EVERY;
        let is_due = self.told.is_none_or(is_due);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_token_registers_a_burst_and_then_one_a_minute() {
        let start = Instant::now();
        let mut allowance = Allowance::full(start);
        let mut taken = |at: Instant| (0..1000).take_while(|_| allowance.take(at)).count();
        assert_eq!(taken(start), 500);
        assert_eq!(taken(start + INTERVAL / 2), 0);
        assert_eq!(taken(start + INTERVAL), 1);
        assert_eq!(taken(start + INTERVAL * 61), 60);
        assert_eq!(taken(start + INTERVAL * 10_000), 500);
        assert_eq!(taken(start + INTERVAL * 10_001 - Duration::from_secs(1)), 0);
    }

    #[test]
    fn a_limit_is_told_once_a_day() {
        let start = Instant::now();
        let mut allowance = Allowance::full(start);
        assert!(allowance.tell(start));
        assert!(!allowance.tell(start + TELL_EVERY / 2));
        assert!(allowance.tell(start + TELL_EVERY));
        assert!(!allowance.tell(start + TELL_EVERY));
    }
}
