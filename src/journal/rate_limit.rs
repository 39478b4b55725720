//! Keeps what repeats from filling the journal: a few entries a minute for each
//! event and device, port or peer, the rest counted into the next one written.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Event;

/// Entries of one kind that are written within [`WINDOW`].
const BURST: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// Kinds remembered at once; beyond that the older ones are forgotten.
const MAX_KINDS: usize = 1024;

#[derive(Debug)]
struct Window {
    began: Instant,
    written: u32,
    swallowed: u64,
}

#[derive(Debug, Default)]
struct Limiter {
    kinds: HashMap<(Event, String), Window>,
}

impl Limiter {
    /// `None`: do not write. Otherwise how many were swallowed before.
    fn admit(&mut self, event: Event, about: &str, now: Instant) -> Option<u64> {
        if self.kinds.len() >= MAX_KINDS {
            self.kinds
                .retain(|_, window| now.duration_since(window.began) < WINDOW);
            if self.kinds.len() >= MAX_KINDS {
                self.kinds.clear();
            }
        }
        let window = self
            .kinds
            .entry((event, about.to_owned()))
            .or_insert(Window {
                began: now,
                written: 0,
                swallowed: 0,
            });
        if now.duration_since(window.began) >= WINDOW {
            window.began = now;
            window.written = 0;
        }
        if window.written >= BURST {
            window.swallowed += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.swallowed))
    }
}

static LIMITER: LazyLock<Mutex<Limiter>> = LazyLock::new(Mutex::default);

/// Whether an entry may be written now: `None` if not, otherwise how many of
/// its kind were swallowed since the last one.
pub(super) fn admit(
    event: Event,
    about: Option<&str>,
    fields: &[(&'static str, String)],
) -> Option<u64> {
    let named = || {
        let is_named = |name| matches!(name, "DEVICE_KEY" | "SERIAL_PORT" | "MODEL_CODE");
        let field = fields.iter().find(|(name, _)| is_named(*name))?;
        Some(field.1.as_str())
    };
    let about = about.or_else(named).unwrap_or_default();
    LIMITER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .admit(event, about, Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_burst_entries_are_counted_into_the_next_one() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        for _ in 0..BURST {
            assert_eq!(limiter.admit(Event::PortBusy, "a", start), Some(0));
        }
        assert_eq!(limiter.admit(Event::PortBusy, "a", start), None);
        assert_eq!(limiter.admit(Event::PortBusy, "a", start), None);
        assert_eq!(limiter.admit(Event::PortBusy, "b", start), Some(0));
        assert_eq!(limiter.admit(Event::PortBusy, "a", start + WINDOW), Some(2));
        assert_eq!(limiter.admit(Event::PortBusy, "a", start + WINDOW), Some(0));
    }

    #[test]
    fn a_noisy_peer_hides_no_other() {
        let event = Event::CredentialRefused;
        for _ in 0..BURST {
            assert_eq!(admit(event, Some("192.0.2.1"), &[]), Some(0));
        }
        assert_eq!(admit(event, Some("192.0.2.1"), &[]), None);
        assert_eq!(admit(event, Some("192.0.2.2"), &[]), Some(0));
        let device = [("DEVICE_KEY", String::from("k1"))];
        assert_eq!(admit(event, None, &device), Some(0));
    }

    #[test]
    fn a_board_that_posts_junk_without_end_does_not_fill_the_journal() {
        for event in [Event::CoredumpUnrecognised, Event::CoredumpDecoded] {
            let device = [("DEVICE_KEY", String::from("junk"))];
            for _ in 0..BURST {
                assert_eq!(admit(event, None, &device), Some(0));
            }
            assert_eq!(admit(event, None, &device), None);
        }
    }

    #[test]
    fn memory_for_kinds_is_bounded() {
        let mut limiter = Limiter::default();
        let now = Instant::now();
        for n in 0..MAX_KINDS * 3 {
            limiter.admit(Event::CredentialRefused, &n.to_string(), now);
        }
        assert!(limiter.kinds.len() <= MAX_KINDS);
    }
}
