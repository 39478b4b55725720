//! Rate limit for boards registered by a fleet token, and how often reaching it is
//! reported.

use std::time::{Duration, Instant};

use crate::config::Fleet;

/// A token at its limit is reported once in this time.
const TELL_EVERY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// How many boards a token may register now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    left: u32,
    /// Up to when `left` has grown.
    grown: Instant,
    told: Option<Instant>,
}

impl Allowance {
    pub(super) fn full(limits: Fleet, now: Instant) -> Self {
        Self {
            left: limits.burst,
            grown: now,
            told: None,
        }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, limits: Fleet, now: Instant) -> bool {
        if let Some(interval) = HOUR.checked_div(limits.per_hour) {
            let passed = now.duration_since(self.grown).as_nanos() / interval.as_nanos().max(1);
            let passed = u32::try_from(passed).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(passed);
            self.grown += interval.saturating_mul(passed);
        }
        if self.left >= limits.burst {
            self.left = limits.burst;
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
        const MINUTE: Duration = Duration::from_secs(60);
        let start = Instant::now();
        let limits = Fleet::default();
        let mut allowance = Allowance::full(limits, start);
        let mut taken = |at| (0..1000).take_while(|_| allowance.take(limits, at)).count();
        assert_eq!(taken(start), 500);
        assert_eq!(taken(start + MINUTE / 2), 0);
        assert_eq!(taken(start + MINUTE), 1);
        assert_eq!(taken(start + MINUTE * 61), 60);
        assert_eq!(taken(start + MINUTE * 10_000), 500);
        assert_eq!(taken(start + MINUTE * 10_001 - Duration::from_secs(1)), 0);
    }

    #[test]
    fn other_limits_are_in_force_at_once() {
        let start = Instant::now();
        let mut allowance = Allowance::full(Fleet::default(), start);
        let mut taken = |burst, per_hour, hours: u32| {
            let limits = Fleet {
                burst,
                per_hour,
                ..Fleet::default()
            };
            let at = start + HOUR * hours;
            (0..1000).take_while(|_| allowance.take(limits, at)).count()
        };
        for (burst, per_hour, hours, expected) in [
            (3, 0, 0, 3),
            (3, 0, 9, 0),
            (3, 2, 9, 3),
            (10, 2, 10, 2),
            (10, 3_600_000, 11, 10),
            (0, 60, 99, 0),
        ] {
            let found = taken(burst, per_hour, hours);
            assert_eq!(found, expected, "{burst} {per_hour} {hours}");
        }
    }

    #[test]
    fn a_limit_is_told_once_a_day() {
        let start = Instant::now();
        let mut allowance = Allowance::full(Fleet::default(), start);
        assert!(allowance.tell(start));
        assert!(!allowance.tell(start + TELL_EVERY / 2));
        assert!(allowance.tell(start + TELL_EVERY));
        assert!(!allowance.tell(start + TELL_EVERY));
    }
}
