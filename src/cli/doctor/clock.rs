//! Whether the clock is right.

use time::OffsetDateTime;

use super::finding::Finding;
use crate::clock;

pub(super) fn findings() -> Vec<Finding> {
    check(clock::wall(), clock::is_synced())
}

fn check(now: OffsetDateTime, synced: bool) -> Vec<Finding> {
    const ADVICE: &str =
        "check `timedatectl`; allow NTP through the network, or install a clock module";
    if !clock::is_plausible(now) {
        let what = format!("clock is wrong: it says {}", now.date());
        return vec![Finding::error("clock", what, ADVICE)];
    }
    match synced {
        true => Vec::new(),
        false => vec![Finding::warning(
            "clock",
            "clock not synchronized; times of dumps are marked unsynced",
            ADVICE,
        )],
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn a_clock_of_1970_is_an_error_and_an_unsynced_one_a_warning() {
        let severity = |now, synced| check(now, synced).first().map(|f| f.severity);
        let now = clock::built_at();
        assert_eq!(
            severity(datetime!(1970-01-01 01:00 UTC), true),
            Some(Severity::Error)
        );
        assert_eq!(
            severity(datetime!(2300-01-01 00:00 UTC), true),
            Some(Severity::Error)
        );
        assert_eq!(severity(now, false), Some(Severity::Warning));
        assert_eq!(severity(now, true), None);
    }
}
