//! Secrets in console lines, masked before a line is kept or shown.

use std::str::FromStr;

/// One rule of what to mask, in one of two forms:
///
/// - a name, such as `psk`: the value given to any name that ends so, in any
///   case (`psk=..`, `wifi_psk: ..`, `"psk":".."`, `psk is ..`), up to its closing
///   quote, else to the line's end or a next `, name=`: secrets have blanks and
///   commas;
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

    /// What of `line` is secret: the values that a rule names, and credentials
    /// in addresses.
    pub(super) fn spans(&self, line: &str) -> Vec<(usize, usize)> {
        // offsets in the lower-case copy are offsets in the line
        let lower = line.to_ascii_lowercase();
        let mut spans = credentials(line);
        for rule in &self.0 {
            match rule {
                MaskRule::Name(name) => named_values(&lower, name, &mut spans),
                MaskRule::Line(texts) => spans.extend(last_star(&lower, texts)),
            }
        }
        spans.retain(|(start, end)| start < end);
        spans
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

/// What follows `=`, `:` (not `==` or `::`) or `is`, if `rest` gives a value.
fn assigned(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches(['\\', '"', '\'']).trim_start();
    let index = |(open, close)| rest.strip_prefix(open)?.split_once(close);
    // such as `key[0]` and `key (hex)`
    let rest = [('[', ']'), ('(', ')')]
        .into_iter()
        .find_map(index)
        .map_or(rest, |(_, rest)| rest.trim_start());
    let value = ASSIGNING.iter().find_map(|sign| rest.strip_prefix(sign))?;
    (!value.starts_with(['=', ':'])).then(|| value.trim_start())
}

/// Where the value that `text` begins with lies in the line.
fn value_span(start: usize, text: &str) -> (usize, usize) {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let inner = text
        .get(quote.map_or(0, char::len_utf8)..)
        .unwrap_or_default();
    let length = match quote {
        Some(quote) => closing(inner, quote),
        None => next_pair(inner),
    };
    let start = start + text.len() - inner.len();
    (start, start + length.unwrap_or(inner.len()))
}

/// Where a quoted value ends.
fn closing(inner: &str, quote: char) -> Option<usize> {
    let mut chars = inner.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let follows = |next: &(usize, char)| next.1.is_alphanumeric();
        if c == '\\' {
            chars.next();
        } else if c == quote && !chars.peek().is_some_and(follows) {
            return Some(at);
        }
    }
    None
}

/// Where the next of several values begins, as in `psk=.., channel=6` and in JSON.
fn next_pair(value: &str) -> Option<usize> {
    let names = |rest: &str| {
        let name = rest.trim_start_matches([' ', '"', '\'', '\\']);
        let after = name.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_name));
        let assigns = after.trim_start_matches(['"', '\'', '\\', ' ']);
        // without a blank or a quote it may as well be the secret's own
        name.len() < rest.len() && after.len() < name.len() && assigns.starts_with(['=', ':'])
    };
    let mut separators = value.match_indices([',', ';']);
    let pair = separators.find(|(at, _)| value.get(at + 1..).is_some_and(names))?;
    Some(pair.0)
}

/// Passwords in addresses, as in `mqtt://user:password@host`.
fn credentials(line: &str) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    for (at, scheme) in line.match_indices("://") {
        let start = at + scheme.len();
        let rest = line.get(start..).unwrap_or_default();
        let word = rest.split_whitespace().next().unwrap_or_default();
        let Some((user, _)) = word.rsplit_once('@').filter(|_| rest.starts_with(word)) else {
            continue;
        };
        match user.find(':') {
            Some(colon) => spans.push((start + colon + 1, start + user.len())),
            // a token alone, unless it is a path with an @
            None if !user.contains('/') => spans.push((start, start + user.len())),
            None => {}
        }
    }
    spans
}

/// `line` with `***` for what lies within `spans`, which are in order.
pub(super) fn masked(line: &str, spans: &[(usize, usize)]) -> String {
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

/// What stands between a name and its value.
const ASSIGNING: [&str; 6] = ["=>", ":=", "=", ":", "is ", "is: "];

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(masks: &Masks, line: &str) -> String {
        let mut spans = masks.spans(line);
        spans.sort_unstable();
        masked(line, &spans)
    }

    #[test]
    fn values_of_secret_names_are_masked_and_nothing_else() {
        for (line, expected) in [
            (
                "I (1) wifi: ssid=Hut, password=abc def, channel=6",
                "I (1) wifi: ssid=Hut, password=***, channel=6",
            ),
            (
                "wifi: sta_password: correct horse battery",
                "wifi: sta_password: ***",
            ),
            ("auth key: 01 02 03 de ad", "auth key: ***"),
            ("key[0]=01 key", "key[0]=***"),
            ("aes key (hex): 01 02", "aes key (hex): ***"),
            ("password=ab,cdSECRET;x=1", "password=***"),
            ("password=> abc", "password=> ***"),
            ("password is abc def", "password is ***"),
            ("passphrase=[a b]", "passphrase=***"),
            (r#"password: "a\"b c", n: 1"#, r#"password: "***", n: 1"#),
            ("psk='it's me' ok", "psk='***' ok"),
            (r#"{"key":12,"n":1}"#, r#"{"key":***,"n":1}"#),
            (
                r#"{\"token\":\"abc\",\"n\":1}"#,
                r#"{\"token\":***,\"n\":1}"#,
            ),
            (
                "mqtt://user:p@ss/w@host:1883 up",
                "mqtt://user:***@host:1883 up",
            ),
            ("git https://ghp_abc@host/x", "git https://***@host/x"),
            ("WIFI_PSK: 'two words' ok", "WIFI_PSK: '***' ok"),
            (r#"{"token":"abc","n":1}"#, r#"{"token":"***","n":1}"#),
            ("authorization: bearer eyJ.x.y", "authorization: bearer ***"),
            ("token=eg1_abcdefgh_secret", "token=***"),
            ("using eg1_abcdefgh_secret", "using eg1_***"),
            ("tests passed: 12", "tests passed: 12"),
            ("keypad: 4 keys", "keypad: 4 keys"),
            ("token bucket: 5", "token bucket: 5"),
            ("key_size=256, secrets: 3", "key_size=256, secrets: 3"),
            (
                "I (123) wifi: state: run -> init (c00)",
                "I (123) wifi: state: run -> init (c00)",
            ),
            ("in Token::parse: 7", "in Token::parse: 7"),
            (
                "GET https://host:8443/a?mail=b at 12:30",
                "GET https://host:8443/a?mail=b at 12:30",
            ),
            ("http://host/a/b@2x.png", "http://host/a/b@2x.png"),
            (
                "assert failed: f x.c:1 (key == NULL)",
                "assert failed: f x.c:1 (key == NULL)",
            ),
            ("pässword: x key=ä€", "pässword: x key=***"),
            ("key=", "key="),
        ] {
            assert_eq!(apply(&Masks::default(), line), expected);
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
            assert_eq!(apply(&masks, line), expected);
        }
    }
}
