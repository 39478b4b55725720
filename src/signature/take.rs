//! The frames that make a signature.

use super::class::Taken;
use super::judge::{Judged, Kind};

/// The numbers of the frames of `frames` that are taken, from the innermost: of a run of
/// prefix frames the outermost, which is what the application asked for, and as many
/// application frames as the class takes. What lies below the last of them called the
/// application and does not count. Without an application frame it is the outermost
/// prefix frame alone.
pub(super) fn take(frames: &[Judged], taken: Taken) -> Vec<usize> {
    let mut numbers = Vec::new();
    let mut asked_for = None;
    let mut own = 0;
    for (number, frame) in frames.iter().enumerate() {
        match frame.kind {
            Kind::Prefix => asked_for = Some(number),
            Kind::Application => {
                let asked_for = asked_for.take().filter(|_| taken.prefix);
                numbers.extend(asked_for);
                numbers.push(number);
                own += 1;
                if own == taken.application {
                    break;
                }
            }
            _ => {}
        }
    }
    if own == 0 {
        numbers.extend(asked_for);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(letters: &str, prefix: bool, application: usize) -> String {
        let frames: Vec<Judged> = letters
            .chars()
            .map(|letter| Judged {
                name: letter.to_string(),
                kind: match letter {
                    'a'..='e' => Kind::Application,
                    'p'..='r' => Kind::Prefix,
                    's' => Kind::Skip,
                    '=' => Kind::Repeated,
                    '0' => Kind::Rom,
                    _ => Kind::Base,
                },
                rule: None,
                guessed: false,
                interrupted: false,
            })
            .collect();
        let numbers = take(
            &frames,
            Taken {
                prefix,
                application,
            },
        );
        numbers
            .into_iter()
            .map(|number| frames[number].name.as_str())
            .collect()
    }

    #[test]
    fn the_frames_taken_are_what_was_asked_for_and_by_whom() {
        for (stack, expected) in [
            ("abz", "ab"),
            ("abcd", "abc"),
            ("pqa", "qa"),
            ("psqa", "qa"),
            ("p0qa", "qa"),
            ("papb", "papb"),
            // what called the application
            ("abpq", "ab"),
            ("a==b", "ab"),
            ("pq", "q"),
            ("szz", ""),
            ("", ""),
        ] {
            assert_eq!(taken(stack, true, 3), expected, "{stack}");
        }
        assert_eq!(taken("pqab", true, 1), "qa");
        assert_eq!(taken("pqab", false, 1), "a");
        assert_eq!(taken("pq", false, 1), "q");
    }
}
