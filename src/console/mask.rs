//! Secrets in console lines, masked before a line is kept or shown.

use std::str::FromStr;

/// One rule of what to mask, in one of two forms:
///
/// - a name, such as `psk`: the value given to any name that ends so, in any
///   case (`psk=..`, `wifi_psk: ..`, `"psk":".."`), up to its closing quote, a
///   blank or one of `,;&)}`;
/// - a pattern for a whole line, such as `*license=*`: every `*` stands for
///   anything, and what the last one stands for is masked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MaskRule {
    Name(String),
    /// The texts between the stars.
    Line(Vec<String>),
}

/// A text that is no [`MaskRule`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a masking rule is a name, or a text with `*` for what is masked")]
pub struct InvalidRule;

impl FromStr for MaskRule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let lower = text.to_ascii_lowercase();
        if lower.contains('*') {
            let texts: Vec<String> = lower.split('*').map(str::to_owned).collect();
            let says_something = texts.iter().any(|text| !text.trim().is_empty());
            return says_something
                .then_some(Self::Line(texts))
                .ok_or(InvalidRule);
        }
        let is_name = !lower.is_empty() && lower.bytes().all(is_name);
        is_name.then_some(Self::Name(lower)).ok_or(InvalidRule)
    }
}

/// The rules that always apply.
pub const DEFAULT_RULES: [&str; 12] = [
    "pass",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "psk",
    "secret",
    "token",
    "key",
    "*Bearer *",
    "*Authorization: Basic *",
    "*eg1_*",
];

/// The rules of one port.
#[derive(Clone, Debug)]
pub struct Masks(Vec<MaskRule>);

impl Default for Masks {
    fn default() -> Self {
        Self(
            DEFAULT_RULES
                .iter()
                .filter_map(|rule| rule.parse().ok())
                .collect(),
        )
    }
}

impl Masks {
    /// The default rules and these.
    pub fn with(rules: impl IntoIterator<Item = MaskRule>) -> Self {
        let mut masks = Self::default();
        masks.0.extend(rules);
        masks
    }

    /// `line` with every value that a rule names replaced by `***`.
    pub fn apply(&self, line: String) -> String {
        // offsets in the lower-case copy are offsets in the line
        let lower = line.to_ascii_lowercase();
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for rule in &self.0 {
            match rule {
                MaskRule::Name(name) => named_values(&lower, name, &mut spans),
                MaskRule::Line(texts) => spans.extend(last_star(&lower, texts)),
            }
        }
        spans.retain(|(start, end)| start < end);
        if spans.is_empty() {
            return line;
        }
        spans.sort_unstable();
        masked(&line, &spans)
    }
}

fn named_values(lower: &str, name: &str, spans: &mut Vec<(usize, usize)>) {
    let mut from = 0;
    while let Some(found) = lower.get(from..).and_then(|rest| rest.find(name)) {
        from += found + name.len();
        if let Some(value) = lower.get(from..).and_then(assigned) {
            spans.push(value_span(lower.len() - value.len(), value));
        }
    }
}

/// What the last star of a pattern stands for, if the pattern fits the line.
fn last_star(lower: &str, texts: &[String]) -> Option<(usize, usize)> {
    let (suffix, texts) = texts.split_last()?;
    let (prefix, texts) = texts.split_first()?;
    let mut from = lower.starts_with(prefix.as_str()).then_some(prefix.len())?;
    for text in texts {
        from += lower.get(from..)?.find(text.as_str())? + text.len();
    }
    let end = lower.len().checked_sub(suffix.len())?;
    (end >= from && lower.ends_with(suffix.as_str())).then_some((from, end))
}

/// What follows `=` or `:` (not `==`), if `rest` gives a value.
fn assigned(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix(['"', '\'']).unwrap_or(rest).trim_start();
    let value = rest.strip_prefix(['=', ':'])?;
    (!value.starts_with('=')).then(|| value.trim_start())
}

/// Where the value that `text` begins with lies in the line.
fn value_span(start: usize, text: &str) -> (usize, usize) {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let inner = text
        .get(quote.map_or(0, char::len_utf8)..)
        .unwrap_or_default();
    let length = inner.find(|c: char| match quote {
        Some(quote) => c == quote,
        None => c.is_whitespace() || ",;&)}\"'".contains(c),
    });
    let start = start + text.len() - inner.len();
    (start, start + length.unwrap_or(inner.len()))
}

fn masked(line: &str, spans: &[(usize, usize)]) -> String {
    let mut text = String::with_capacity(line.len());
    let mut from = 0;
    for (start, end) in spans {
        if *start >= from {
            text.push_str(line.get(from..*start).unwrap_or_default());
            text.push_str("***");
        }
        from = from.max(*end);
    }
    text.push_str(line.get(from..).unwrap_or_default());
    text
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_names_are_masked_and_nothing_else() {
        for (line, expected) in [
            (
                "I (1) wifi: ssid=Hut, password=abc def",
                "I (1) wifi: ssid=Hut, password=*** def",
            ),
            ("WIFI_PSK: 'two words' ok", "WIFI_PSK: '***' ok"),
            (r#"{"token":"abc","n":1}"#, r#"{"token":"***","n":1}"#),
            ("authorization: bearer eyJ.x.y", "authorization: bearer ***"),
            ("token=eg1_abcdefgh_secret", "token=***"),
            ("using eg1_abcdefgh_secret", "using eg1_***"),
            ("tests passed: 12", "tests passed: 12"),
            (
                "assert failed: f x.c:1 (key == NULL)",
                "assert failed: f x.c:1 (key == NULL)",
            ),
            ("pässword: x key=ä€", "pässword: x key=***"),
            ("key=", "key="),
        ] {
            assert_eq!(Masks::default().apply(line.to_owned()), expected);
        }
    }

    #[test]
    fn rules_are_names_or_patterns_of_a_line() {
        for bad in ["", "*", "**", " *", "two words"] {
            assert_eq!(bad.parse::<MaskRule>(), Err(InvalidRule), "{bad}");
        }
        let rules = ["pin", "*License=*", "unlock * now", "*from*to*"];
        let masks = Masks::with(rules.map(|rule| rule.parse().unwrap()));
        for (line, expected) in [
            ("sim_pin: 1234", "sim_pin: ***"),
            ("a LICENSE=b c", "a LICENSE=***"),
            ("unlock 17 now", "unlock *** now"),
            ("please unlock 17 now", "please unlock 17 now"),
            ("unlock now", "unlock now"),
            ("x from y to z", "x from y to***"),
        ] {
            assert_eq!(masks.apply(line.to_owned()), expected);
        }
    }
}
