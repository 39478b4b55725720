//! Which crashes are forgotten: what is known of one outlives its dumps, but a
//! board that crashes in a new way each time must not fill the disk with files.

use crate::store::compact::Fingerprint;
use crate::store::coredumps::KnownCrash;

/// Crashes of one device that are remembered.
pub const MAX_CRASHES: usize = 200;

/// The fingerprints to forget of crashes `without` a stored dump: the `surplus` of them
/// that were seen longest ago.
pub fn surplus_crashes(mut without: Vec<&KnownCrash>, surplus: usize) -> Vec<Fingerprint> {
    without.sort_by_key(|crash| &crash.last_seen);
    without.truncate(surplus);
    without
        .into_iter()
        .map(|crash| crash.fingerprint.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(minute: u32) -> KnownCrash {
        KnownCrash {
            fingerprint: format!("f{minute}").into(),
            last_seen: format!("2026-01-01T00:{minute:02}:00Z").into(),
            occurrences: 1,
        }
    }

    #[test]
    fn the_crashes_seen_longest_ago_are_forgotten() {
        let known = [5, 2, 4].map(crash);
        for (surplus, forgotten) in [
            (0, vec![]),
            (1, vec!["f2"]),
            (2, vec!["f2", "f4"]),
            (5, vec!["f2", "f4", "f5"]),
        ] {
            let found = surplus_crashes(known.iter().collect(), surplus);
            assert_eq!(found, forgotten, "{surplus}");
        }
    }
}
