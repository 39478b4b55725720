//! How decoding attempts change a dump's sidecar, so that they survive restarts.

use super::sidecar::{DecodeState, Decoding, Sidecar};
use crate::digest::Sha256;

/// Maximum number of decoding attempts.
pub const MAX_ATTEMPTS: u32 = 3;
/// Longest reason that is kept, in bytes.
const MAX_REASON: usize = 256;

impl Sidecar {
    /// Resets decoding, as for a new dump.
    pub fn decode_again(&mut self) {
        self.decode = DecodeState::Pending.into();
        self.decoding = Decoding::default();
    }

    /// Counts an attempt that begins. False if there were enough: the dump has
    /// failed then. Attempts that fail otherwise never come so far, so the
    /// daemon ended in the last one.
    pub fn begin_attempt(&mut self) -> bool {
        if self.decoding.attempts >= MAX_ATTEMPTS {
            self.decode = DecodeState::Failed.into();
            self.decoding.failure = Some(String::from("daemon exited while decoding"));
            return false;
        }
        self.decoding.attempts += 1;
        true
    }

    /// The attempt was cancelled, not because of the dump.
    pub fn cancel_attempt(&mut self) {
        self.decoding.attempts = self.decoding.attempts.saturating_sub(1);
    }

    /// The attempt failed. Whether it was the last one.
    pub fn fail_attempt(&mut self, why: &str) -> bool {
        let mut end = why.len().min(MAX_REASON);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        self.decoding.failure = Some(why.get(..end).unwrap_or_default().to_owned());
        let is_last = self.decoding.attempts >= MAX_ATTEMPTS;
        if is_last {
            self.decode = DecodeState::Failed.into();
        }
        is_last
    }

    /// The attempt gave a report; `misfit` is the ELF that it was made with and
    /// that does not fit.
    pub fn end_attempt(&mut self, state: DecodeState, misfit: Option<Sha256>) {
        self.decode = state.into();
        self.decoding = Decoding {
            misfit: misfit.map(|elf| elf.to_string()),
            ..Decoding::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::sidecar::tests::sample;
    use super::*;

    #[test]
    fn the_third_failed_attempt_is_the_last_and_says_why() {
        let mut dump = sample("a", 1);
        for attempt in 1..=3 {
            assert!(dump.begin_attempt());
            assert_eq!(dump.decode, DecodeState::Pending);
            assert_eq!(dump.fail_attempt("out of memory"), attempt == 3);
        }
        assert_eq!(dump.decode, DecodeState::Failed);
        assert_eq!(dump.decoding.failure.as_deref(), Some("out of memory"));
        dump.decode_again();
        assert_eq!(dump.decode, DecodeState::Pending);
        assert_eq!(dump.decoding, Decoding::default());
        assert!(dump.begin_attempt());
    }

    #[test]
    fn a_dump_that_took_the_daemon_down_three_times_has_failed() {
        let mut dump = sample("a", 1);
        for _ in 1..=3 {
            assert!(dump.begin_attempt());
        }
        assert!(!dump.begin_attempt());
        assert_eq!(dump.decode, DecodeState::Failed);
        assert!(dump.decoding.failure.is_some());
    }

    #[test]
    fn an_attempt_that_was_broken_off_is_not_counted() {
        let mut dump = sample("a", 1);
        for _ in 0..10 {
            assert!(dump.begin_attempt());
            dump.cancel_attempt();
        }
        assert_eq!(dump.decoding, Decoding::default());
    }

    #[test]
    fn a_long_reason_is_cut() {
        let mut dump = sample("a", 1);
        dump.fail_attempt(&"ä".repeat(1000));
        assert_eq!(dump.decoding.failure.map(|why| why.len()), Some(MAX_REASON));
    }
}
