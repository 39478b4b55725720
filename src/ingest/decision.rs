//! Whether a dump is new, a duplicate, or part of a crash loop: a decision over
//! the device's index, without I/O.

use crate::clock::Moment;
use crate::coredump::Examination;
use crate::store::compact::{DumpId, Fingerprint};
use crate::store::coredumps::Entry;

/// Beyond the first few, one body of a crash is written in this time, seconds.
const BODY_INTERVAL: u64 = 600;

/// Dumps without a fingerprint that are stored of one device in a day.
const MOST_UNKNOWN: usize = 20;
const DAY: u64 = 24 * 3600;

/// What to do with a dump.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    Store,
    /// The same dump is held under `stem`.
    SeenAgain {
        stem: String,
    },
    /// The same crash was written lately, or enough dumps without a fingerprint;
    /// `stem` is the newest of them.
    Count {
        stem: String,
    },
}

/// The rule for crash loops.
#[derive(Clone, Copy, Debug)]
pub struct Thinning {
    /// A person asked for the dump: it is stored, however many there are.
    pub requested: bool,
    /// Number of dumps of a crash that are always stored.
    pub keep_first: usize,
}

/// Decides; `entries` are the device's dumps, oldest first.
pub fn decide(
    entries: &[Entry],
    id: &str,
    found: &Examination,
    now: &Moment,
    thinning: Thinning,
) -> Decision {
    let id = DumpId::from(id);
    if let Some(same) = entries.iter().find(|entry| entry.id == id) {
        return Decision::SeenAgain {
            stem: same.stem.to_string(),
        };
    }
    if thinning.requested {
        return Decision::Store;
    }
    let Some(fingerprint) = found.fingerprint.as_ref().map(Fingerprint::from) else {
        return decide_unknown(entries, found, now);
    };
    let crash: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.fingerprint.as_ref() == Some(&fingerprint))
        .collect();
    let best = crash.iter().map(|entry| entry.verdict.rank()).max();
    let (Some(newest), Some(best)) = (crash.last(), best) else {
        return Decision::Store;
    };
    if crash.len() < thinning.keep_first || found.verdict.rank() > best {
        return Decision::Store;
    }
    match seconds_since(newest, now) {
        Some(seconds) if seconds < BODY_INTERVAL => Decision::Count {
            stem: newest.stem.to_string(),
        },
        _ => Decision::Store,
    }
}

/// Nothing tells whether dumps without a fingerprint are of one crash: so many a
/// day are stored, and each that is better than those.
fn decide_unknown(entries: &[Entry], found: &Examination, now: &Moment) -> Decision {
    // a time that is not known counts as today: what is stored stays bounded
    let is_today = |entry: &&Entry| seconds_since(entry, now).is_none_or(|passed| passed < DAY);
    let unknown = entries.iter().filter(|entry| entry.fingerprint.is_none());
    let today: Vec<&Entry> = unknown.filter(is_today).collect();
    let best = today.iter().map(|entry| entry.verdict.rank()).max();
    match today.last() {
        Some(newest) if today.len() >= MOST_UNKNOWN && Some(found.verdict.rank()) <= best => {
            Decision::Count {
                stem: newest.stem.to_string(),
            }
        }
        _ => Decision::Store,
    }
}

fn seconds_since(entry: &Entry, now: &Moment) -> Option<u64> {
    let then = Moment {
        wall: entry.uploaded_at.time()?,
        monotonic_us: entry.monotonic_us().unwrap_or(0),
        boot_id: entry
            .origin
            .boot_id
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
        synced: false,
    };
    now.seconds_since(&then)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::parse;
    use crate::coredump::Verdict;
    use crate::store::coredumps::sample_sidecar;

    const THREE: Thinning = Thinning {
        requested: false,
        keep_first: 3,
    };

    fn entry(id: &str, minute: u64) -> Entry {
        let mut sidecar = sample_sidecar(id, minute);
        sidecar.fingerprint = Some(String::from("f"));
        sidecar.verdict = Verdict::Valid.to_string();
        sidecar.uploaded_at = String::from("2026-01-01T00:00:00Z");
        sidecar.boot_id = Some(String::from("b"));
        sidecar.monotonic_us = Some(minute * 60_000_000);
        Entry::of(&format!("coredump_{id}"), &sidecar, 1)
    }

    fn now(minute: u64) -> Moment {
        Moment {
            wall: parse("1970-01-01T00:00:00Z").unwrap(),
            monotonic_us: minute * 60_000_000,
            boot_id: String::from("b"),
            synced: false,
        }
    }

    fn found(fingerprint: Option<&str>, verdict: Verdict) -> Examination {
        Examination {
            fingerprint: fingerprint.map(str::to_owned),
            ..Examination::unknown(verdict)
        }
    }

    #[test]
    fn crash_loops_are_written_thrice_and_then_every_ten_minutes() {
        let three = [entry("a", 1), entry("b", 2), entry("c", 3)];
        let counted = Decision::Count {
            stem: String::from("coredump_c"),
        };
        let again = Decision::SeenAgain {
            stem: String::from("coredump_a"),
        };
        let valid = found(Some("f"), Verdict::Valid);
        for (held, id, found, minute, expected) in [
            (&three[..0], "x", &valid, 4, Decision::Store),
            (&three[..2], "x", &valid, 4, Decision::Store),
            (&three[..], "x", &valid, 4, counted.clone()),
            (&three[..], "x", &valid, 12, counted.clone()),
            (&three[..], "x", &valid, 13, Decision::Store),
            (&three[..], "a", &valid, 4, again),
            (
                &three[..],
                "x",
                &found(None, Verdict::Valid),
                4,
                Decision::Store,
            ),
            (
                &three[..],
                "x",
                &found(Some("g"), Verdict::Valid),
                4,
                Decision::Store,
            ),
            (
                &three[..],
                "x",
                &found(Some("f"), Verdict::Truncated),
                4,
                counted,
            ),
        ] {
            let decision = decide(held, id, found, &now(minute), THREE);
            assert_eq!(decision, expected, "{id} at minute {minute}");
        }
    }

    #[test]
    fn what_a_person_asked_for_is_written_unless_the_same_bytes_are_held() {
        let three = [entry("a", 1), entry("b", 2), entry("c", 3)];
        let requested = Thinning {
            requested: true,
            ..THREE
        };
        for verdict in [Verdict::Valid, Verdict::Truncated] {
            let found = found(Some("f"), verdict);
            let decision = decide(&three, "x", &found, &now(4), requested);
            assert_eq!(decision, Decision::Store, "{verdict}");
            let stem = String::from("coredump_b");
            let decision = decide(&three, "b", &found, &now(4), requested);
            assert_eq!(decision, Decision::SeenAgain { stem }, "{verdict}");
        }
    }

    #[test]
    fn of_dumps_without_a_fingerprint_twenty_a_day_are_written_and_each_better_one() {
        let mut held: Vec<Entry> = (0..20).map(|n| entry(&n.to_string(), n)).collect();
        for entry in &mut held {
            entry.fingerprint = None;
            entry.verdict = Verdict::NotACoredump;
        }
        let decide = |held: &[Entry], verdict, minute| {
            decide(held, "x", &found(None, verdict), &now(minute), THREE)
        };
        let counted = Decision::Count {
            stem: String::from("coredump_19"),
        };
        let day = 24 * 60;
        for (held, verdict, minute, expected) in [
            (&held[..19], Verdict::NotACoredump, 20, Decision::Store),
            (&held[..], Verdict::NotACoredump, 20, counted.clone()),
            (&held[..], Verdict::NotACoredump, day - 1, counted.clone()),
            (&held[..], Verdict::NotACoredump, day, Decision::Store),
            (&held[..], Verdict::PanicOnly, 20, Decision::Store),
        ] {
            let decision = decide(held, verdict, minute);
            assert_eq!(decision, expected, "{verdict} at minute {minute}");
        }
        // of an earlier boot, and the clock does not know: as today
        for entry in &mut held {
            Arc::make_mut(&mut entry.origin).boot_id = Some("a".into());
        }
        assert_eq!(decide(&held, Verdict::NotACoredump, 9 * day), counted);
        // others do not count
        for entry in &mut held {
            entry.fingerprint = Some("f".into());
        }
        assert_eq!(decide(&held, Verdict::NotACoredump, 20), Decision::Store);
    }

    #[test]
    fn a_better_copy_of_a_crash_is_always_written() {
        let mut three = [entry("a", 1), entry("b", 2), entry("c", 3)];
        for entry in &mut three {
            entry.verdict = Verdict::Truncated;
        }
        let decision = decide(
            &three,
            "x",
            &found(Some("f"), Verdict::Valid),
            &now(4),
            THREE,
        );
        assert_eq!(decision, Decision::Store);
    }
}
