//! Patterns in which `*` stands for anything.

/// Whether `text` is what `pattern` describes, as a whole. Takes time in proportion to
/// the product of their lengths at most.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    // of the lists' entries most differ in their first letter
    let first = pattern.as_bytes().first();
    if first != Some(&b'*') && first != text.as_bytes().first() {
        return false;
    }
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    // each piece at its first place leaves the most for those behind it
    for piece in pieces {
        let Some((_, behind)) = rest.split_once(piece) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("abort", "abort", true),
            ("abort", "abort2", false),
            ("abort", "my_abort", false),
            ("xQueue*", "xQueueSemaphoreTake", true),
            ("xQueue*", "xQueue", true),
            ("xQueue*", "vQueueDelete", false),
            ("*printf*", "vsnprintf", true),
            ("*printf*", "printf", true),
            ("_*printf_r", "_vfprintf_r", true),
            ("_*printf_r", "_vfprintf_rx", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
