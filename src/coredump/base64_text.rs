//! An image as base64 text, the way ESP-IDF prints it on a console: every line
//! is a group of its own, with its own padding.

use crate::reader::word_at;

/// The bytes behind base64 lines.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    /// Lines that are not base64. Those that only interrupt the others do no
    /// harm; one that replaces others is stood in for by zeros.
    pub(super) bad_lines: usize,
    pub(super) good_lines: usize,
}

/// Decodes each line of `text`. Where lines do not hold groups of four, the
/// text may have been wrapped on its way, and is taken as one.
pub(super) fn decode(text: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    let mut bad = Vec::new();
    for line in text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii) {
        let before = decoded.bytes.len();
        if line.is_empty() {
            continue;
        }
        if decode_line(line, &mut decoded.bytes).is_some() {
            decoded.good_lines += 1;
        } else {
            decoded.bytes.truncate(before);
            decoded.bad_lines += 1;
            if could_have_been_base64(line) && bad.len() < MOST_STAND_INS {
                bad.push((before, line.len() / 4 * 3));
            }
        }
    }
    if decoded.bad_lines > 0
        && decoded.bad_lines >= decoded.good_lines
        && let Some(bytes) = unwrapped(text)
    {
        return Decoded {
            bytes,
            bad_lines: 0,
            good_lines: 1,
        };
    }
    stand_in(&mut decoded.bytes, &bad);
    decoded
}

/// Puts zeros where unreadable lines were, if that is what the length in the
/// image's header lacks: then all that follows is in its place.
fn stand_in(bytes: &mut Vec<u8>, bad: &[(usize, usize)]) {
    let total = word_at(bytes, 0).and_then(|total| usize::try_from(total).ok());
    let Some(missing) = total.and_then(|total| total.checked_sub(bytes.len())) else {
        return;
    };
    let guessed: usize = bad.iter().map(|(_, length)| length).sum();
    let lengths: Vec<(usize, usize)> = match bad {
        _ if missing == 0 => return,
        [(at, _)] if missing <= LONGEST_STAND_IN => vec![(*at, missing)],
        _ if guessed == missing => bad.to_vec(),
        _ => return,
    };
    for (at, length) in lengths.into_iter().rev() {
        bytes.splice(at..at, std::iter::repeat_n(0, length));
    }
}

fn could_have_been_base64(line: &[u8]) -> bool {
    let digits = line.iter().filter(|b| value(**b).is_some()).count();
    line.len() <= 4 * LONGEST_STAND_IN && !line.contains(&b' ') && digits * 2 > line.len()
}

/// The whole text without its line ends.
fn unwrapped(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    decode_line(&digits, &mut bytes)?;
    Some(bytes)
}

/// Appends what `line` means; groups may end in padding anywhere.
fn decode_line(line: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    let (groups, []) = line.as_chunks::<4>() else {
        return None;
    };
    for [a, b, c, d] in groups {
        let word = u32::from(value(*a)?) << 18 | u32::from(value(*b)?) << 12;
        let (word, count) = match (value(*c), value(*d)) {
            (Some(c), Some(d)) => (word | u32::from(c) << 6 | u32::from(d), 3),
            (Some(c), None) if *d == b'=' => (word | u32::from(c) << 6, 2),
            (None, None) if *c == b'=' && *d == b'=' => (word, 1),
            _ => return None,
        };
        bytes.extend(word.to_be_bytes().iter().skip(1).take(count));
    }
    Some(())
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

const MOST_STAND_INS: usize = 16;
/// Twice what ESP-IDF puts into one line.
const LONGEST_STAND_IN: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    /// 200 bytes that say so in their first word.
    fn image() -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..200).collect();
        bytes[..4].copy_from_slice(&200_u32.to_le_bytes());
        bytes
    }

    fn lines(bytes: &[u8]) -> Vec<String> {
        bytes
            .chunks(48)
            .map(|chunk| STANDARD.encode(chunk))
            .collect()
    }

    #[test]
    fn lines_with_padding_of_their_own_are_decoded_one_by_one() {
        let text = format!(
            "{}\r\n\n{}\n",
            STANDARD.encode(b"a"),
            STANDARD.encode(b"bcdef")
        );
        assert_eq!(decode(text.as_bytes()).bytes, b"abcdef");
    }

    #[test]
    fn one_long_line_and_lines_wrapped_anywhere_are_decoded_too() {
        let blob = STANDARD.encode(image());
        assert_eq!(decode(blob.as_bytes()).bytes, image());
        let wrapped: Vec<&str> = blob
            .as_bytes()
            .chunks(63)
            .map(|b| str::from_utf8(b).unwrap())
            .collect();
        let decoded = decode(wrapped.join("\n").as_bytes());
        assert_eq!((decoded.bytes, decoded.bad_lines), (image(), 0));
    }

    #[test]
    fn log_lines_in_between_are_left_out() {
        let mut lines = lines(&image());
        lines.insert(2, "I (31) wifi: connected".to_owned());
        lines.insert(2, "done!".to_owned());
        let decoded = decode(lines.join("\n").as_bytes());
        assert_eq!((decoded.bytes, decoded.bad_lines), (image(), 2));
    }

    #[test]
    fn a_damaged_line_keeps_its_place() {
        let mut lines = lines(&image());
        lines[1].replace_range(5..6, "\u{1}");
        let decoded = decode(lines.join("\n").as_bytes());
        let mut expected = image();
        expected[48..96].fill(0);
        assert_eq!(decoded.bytes, expected);
    }

    #[test]
    fn a_lost_line_is_not_made_up() {
        let mut lines = lines(&image());
        lines.remove(1);
        assert_eq!(decode(lines.join("\n").as_bytes()).bytes.len(), 200 - 48);
    }
}
