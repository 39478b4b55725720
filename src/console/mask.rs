//! Secrets in console lines, masked before a line is kept or shown.

use std::str::FromStr;

/// One rule of what to mask, in one of two forms:
///
/// - a name, such as `psk`: the value given to any name that ends so, in any
///   case (`psk=..`, `wifi_psk: ..`, `"psk":".."`), up to its closing quote, a
///   blank or one of `,;&)}`;
/// - a text that ends in `*`, such as `Bearer *`: what follows the text, up to
///   the same ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MaskRule {
    Name(String),
    After(String),
}

/// A text that is no [`MaskRule`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a masking rule is a name, or a text of at least two characters that ends in `*`")]
pub struct InvalidRule;

impl FromStr for MaskRule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        match text.strip_suffix('*') {
            Some(before) if before.trim().len() >= 2 && !before.contains('*') => {
                Ok(Self::After(before.to_ascii_lowercase()))
            }
            None if !text.is_empty() && text.bytes().all(is_name) => {
                Ok(Self::Name(text.to_ascii_lowercase()))
            }
            _ => Err(InvalidRule),
        }
    }
}

/// The rules that apply when the configuration says nothing else.
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
    "Bearer *",
    "Authorization: Basic *",
    "eg1_*",
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
    /// Exactly these rules.
    pub fn new(rules: Vec<MaskRule>) -> Self {
        Self(rules)
    }

    /// `line` with every value that a rule names replaced by `***`.
    pub fn apply(&self, line: String) -> String {
        // offsets in the lower-case copy are offsets in the line
        let lower = line.to_ascii_lowercase();
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for rule in &self.0 {
            let (MaskRule::Name(word) | MaskRule::After(word)) = rule;
            let mut from = 0;
            while let Some(found) = lower.get(from..).and_then(|rest| rest.find(word.as_str())) {
                let end = from + found + word.len();
                let rest = lower.get(end..).unwrap_or_default();
                let value = match rule {
                    MaskRule::Name(_) => assigned(rest),
                    MaskRule::After(_) => Some(rest),
                };
                if let Some(value) = value {
                    let start = lower.len() - value.len();
                    spans.push(value_span(start, value));
                }
                from = end;
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
            ("using eg1_abcdefgh_secret now", "using eg1_*** now"),
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
    fn rules_are_names_or_texts_with_a_star_at_the_end() {
        assert_eq!("pin".parse(), Ok(MaskRule::Name("pin".to_owned())));
        assert_eq!(
            "Joined *".parse(),
            Ok(MaskRule::After("joined ".to_owned()))
        );
        for bad in ["", "*", "a*", " *", "a*b", "two words", "x*y*"] {
            assert_eq!(bad.parse::<MaskRule>(), Err(InvalidRule), "{bad}");
        }
        let masks = Masks::new(vec!["code is *".parse().unwrap()]);
        assert_eq!(
            masks.apply("Code is 1234, key=5".to_owned()),
            "Code is ***, key=5"
        );
    }
}
