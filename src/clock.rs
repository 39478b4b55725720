//! The time, and whether the clock is synchronized.
//!
//! A Raspberry Pi has no clock of its own: until time is synced the wall clock
//! may be years off. So a moment also carries the boot it belongs to and the
//! time since that boot.
//!
//! A time that cannot be, before this program was built or after 2261, is an
//! unsynchronized clock whatever the kernel says. What has to compare with the
//! date all the same (certificates, expiry) uses [`plausible`].

use std::fs;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc;
use nix::time::{ClockId, clock_gettime};
use time::format_description::well_known::Rfc3339;
use time::macros::{datetime, format_description};
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
    /// Whether the kernel considers the wall clock synchronised, and it can be right.
    pub synced: bool,
}

impl Moment {
    /// Reads the clocks.
    pub fn now() -> Self {
        let wall = wall();
        Self {
            wall,
            monotonic_us: monotonic_us(),
            boot_id: boot_id().to_owned(),
            synced: is_plausible(wall) && kernel_is_synced(),
        }
    }

    /// Seconds that passed since an earlier moment: by the boot's own clock if
    /// both belong to one boot, by the wall clock otherwise; `None` if that
    /// would be negative, or the wall clock is not [plausible](is_plausible).
    pub fn seconds_since(&self, earlier: &Self) -> Option<u64> {
        if self.boot_id == earlier.boot_id {
            return Some(self.monotonic_us.checked_sub(earlier.monotonic_us)? / 1_000_000);
        }
        if !is_plausible(self.wall) {
            return None;
        }
        u64::try_from((self.wall - earlier.wall).whole_seconds()).ok()
    }

    /// `clock` of a sidecar.
    pub fn clock_word(&self) -> &'static str {
        if self.synced { "synced" } else { "unsynced" }
    }
}

/// The wall clock, UTC, whole microseconds.
pub fn wall() -> OffsetDateTime {
    let Ok(since) = clock_gettime(ClockId::CLOCK_REALTIME) else {
        return OffsetDateTime::UNIX_EPOCH;
    };
    let micros = i128::from(since.tv_sec()) * 1_000_000 + i128::from(since.tv_nsec() / 1000);
    of_micros(micros)
}

/// A time that may be outside of what dates are written in here.
fn of_micros(micros: i128) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(micros.saturating_mul(1000)).unwrap_or(
        match micros < 0 {
            true => EARLIEST_DATE,
            false => LATEST_DATE,
        },
    )
}

/// When this program was built.
pub fn built_at() -> OffsetDateTime {
    let seconds = env!("ESPGATE_BUILT_AT").parse().unwrap_or_default();
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Whether the wall clock can be right when it says `wall`.
pub fn is_plausible(wall: OffsetDateTime) -> bool {
    (built_at()..END).contains(&wall)
}

/// The time to compare dates with: the wall clock, or if that cannot be right when
/// this program was built.
pub fn plausible() -> OffsetDateTime {
    Some(wall())
        .filter(|wall| is_plausible(*wall))
        .unwrap_or_else(built_at)
}

/// Where 64 bits of nanoseconds end, in whole years.
const END: OffsetDateTime = datetime!(2262-01-01 00:00 UTC);
const EARLIEST_DATE: OffsetDateTime = datetime!(0000-01-01 00:00 UTC);
const LATEST_DATE: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

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

/// Minutes after midnight, local time, of a moment.
pub fn local_minute(moment: OffsetDateTime) -> u16 {
    let parts = local(moment);
    u16::try_from(parts.tm_hour * 60 + parts.tm_min).unwrap_or(0)
}

/// A time of [`iso8601`] as people at the site read it: `14:02` today, else `11-26 14:02`.
pub fn local_short(text: &str) -> String {
    let Some(moment) = parse(text) else {
        return text.to_owned();
    };
    let (then, now) = (local(moment), local(wall()));
    let time = format!("{:02}:{:02}", then.tm_hour, then.tm_min);
    match (then.tm_yday, then.tm_year) == (now.tm_yday, now.tm_year) {
        true => time,
        false => format!("{:02}-{:02} {time}", then.tm_mon + 1, then.tm_mday),
    }
}

#[expect(
    unsafe_code,
    reason = "localtime_r knows the time zone; no crate in use wraps it"
)]
fn local(moment: OffsetDateTime) -> libc::tm {
    let seconds: libc::time_t = moment.unix_timestamp();
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both point to values of this frame; an all-zero tm is valid.
    unsafe {
        libc::localtime_r(&raw const seconds, parts.as_mut_ptr());
        parts.assume_init()
    }
}

/// Whether the clock can be right and the kernel considers it synchronised.
pub fn is_synced() -> bool {
    is_plausible(wall()) && kernel_is_synced()
}

/// By NTP, PTP or a GPS daemon: each clears `STA_UNSYNC`.
#[expect(
    unsafe_code,
    reason = "adjtimex is the one place that knows, whichever daemon syncs; no crate in use wraps it"
)]
fn kernel_is_synced() -> bool {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: an all-zero timex is valid and, with modes == 0, only asks.
    let (code, status) = unsafe {
        let code = libc::adjtimex(state.as_mut_ptr());
        (code, state.assume_init().status)
    };
    code >= 0 && status & libc::STA_UNSYNC == 0
}

/// When the wall clock jumped last, as far as somebody noticed.
#[derive(Debug, Default)]
pub struct ClockJump(AtomicU64);

impl ClockJump {
    /// What is judged by age waits for so long after a jump, seconds.
    const WAIT: u64 = 24 * 3600;

    /// It jumped just now.
    pub fn note(&self) {
        self.0
            .store(monotonic_us() / 1_000_000 + 1, Ordering::Relaxed);
    }

    /// Whether ages are not to be trusted: nothing is removed by them.
    pub fn is_recent(&self) -> bool {
        let at = self.0.load(Ordering::Relaxed);
        at > 0 && (monotonic_us() / 1_000_000).saturating_sub(at) < Self::WAIT
    }
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
        let built = built_at();
        let of_boot = |boot: &str, seconds| Moment {
            boot_id: boot.to_owned(),
            wall: built + time::Duration::seconds(seconds),
            ..early.clone()
        };
        assert_eq!(of_boot("c", 60).seconds_since(&of_boot("b", 0)), Some(60));
        assert_eq!(of_boot("c", 0).seconds_since(&of_boot("b", 60)), None);
        assert_eq!(of_boot("c", -1).seconds_since(&of_boot("b", -61)), None);
    }

    #[test]
    fn a_clock_before_the_build_or_after_2261_cannot_be_right() {
        let built = built_at();
        assert!(built > datetime!(2025-01-01 00:00 UTC), "{built}");
        let second = time::Duration::SECOND;
        for (wall, expected) in [
            (datetime!(1969-12-31 23:59:59 UTC), false),
            (datetime!(1970-01-01 00:00 UTC), false),
            (built - second, false),
            (built, true),
            (datetime!(2261-12-31 23:59:59 UTC), true),
            (datetime!(2262-01-01 00:00 UTC), false),
            (datetime!(2262-04-11 23:47:17 UTC), false),
            (LATEST_DATE, false),
        ] {
            assert_eq!(is_plausible(wall), expected, "{wall}");
        }
        assert!(is_plausible(plausible()));
    }

    #[test]
    fn any_clock_is_a_date_that_can_be_written_and_read() {
        for micros in [
            i128::from(i64::MIN) * 1_000_000,
            -62_135_596_801_000_000,
            -1,
            0,
            999_999,
            9_223_372_036_854_775_807,
            253_402_300_799_999_999,
            253_402_300_800_000_000,
            i128::from(i64::MAX) * 1_000_000,
        ] {
            let wall = of_micros(micros);
            assert_eq!(parse(&iso8601(wall)), Some(wall), "{micros}");
            assert_eq!(of_file_stamp(&file_stamp(wall)), Some(wall), "{micros}");
        }
    }
}
