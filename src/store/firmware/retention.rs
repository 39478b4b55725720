//! Which builds are removed: a decision over a list, without I/O.

use std::collections::BTreeMap;
use std::time::Duration;

/// What the decision needs to know of a stored build.
#[derive(Clone, Debug)]
pub struct StoredBuild {
    /// Whose it is; only equality counts.
    pub model: usize,
    /// Order of arrival.
    pub sequence: u64,
    /// How long it has been here; `None` if the clock cannot tell.
    pub age: Option<Duration>,
    /// Whether it is what devices are served now, the whole model or one by a pin.
    pub served: bool,
    /// When a device was last known to run it: how long ago, at most.
    pub last_run: Option<Duration>,
    /// Whether a stored dump is decoded with it.
    pub needed: bool,
}

/// A build that a device ran within this time stays.
pub const SEEN_WITHIN: Duration = Duration::from_secs(180 * DAY);
/// A build that is younger stays.
pub const YOUNG: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 60 * 60;

impl StoredBuild {
    fn is_protected(&self) -> bool {
        let is_young = self.age.is_none_or(|age| age < YOUNG);
        let was_run = self.last_run.is_some_and(|ago| ago <= SEEN_WITHIN);
        self.served || self.needed || is_young || was_run
    }
}

/// Chooses what to remove, oldest first: positions in `held`.
///
/// Of each model `keep` builds stay, the newest ones, and all that are protected.
pub fn plan(held: &[StoredBuild], keep: usize) -> Vec<usize> {
    let mut models: BTreeMap<usize, Vec<(u64, usize)>> = BTreeMap::new();
    for (at, build) in held.iter().enumerate() {
        let builds = models.entry(build.model).or_default();
        builds.push((build.sequence, at));
    }
    let mut removals = Vec::new();
    for mut builds in models.into_values() {
        builds.sort_unstable();
        let surplus = builds.len().saturating_sub(keep);
        let is_free = |at: &usize| held.get(*at).is_some_and(|build| !build.is_protected());
        // the newest ones are among those that stay even if older ones are protected
        let old = builds.into_iter().take(surplus).map(|(_, at)| at);
        removals.extend(old.filter(is_free));
    }
    removals
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn old(sequence: u64) -> StoredBuild {
        StoredBuild {
            model: 0,
            sequence,
            age: Some(YOUNG),
            served: false,
            last_run: None,
            needed: false,
        }
    }

    #[test]
    fn the_newest_stay_and_models_do_not_count_for_each_other() {
        let mut held = vec![old(3), old(1), old(2)];
        held.push(StoredBuild { model: 1, ..old(0) });
        assert_eq!(plan(&held, 2), [1]);
        assert_eq!(plan(&held, 1), [1, 2]);
        assert_eq!(plan(&held, 3), [0; 0]);
    }

    #[test]
    fn what_somebody_may_need_stays_however_old_it_is() {
        let newest = old(9);
        for protected in [
            StoredBuild {
                served: true,
                ..old(1)
            },
            StoredBuild {
                needed: true,
                ..old(1)
            },
            StoredBuild {
                age: Some(YOUNG - Duration::from_secs(1)),
                ..old(1)
            },
            StoredBuild {
                age: None,
                ..old(1)
            },
            StoredBuild {
                last_run: Some(SEEN_WITHIN),
                ..old(1)
            },
        ] {
            assert_eq!(
                plan(&[protected.clone(), newest.clone()], 1),
                [0; 0],
                "{protected:?}"
            );
        }
        let forgotten = StoredBuild {
            last_run: Some(SEEN_WITHIN + Duration::from_secs(1)),
            ..old(1)
        };
        assert_eq!(plan(&[forgotten, newest], 1), [0]);
    }

    proptest! {
        #[test]
        fn enough_stay_and_nothing_protected_goes(
            builds in proptest::collection::vec(
                (0_usize..3, any::<u64>(), 0_u64..60, any::<bool>(), proptest::option::of(0_u64..400), any::<bool>()),
                0..40,
            ),
            keep in 1_usize..12,
        ) {
            let held: Vec<StoredBuild> = builds
                .into_iter()
                .map(|(model, sequence, age, served, last_run, needed)| StoredBuild {
                    model,
                    sequence,
                    age: Some(Duration::from_secs(age * DAY)),
                    served,
                    last_run: last_run.map(|days| Duration::from_secs(days * DAY)),
                    needed,
                })
                .collect();
            let removed = plan(&held, keep);
            for at in &removed {
                prop_assert!(!held[*at].is_protected());
            }
            for model in 0..3 {
                let of_model = |at: &usize| held[*at].model == model;
                let before = (0..held.len()).filter(of_model).count();
                let gone = removed.iter().copied().filter(of_model).count();
                prop_assert!(before - gone >= keep.min(before));
                let free = (0..held.len()).filter(of_model).filter(|at| !held[*at].is_protected());
                let left_free: Vec<usize> = free.filter(|at| !removed.contains(at)).collect();
                prop_assert!(left_free.len() <= keep, "{} are left", left_free.len());
            }
        }
    }
}
