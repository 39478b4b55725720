//! How far a wave is, as a bar and in words.

use crate::api::rollouts::Member;

/// Columns of a bar.
const BAR: usize = 12;
/// What the signs in a bar mean.
pub(super) const LEGEND: &str = "# soaked, + runs it, x failed, - takes no part, . not yet";

/// Devices of a wave by how far they are.
pub(super) struct Counts {
    soaked: usize,
    running: usize,
    failed: usize,
    neutral: usize,
    back: usize,
    left: usize,
}

impl Counts {
    pub(super) fn of(members: &[&Member]) -> Self {
        let count = |states: &[&str]| {
            let members = members.iter();
            members
                .filter(|member| states.contains(&member.state.as_str()))
                .count()
        };
        let soaked = count(&["soaked"]);
        let running = count(&["running", "has-it"]);
        let failed = count(&["crashed", "looping", "reverted", "lost", "stranded"]);
        let neutral = count(&["pinned", "incompatible", "retired", "refused"]);
        let back = count(&["back"]);
        Self {
            soaked,
            running,
            failed,
            neutral,
            back,
            left: members.len() - soaked - running - failed - neutral - back,
        }
    }

    /// `1 failed, 2 soaked`
    pub(super) fn in_words(&self, is_over: bool) -> String {
        let left = if is_over { "not given" } else { "not yet" };
        let words = [
            (self.failed, "failed"),
            (self.soaked, "soaked"),
            (self.running, "run it"),
            (self.back, "back"),
            (self.neutral, "no part"),
            (self.left, left),
        ];
        let words = words.iter().filter(|(count, _)| *count > 0);
        let words: Vec<String> = words
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        words.join(", ")
    }

    /// `[######++x...]`. What failed is seen, however few they are among many.
    pub(super) fn bar(&self) -> String {
        let all = self.soaked + self.running + self.failed + self.neutral + self.back + self.left;
        let of = |count: usize| (count * BAR).checked_div(all).unwrap_or(0);
        let failed = match self.failed {
            0 => 0,
            some => of(some).max(1),
        };
        let mut bar = String::new();
        let parts = [
            ('#', of(self.soaked)),
            ('+', of(self.running)),
            ('x', failed),
            ('-', of(self.neutral + self.back)),
        ];
        for (sign, count) in parts {
            bar.extend(std::iter::repeat_n(sign, count));
        }
        let is_complete = self.left == 0;
        // shares are rounded down: nothing is left of a wave in which everybody has an end
        let last = bar.chars().last().filter(|_| is_complete);
        let rest = last.unwrap_or('.');
        let missing = BAR.saturating_sub(bar.len());
        bar.extend(std::iter::repeat_n(rest, missing));
        bar.truncate(BAR);
        format!("[{bar}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(state: &str) -> Member {
        Member {
            state: state.to_owned(),
            ..Member::default()
        }
    }

    #[test]
    fn one_failure_among_many_is_seen_in_the_bar() {
        let bar = |soaked: usize, failed: usize, left: usize| {
            let states = [("soaked", soaked), ("crashed", failed), ("eligible", left)];
            let members: Vec<Member> = states
                .iter()
                .flat_map(|(state, count)| (0..*count).map(|_| member(state)))
                .collect();
            Counts::of(&members.iter().collect::<Vec<_>>()).bar()
        };
        for (soaked, failed, left, expected) in [
            (0, 0, 0, "[............]"),
            (2, 0, 0, "[############]"),
            (7, 0, 0, "[############]"),
            (99, 1, 0, "[###########x]"),
            (0, 1, 99, "[x...........]"),
            (1, 1, 2, "[###xxx......]"),
        ] {
            assert_eq!(
                bar(soaked, failed, left),
                expected,
                "{soaked} {failed} {left}"
            );
        }
    }
}
