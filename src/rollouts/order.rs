//! Who gets a build first: the order of a rollout's members, and its waves.

use crate::device::DeviceKey;
use crate::store::rollouts::Wave;

/// A device of the model, as it is when the rollout starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    pub device: DeviceKey,
    /// What it says of its hardware.
    pub hw: Option<String>,
    /// Whether it may decide anything: see [`may_vote`].
    pub votes: bool,
    /// It is pinned, has the target already, or runs another build than the base: it is no
    /// canary unless it is named.
    pub is_neutral: bool,
    /// Whether it is heard regularly.
    pub is_regular: bool,
    /// Seconds since it was heard; `None`: never.
    pub unheard: Option<u64>,
}

/// Which devices get it first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Canaries {
    /// So many of those that were heard most recently and regularly, and one of each
    /// hardware.
    Count(usize),
    Named(Vec<DeviceKey>),
}

/// Why no order can be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Impossible {
    #[error("the model has no devices that could be updated")]
    NoDevices,
    #[error("{0} is no device of the model that could be updated")]
    NotAMember(DeviceKey),
    #[error(
        "no device can be a canary: all are pinned, have the build already, or are known by a \
         fleet token alone for less than 7 days; name one (--canary KEY)"
    )]
    NoCanary,
}

/// Whether what happens to a device decides anything. A fleet token is in every flash:
/// whoever has one can invent boards.
pub fn may_vote(has_own_credential: bool, known_days: u64, was_updated: bool) -> bool {
    has_own_credential || (known_days >= 7 && was_updated)
}

/// The members in order, canaries first, and how many canaries there are.
///
/// # Errors
/// [`Impossible`].
pub fn order(
    mut candidates: Vec<Candidate>,
    canaries: &Canaries,
) -> Result<(Vec<Candidate>, usize), Impossible> {
    if candidates.is_empty() {
        return Err(Impossible::NoDevices);
    }
    candidates.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.device.cmp(&b.device)));
    let chosen: Vec<DeviceKey> = match canaries {
        Canaries::Named(keys) => {
            let is_known = |key: &&DeviceKey| candidates.iter().any(|one| one.device == **key);
            if let Some(unknown) = keys.iter().find(|key| !is_known(key)) {
                return Err(Impossible::NotAMember((*unknown).clone()));
            }
            keys.clone()
        }
        Canaries::Count(count) => choose(&candidates, (*count).max(1)),
    };
    if chosen.is_empty() {
        return Err(Impossible::NoCanary);
    }
    let (mut first, rest): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|one| chosen.contains(&one.device));
    let place = |one: &Candidate| chosen.iter().position(|key| *key == one.device);
    first.sort_by_key(place);
    let count = first.len();
    for canary in &mut first {
        // whoever names a board trusts it
        canary.votes |= matches!(canaries, Canaries::Named(_));
    }
    first.extend(rest);
    Ok((first, count))
}

/// Smaller comes first.
fn rank(one: &Candidate) -> (bool, bool, bool, u64) {
    (
        !one.votes || one.is_neutral,
        one.unheard.is_none(),
        !one.is_regular,
        one.unheard.unwrap_or(u64::MAX),
    )
}

fn choose(ordered: &[Candidate], count: usize) -> Vec<DeviceKey> {
    let able = || ordered.iter().filter(|one| one.votes && !one.is_neutral);
    // not all of a small fleet
    let count = count.min(able().count().div_ceil(2));
    let mut kinds: Vec<Option<&str>> = Vec::new();
    let mut chosen: Vec<DeviceKey> = Vec::new();
    for one in able() {
        let hw = one.hw.as_deref();
        if !kinds.contains(&hw) {
            kinds.push(hw);
            chosen.push(one.device.clone());
        }
    }
    let more = able().filter(|one| !chosen.contains(&one.device));
    let missing = count.saturating_sub(chosen.len());
    let more: Vec<_> = more.take(missing).map(|one| one.device.clone()).collect();
    chosen.extend(more);
    chosen
}

/// The waves: the canaries, then cumulative shares (percent) of all members, rounded up;
/// shares that add nobody make no wave.
pub fn waves(members: usize, canaries: usize, shares: &[f64]) -> Vec<Wave> {
    let mut waves = vec![wave(share_of(canaries, members), canaries)];
    let mut last = canaries;
    for share in shares {
        let count = rounded_up(members, *share);
        if count > last {
            waves.push(wave(*share, count));
            last = count;
        }
    }
    if last < members {
        waves.push(wave(100.0, members));
    }
    waves
}

fn wave(share: f64, members: usize) -> Wave {
    Wave {
        share,
        members,
        released_at: None,
        released_s: None,
        over_at: None,
        too_few_at: None,
    }
}

#[allow(clippy::cast_precision_loss)]
fn share_of(part: usize, all: usize) -> f64 {
    (part as f64 / all.max(1) as f64 * 1000.0).round() / 10.0
}

/// So many percent of `members`, rounded up.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
pub(super) fn rounded_up(members: usize, percent: f64) -> usize {
    // 7 % of 100 are 7, whatever binary fractions say
    let exact = members as f64 * percent / 100.0;
    ((exact - 1e-9).ceil().max(0.0) as usize).min(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(key: &str, hw: &str, unheard: u64) -> Candidate {
        Candidate {
            device: key.parse().unwrap(),
            hw: Some(hw.to_owned()),
            votes: true,
            is_neutral: false,
            is_regular: true,
            unheard: Some(unheard),
        }
    }

    fn keys(ordered: &[Candidate]) -> Vec<&str> {
        ordered.iter().map(|one| one.device.as_str()).collect()
    }

    #[test]
    fn canaries_are_those_heard_last_and_one_of_each_hardware() {
        let all = vec![
            candidate("a", "rev-a", 50),
            candidate("b", "rev-a", 10),
            candidate("c", "rev-b", 90),
            candidate("d", "rev-a", 20),
            candidate("e", "rev-a", 30),
        ];
        let (ordered, count) = order(all.clone(), &Canaries::Count(3)).unwrap();
        assert_eq!(count, 3);
        assert_eq!(keys(&ordered), ["b", "c", "d", "e", "a"]);
        let named = Canaries::Named(vec!["e".parse().unwrap(), "a".parse().unwrap()]);
        let (ordered, count) = order(all.clone(), &named).unwrap();
        assert_eq!(count, 2);
        assert_eq!(keys(&ordered), ["e", "a", "b", "d", "c"]);
        let unknown = Canaries::Named(vec!["x".parse().unwrap()]);
        let key = "x".parse().unwrap();
        assert_eq!(order(all, &unknown), Err(Impossible::NotAMember(key)));
    }

    #[test]
    fn boards_that_anybody_can_invent_are_no_canaries_unless_named() {
        let mut invented = candidate("a", "x", 0);
        invented.votes = false;
        let all = vec![invented.clone(), candidate("b", "x", 1000)];
        let (ordered, count) = order(all.clone(), &Canaries::Count(2)).unwrap();
        assert_eq!((keys(&ordered), count), (vec!["b", "a"], 1));
        assert_eq!(
            order(vec![invented], &Canaries::Count(1)),
            Err(Impossible::NoCanary)
        );
        let named = Canaries::Named(vec!["a".parse().unwrap()]);
        let (ordered, _) = order(all, &named).unwrap();
        assert!(ordered[0].votes && ordered[0].device.as_str() == "a");
        assert!(may_vote(true, 0, false) && may_vote(false, 7, true));
        assert!(!may_vote(false, 6, true) && !may_vote(false, 7, false));
    }

    #[test]
    fn waves_are_shares_rounded_up_with_the_canaries_in_them() {
        for (members, canaries, expected) in [
            (1, 1, vec![1]),
            (5, 2, vec![2, 3, 5]),
            (10, 2, vec![2, 5, 10]),
            (100, 2, vec![2, 10, 50, 100]),
            (500, 3, vec![3, 50, 250, 500]),
        ] {
            let found = waves(members, canaries, &[10.0, 50.0, 100.0]);
            let found: Vec<usize> = found.iter().map(|wave| wave.members).collect();
            assert_eq!(found, expected, "{members}");
        }
        let found = waves(10, 1, &[30.0]);
        assert_eq!(found.last().map(|wave| wave.members), Some(10));
        assert_eq!(rounded_up(100, 7.0), 7);
    }
}
