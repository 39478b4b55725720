//! The time, and whether the clock is synchronized.
//!
//! A Raspberry Pi has no clock of its own: until time is synced the wall clock
//! may be years off. So a moment also carries the boot it belongs to and the
//! time since that boot.

use std::fs;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use nix::libc;
use nix::time::{ClockId, clock_gettime};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcDateTime};

/// One moment, seen by all the clocks there are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moment {
    /// The wall clock, UTC, whole microseconds.
    pub wall: OffsetDateTime,
    /// Microseconds since the machine booted (suspend included).
    pub monotonic_us: u64,
    /// The kernel's boot id, 32 hex digits.
    pub boot_id: String,
    /// Whether the kernel considers the wall clock synchronised.
    pub synced: bool,
}

impl Moment {
    /// Reads the clocks.
    pub fn now() -> Self {
        let wall = OffsetDateTime::now_utc();
        Self {
            wall: wall.replace_microsecond(wall.microsecond()).unwrap_or(wall),
            monotonic_us: monotonic_us(),
            boot_id: boot_id().to_owned(),
            synced: is_synced(),
        }
    }

    /// Seconds that passed since an earlier moment: by the boot's own clock if
    /// both belong to one boot, by the wall clock otherwise; `None` if that
    /// would be negative.
    pub fn seconds_since(&self, earlier: &Self) -> Option<u64> {
        if self.boot_id == earlier.boot_id {
            return Some(self.monotonic_us.checked_sub(earlier.monotonic_us)? / 1_000_000);
        }
        u64::try_from((self.wall - earlier.wall).whole_seconds()).ok()
    }

    /// `clock` of a sidecar.
    pub fn clock_word(&self) -> &'static str {
        if self.synced { "synced" } else { "unsynced" }
    }
}

/// `2026-02-11T14:30:00.123456Z`
pub fn iso8601(moment: OffsetDateTime) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    UtcDateTime::from(moment)
        .format(&format)
        .unwrap_or_else(|_| String::from("1970-01-01T00:00:00.000000Z"))
}

/// `20260211T143000_123456Z`, the part of a coredump's file name that is time.
pub fn file_stamp(moment: OffsetDateTime) -> String {
    let format =
        format_description!("[year][month][day]T[hour][minute][second]_[subsecond digits:6]Z");
    UtcDateTime::from(moment)
        .format(&format)
        .unwrap_or_else(|_| String::from("19700101T000000_000000Z"))
}

/// Reads what [`file_stamp`] writes.
pub fn of_file_stamp(stamp: &str) -> Option<OffsetDateTime> {
    let format =
        format_description!("[year][month][day]T[hour][minute][second]_[subsecond digits:6]Z");
    let read = PrimitiveDateTime::parse(stamp, &format).ok()?;
    Some(read.assume_utc())
}

/// Reads RFC 3339 (which ISO 8601 as written here is).
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Microseconds since boot, suspend included.
pub fn monotonic_us() -> u64 {
    let Ok(since) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return 0;
    };
    let seconds = u64::try_from(since.tv_sec()).unwrap_or(0);
    let nanoseconds = u64::try_from(since.tv_nsec()).unwrap_or(0);
    seconds * 1_000_000 + nanoseconds / 1000
}

/// The kernel's id of this boot, 32 hex digits.
pub fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .replace('-', "")
    })
}

/// Whether the kernel's clock is synchronised (by NTP, PTP or a GPS daemon:
/// each clears `STA_UNSYNC`).
#[expect(
    unsafe_code,
    reason = "adjtimex is the one place that knows, whichever daemon syncs; no crate in use wraps it"
)]
pub fn is_synced() -> bool {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: an all-zero timex is valid and, with modes == 0, only asks.
    let (code, status) = unsafe {
        let code = libc::adjtimex(state.as_mut_ptr());
        (code, state.assume_init().status)
    };
    code >= 0 && status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_utc_with_microseconds() {
        let moment = parse("2026-02-11T15:30:00.123456+01:00").unwrap();
        assert_eq!(iso8601(moment), "2026-02-11T14:30:00.123456Z");
        assert_eq!(file_stamp(moment), "20260211T143000_123456Z");
        assert_eq!(parse(&iso8601(moment)), Some(moment));
        assert_eq!(of_file_stamp(&file_stamp(moment)), Some(moment));
        assert_eq!(of_file_stamp("20260211T143000"), None);
    }

    #[test]
    fn within_one_boot_the_wall_clock_may_jump() {
        let early = Moment {
            wall: parse("1970-01-01T00:00:10Z").unwrap(),
            monotonic_us: 10_000_000,
            boot_id: String::from("b"),
            synced: false,
        };
        let late = Moment {
            wall: parse("2026-01-01T00:00:00Z").unwrap(),
            monotonic_us: 25_000_000,
            ..early.clone()
        };
        assert_eq!(late.seconds_since(&early), Some(15));
        assert_eq!(early.seconds_since(&late), None);
        let other_boot = Moment {
            boot_id: String::from("c"),
            wall: parse("1970-01-01T00:01:10Z").unwrap(),
            ..early.clone()
        };
        assert_eq!(other_boot.seconds_since(&early), Some(60));
    }
}
