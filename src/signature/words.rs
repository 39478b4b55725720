//! What a panic said, taken apart.

use super::names;

/// What a panic said.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub(super) &'a str);

impl<'a> Words<'a> {
    pub(super) fn has(self, words: &str) -> bool {
        self.0.contains(words)
    }

    /// What follows `words` in their line.
    pub(super) fn after(self, words: &str) -> Option<&'a str> {
        let (_, rest) = self.0.split_once(words)?;
        rest.lines().next()
    }

    /// The first line, without numbers.
    pub(super) fn reason(self) -> String {
        without_numbers(self.0.lines().next().unwrap_or_default())
    }

    pub(super) fn assert(self) -> Option<Assert> {
        if let Some(rest) = self.after("assert failed: ") {
            return Some(Assert::of_idf(rest));
        }
        // newlib's own, on consoles of old releases
        let rest = self.after("assertion \"")?;
        let (expression, rest) = rest.split_once("\" failed: file \"")?;
        let (file, rest) = rest.split_once("\", line ")?;
        let function = rest.split_once("function: ").map_or("", |(_, name)| name);
        Some(Assert::new(function, file, expression))
    }
}

/// `FUNC FILE:LINE (EXPR)` of an assert.
pub(super) struct Assert {
    pub(super) function: String,
    pub(super) file: String,
    pub(super) expression: String,
}

impl Assert {
    fn new(function: &str, file: &str, expression: &str) -> Self {
        let known = |text: &str| {
            let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
            let unknown = text.starts_with("0x") || text == CACHE_OFF;
            short(if unknown { "" } else { text }, EXPRESSION_LIMIT)
        };
        Self {
            function: known(&names::plain(function)),
            file: known(base_name(file)),
            expression: known(expression),
        }
    }

    fn of_idf(text: &str) -> Self {
        let Some((left, line, expression)) = at_line(text) else {
            // a silent build gives the address only
            return Self::new("", "", "");
        };
        let left = left.strip_suffix(CACHE_OFF).unwrap_or(left);
        // the function may be a C++ one with blanks, the file has a path in old releases
        let (function, file) = left.rsplit_once(' ').unwrap_or(("", left));
        let expression = match expression.strip_suffix(')') {
            Some(whole) => whole,
            // cut by its buffer, in which a longer number takes the place of letters
            None => {
                let keep = expression
                    .chars()
                    .count()
                    .saturating_sub(LONGEST_LINE - line.len());
                let end = expression
                    .char_indices()
                    .nth(keep)
                    .map_or(expression.len(), |at| at.0);
                expression.get(..end).unwrap_or_default()
            }
        };
        Self::new(function, file, expression)
    }
}

/// Splits at `:LINE (`.
fn at_line(text: &str) -> Option<(&str, &str, &str)> {
    for (at, _) in text.match_indices(':') {
        let (left, rest) = text.split_at_checked(at)?;
        let rest = rest.get(1..)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (line, rest) = rest.split_at_checked(digits)?;
        if let Some(expression) = rest
            .strip_prefix(" (")
            .filter(|_| (1..=LONGEST_LINE).contains(&digits))
        {
            return Some((left, line, expression));
        }
    }
    None
}

pub(super) fn base_name(file: &str) -> &str {
    file.rsplit(['/', '\\']).next().unwrap_or(file)
}

/// `text` without control characters and double blanks, at most `limit` characters.
pub(super) fn short(text: &str, limit: usize) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(limit).collect()
}

/// `text` without the words that have digits in them.
pub(super) fn without_numbers(text: &str) -> String {
    let words = text.split_whitespace();
    let words: Vec<&str> = words
        .filter(|word| !word.contains(|c: char| c.is_ascii_digit()))
        .collect();
    short(&words.join(" "), EXPRESSION_LIMIT)
}

/// Characters of an assert's expression, and of other text of the device's.
const EXPRESSION_LIMIT: usize = 80;
/// What stands for texts in flash while the cache is off (`assert.c`).
const CACHE_OFF: &str = "<cached disabled>";
/// Digits of a line's number (`assert.c`).
const LONGEST_LINE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asserts_are_taken_apart() {
        for (text, expected) in [
            ("assert failed: f a.c:12 (x == 1)", ["f", "a.c", "x == 1"]),
            (
                "assert failed: f /home/a/p/main/a.c:7 (x)",
                ["f", "a.c", "x"],
            ),
            ("assert failed: f C:\\p\\a.c:7 (x)", ["f", "a.c", "x"]),
            (
                "assert failed: bool Pump::run(int) const pump.cpp:1234 (level < max(a, b))",
                ["bool Pump::run", "pump.cpp", "level < max(a, b)"],
            ),
            (
                "assert failed: f a.c:12 (p && \"a:b (c)\")",
                ["f", "a.c", "p && \"a:b (c)\""],
            ),
            // without a function, silent, and with the flash's cache off
            ("assert failed: \u{8} a.c:12 (x)", ["", "a.c", "x"]),
            ("assert failed: 0x400d1234", ["", "", ""]),
            (
                "assert failed: 0x40081234 <cached disabled>:12 (<cached disabled>)",
                ["", "", ""],
            ),
            (
                "assertion \"head != NULL\" failed: file \"/i/multi_heap.c\", line 2, function: free",
                ["free", "multi_heap.c", "head != NULL"],
            ),
        ] {
            let found = Words(text).assert().unwrap();
            assert_eq!(
                [found.function, found.file, found.expression],
                expected,
                "{text}"
            );
        }
        assert!(
            Words("abort() was called at PC 0x1 on core 0")
                .assert()
                .is_none()
        );
    }

    #[test]
    fn the_line_s_number_does_not_move_where_a_text_was_cut() {
        let cut = |line| {
            let text: String = format!("assert failed: f a.c:{line} ({}", "abcdefghij".repeat(20));
            let text: String = text.chars().take(70).collect();
            Words(&text).assert().unwrap().expression
        };
        assert_eq!(cut("7"), cut("1234"));
        assert!(cut("7").len() > 30);
    }

    #[test]
    fn reasons_have_no_numbers() {
        let reason = |text| Words(text).reason();
        assert_eq!(
            reason("Brownout detector was triggered"),
            "Brownout detector was triggered"
        );
        assert_eq!(
            reason("E (123) boot: bad at 0x1234\nmore"),
            "E boot: bad at"
        );
    }
}
