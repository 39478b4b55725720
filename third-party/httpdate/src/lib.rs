//! The part of the crate `httpdate` that hyper uses, for any clock.
//!
//! hyper renders the time whenever it polls a connection, also where it sends no
//! `Date`; the original panics then if the clock is before 1970 or after 9999.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A time as the `Date` header has it; before 1970 that is 1970's first second,
/// after 9999 that year's last.
pub struct HttpDate {
    seconds: u64,
}

const LAST: u64 = 253_402_300_799;
const DAY: u64 = 86_400;

impl From<SystemTime> for HttpDate {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: since.as_secs().min(LAST),
        }
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let (mut day, second) = (self.seconds / DAY, self.seconds % DAY);
        let weekday = WEEKDAYS[(day % 7) as usize];
        let mut year = 1970;
        while day >= days_of_year(year) {
            day -= days_of_year(year);
            year += 1;
        }
        let mut month = 0;
        while day >= days_of_month(year, month) {
            day -= days_of_month(year, month);
            month += 1;
        }
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{weekday}, {:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT",
            day + 1,
            MONTHS[month],
        )
    }
}

fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_of_month(year: u64, month: usize) -> u64 {
    const DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    DAYS[month] + u64::from(month == 1 && is_leap(year))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn any_time_has_29_characters_and_the_years_of_the_format_are_right() {
        let at = |seconds| HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_198_117, "Mon, 07 Nov 1994 08:48:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (LAST + 1, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(at(seconds), text);
            assert_eq!(text.len(), 29);
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(HttpDate::from(before).to_string(), at(0));
    }
}
