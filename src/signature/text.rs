//! A signature's text and its hashes.

use super::ALGORITHM;
use crate::digest::Sha256;

/// Class and frames in one line of at most 255 characters.
pub(super) fn text(class: &str, frames: &[String]) -> String {
    let mut text = class.to_owned();
    for frame in frames {
        text.push_str(" | ");
        text.push_str(frame);
    }
    match text.char_indices().nth(TEXT_LIMIT) {
        None => text,
        Some(_) => {
            let cut = text
                .char_indices()
                .nth(TEXT_LIMIT - 3)
                .map_or(0, |(at, _)| at);
            text.truncate(cut);
            text.push_str("...");
            text
        }
    }
}

/// 16 hex digits over the algorithm, model, class and frames, none of which has a line
/// break in it.
pub(super) fn hash<'n>(
    model: &str,
    class: &str,
    frames: impl IntoIterator<Item = &'n str>,
) -> String {
    let mut text = format!("{ALGORITHM}\n{model}\n{class}");
    for frame in frames {
        text.push('\n');
        text.push_str(frame);
    }
    Sha256::of(text.as_bytes()).short(16)
}

/// Characters of a text, which is also a file's name's limit in many places.
const TEXT_LIMIT: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_and_frames_are_joined_and_cut() {
        let frames = ["fail_once".to_owned(), "app_main".to_owned()];
        assert_eq!(text("abort", &frames), "abort | fail_once | app_main");
        assert_eq!(text("stack_overflow a", &[]), "stack_overflow a");
        let long = text("abort", &["é".repeat(200), "é".repeat(200)]);
        assert_eq!(long.chars().count(), 255);
        assert!(long.ends_with("..."), "{long}");
        assert_eq!(text(&"x".repeat(255), &[]).len(), 255);
    }

    #[test]
    fn a_hash_is_of_all_its_parts() {
        let all = hash("pump", "abort", ["f", "g"]);
        assert_eq!(all.len(), 16);
        for other in [
            hash("lamp", "abort", ["f", "g"]),
            hash("pump", "assert", ["f", "g"]),
            hash("pump", "abort", ["fg"]),
            hash("pump", "abort", ["g", "f"]),
            hash("pump", "abort", []),
        ] {
            assert_ne!(all, other);
        }
    }
}
