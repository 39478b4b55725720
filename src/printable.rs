//! Text from devices and files, made safe for terminals and logs.

use std::borrow::Cow;

/// `text` with control and bidirectional-format characters written as escapes
/// (`\u{1b}`), so that it cannot move a cursor or reorder what is read.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    let mut figure = count;
    let mut rest = 0;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if figure < 1024 {
            return match unit {
                "B" => format!("{figure} B"),
                _ if figure < 10 => format!("{figure}.{} {unit}", rest * 10 / 1024),
                _ => format!("{figure} {unit}"),
            };
        }
        rest = figure % 1024;
        figure /= 1024;
    }
    format!("{figure} PiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidi_characters_are_escaped_and_the_rest_is_left() {
        for (text, safe) in [
            ("plain täxt", "plain täxt"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\nb\0", "a\\nb\\u{0}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("\u{9b}1m", "\\u{9b}1m"),
        ] {
            assert_eq!(escaped(text), safe);
        }
    }
}
