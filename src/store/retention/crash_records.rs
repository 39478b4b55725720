//! Which crashes are forgotten: what is known of one outlives its dumps, but a
//! board that crashes in a new way each time must not fill the disk with files.

/// Crashes of one device that are remembered.
pub const MAX_CRASHES: usize = 200;

/// One crash of a device, as far as the decision needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownCrash {
    pub fingerprint: String,
    /// ISO 8601, UTC.
    pub last_seen: String,
    /// Whether a dump of it is stored.
    pub has_dump: bool,
}

/// The fingerprints to forget: those seen longest ago beyond `keep`, but never
/// one that a stored dump belongs to.
pub fn surplus_crashes(mut known: Vec<KnownCrash>, keep: usize) -> Vec<String> {
    let surplus = known.len().saturating_sub(keep);
    known.retain(|crash| !crash.has_dump);
    known.sort_by(|a, b| a.last_seen.cmp(&b.last_seen));
    known.truncate(surplus);
    known.into_iter().map(|crash| crash.fingerprint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(minute: u32, has_dump: bool) -> KnownCrash {
        KnownCrash {
            fingerprint: format!("f{minute}"),
            last_seen: format!("2026-01-01T00:{minute:02}:00Z"),
            has_dump,
        }
    }

    #[test]
    fn the_crashes_seen_longest_ago_are_forgotten_unless_they_have_a_dump() {
        let known = vec![
            crash(5, false),
            crash(1, true),
            crash(2, false),
            crash(4, false),
            crash(3, true),
        ];
        for (keep, forgotten) in [
            (5, vec![]),
            (4, vec!["f2"]),
            (3, vec!["f2", "f4"]),
            (0, vec!["f2", "f4", "f5"]),
        ] {
            assert_eq!(surplus_crashes(known.clone(), keep), forgotten, "{keep}");
        }
    }
}
