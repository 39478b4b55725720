//! The state of a group: what was decided, and what was seen since.

use std::sync::Arc;

use time::Duration;

use crate::store::compact::Fingerprint;
use crate::store::crashes::{At, Group, Member, Regression, State};

/// The state at `now`.
pub fn of(group: &Group, now: At) -> State {
    let Some(decided) = &group.decided else {
        return State::Open;
    };
    match decided.state.known() {
        Some(State::Resolved) if group.regression.is_some() => State::Regressed,
        Some(State::Resolved) => State::Resolved,
        Some(State::Ignored) => {
            let until = decided.until.as_deref().and_then(Until::parse);
            let since = group.occurrences.saturating_sub(decided.occurrences);
            let is_over = match until {
                Some(Until::Occurrences(count)) => since >= count,
                Some(Until::Days(days)) => now.time() >= decided.at.time() + Duration::days(days),
                None => group.regression.is_some(),
            };
            if is_over { State::Open } else { State::Ignored }
        }
        Some(State::Open | State::Regressed) | None => State::Open,
    }
}

/// Notes that a fingerprint was seen on `device` at `at`, after the decision, in a build that was not
/// known when the group was resolved, or ignored until a build. Old builds, and
/// those without a stored bundle, only count. Whether this is the first time.
pub(super) fn note_regression(
    group: &mut Group,
    fingerprint: &Fingerprint,
    device: &str,
    at: At,
) -> bool {
    let Some(decided) = &group.decided else {
        return false;
    };
    let watches = match decided.state.known() {
        Some(State::Resolved) => true,
        Some(State::Ignored) => {
            let until = decided.until.as_deref();
            until.is_some_and(|until| Until::parse(until).is_none())
        }
        _ => false,
    };
    let Some(member) = group.fingerprints.get(fingerprint) else {
        return false;
    };
    if !watches || group.regression.is_some() {
        return false;
    }
    let Some(build_id) = unknown_build(member, &group.resolved_builds) else {
        return false;
    };
    group.regression = Some(Regression {
        at,
        device: device.to_owned(),
        build_id,
        announced: false,
    });
    true
}

/// A build of `member`, if it has stored ones and none is in `known`.
fn unknown_build(member: &Member, known: &[String]) -> Option<String> {
    let is_known = |build: &Arc<str>| known.iter().any(|known| **known == **build);
    let is_known = member.builds.iter().any(is_known);
    if is_known {
        return None;
    }
    member.builds.first().map(|build| build.to_string())
}

/// When an ignored group opens again, other than by a build.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Until {
    /// `100x`: after so many more.
    Occurrences(u64),
    /// `10d`
    Days(i64),
}

impl Until {
    /// Reads `100x` or `10d`; at most a million or 3650 days.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        if let Some(count) = text.strip_suffix('x') {
            let count = count.parse().ok()?;
            return (1..=1_000_000)
                .contains(&count)
                .then_some(Self::Occurrences(count));
        }
        let days = text.strip_suffix('d')?.parse().ok()?;
        (1..=3650).contains(&days).then_some(Self::Days(days))
    }
}
