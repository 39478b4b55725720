//! Which frames of a stack are left to look at: without the panic's own, and without
//! what an interrupt handler broke into, if the handler is to blame.

use std::ops::Range;

use super::judge::{Judged, Kind};

/// The part of a stack that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Part {
    pub(super) frames: Range<usize>,
    /// The crash was in an interrupt handler.
    pub(super) in_interrupt: bool,
}

/// The part of `frames` that counts. A stack that an interrupt broke into has several;
/// the innermost in which there is a frame that counts is to blame, but for the task
/// watchdog, whose own interrupt never is (`of_task`).
pub(super) fn part(frames: &[Judged], of_task: bool, dump_says_interrupt: bool) -> Part {
    let mut start = 0;
    loop {
        let end = boundary(frames, start);
        let left = after_throw(frames, start..end);
        let is_last = end == frames.len();
        let to_blame = frames
            .get(left.clone())
            .is_some_and(|left| left.iter().any(Judged::counts));
        if is_last || (to_blame && !of_task) {
            let alone = start == 0 && is_last;
            return Part {
                frames: left,
                in_interrupt: to_blame && !of_task && (!is_last || (alone && dump_says_interrupt)),
            };
        }
        start = end;
        while frames
            .get(start)
            .is_some_and(|frame| frame.kind == Kind::Interrupt)
        {
            start += 1;
        }
    }
}

/// The panic's own frames: from the innermost to the outermost that throws, before
/// anything that an interrupt broke into.
pub(super) fn thrown(frames: &[Judged]) -> &[Judged] {
    let left = after_throw(frames, 0..boundary(frames, 0));
    frames.get(..left.start).unwrap_or_default()
}

/// The first frame from `start` on that belongs to an interrupt's entry or to what it
/// broke into.
fn boundary(frames: &[Judged], start: usize) -> usize {
    let interrupted = frames.get(start).is_some_and(|first| first.interrupted);
    let rest = frames.get(start..).unwrap_or_default();
    rest.iter()
        .position(|frame| frame.kind == Kind::Interrupt || frame.interrupted != interrupted)
        .map_or(frames.len(), |at| start + at)
}

fn after_throw(frames: &[Judged], range: Range<usize>) -> Range<usize> {
    let looked_at = frames.get(range.clone()).unwrap_or_default();
    let last = looked_at
        .iter()
        .rposition(|frame| frame.kind == Kind::Throw);
    range.start + last.map_or(0, |at| at + 1)..range.end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter for each frame; capitals are of what an interrupt broke into.
    fn frames(letters: &str) -> Vec<Judged> {
        let kind = |letter: char| match letter.to_ascii_lowercase() {
            't' => Kind::Throw,
            'i' => Kind::Interrupt,
            'b' => Kind::Base,
            's' => Kind::Skip,
            'p' => Kind::Prefix,
            _ => Kind::Application,
        };
        letters
            .chars()
            .map(|letter| Judged {
                name: letter.to_string(),
                kind: kind(letter),
                rule: None,
                guessed: false,
                interrupted: letter.is_uppercase(),
            })
            .collect()
    }

    #[test]
    fn the_panic_and_what_an_interrupt_broke_into_are_left_out() {
        for (stack, of_task, expected) in [
            ("ab", false, (0..2, false)),
            ("ttab", false, (2..4, false)),
            // a handler of the application's between two throw frames
            ("tatab", false, (3..5, false)),
            ("ttt", false, (3..3, false)),
            // an interrupt handler crashed
            ("apiab", false, (0..2, true)),
            ("taiab", false, (1..2, true)),
            ("apAB", false, (0..2, true)),
            ("piaiab", false, (0..1, true)),
            // nobody in the interrupt is to blame
            ("tsiab", false, (3..5, false)),
            ("siiab", false, (3..5, false)),
            ("tAB", false, (1..3, false)),
            // a throw frame below an interrupt cuts nothing above it
            ("aiatb", false, (0..1, true)),
            ("sita", false, (3..4, false)),
            // the task watchdog's interrupt
            ("tpiab", true, (3..5, false)),
            ("tpAB", true, (2..4, false)),
            ("", false, (0..0, false)),
            ("i", false, (1..1, false)),
        ] {
            let part = part(&frames(stack), of_task, false);
            assert_eq!((part.frames, part.in_interrupt), expected, "{stack}");
        }
    }

    #[test]
    fn the_dump_s_word_counts_where_the_stack_shows_no_interrupt() {
        assert!(part(&frames("ta"), false, true).in_interrupt);
        assert!(!part(&frames("ta"), true, true).in_interrupt);
        assert!(!part(&frames("tsiab"), false, true).in_interrupt);
    }

    #[test]
    fn the_panic_s_own_frames_are_those_before_an_interrupt() {
        for (stack, expected) in [("ttab", 2), ("tatb", 3), ("aitb", 0), ("tiab", 1)] {
            assert_eq!(thrown(&frames(stack)).len(), expected, "{stack}");
        }
    }
}
