//! Texts that very many records have, in few bytes: a number where they have the form
//! that this program writes, the text itself where not. Each reads, displays and
//! compares as its text. And the lists of such records.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::clock;

/// Id of a dump.
pub type DumpId = Compact<Hex<12>>;
/// Fingerprint of a crash, or what stands for it.
pub type Fingerprint = Compact<Hex<16>>;
/// A time as sidecars have it: ISO 8601, UTC.
pub type Stamp = Compact<Iso8601>;
/// A dump's file name without extension.
pub type Stem = Compact<DumpName>;

/// The usual form of a text.
pub trait Form {
    /// Its number, if `text` has this form. Numbers are in the order of their texts.
    fn number(text: &str) -> Option<u64>;
    /// The text of a number.
    fn text(number: u64) -> String;
}

/// A text, as a number where it has the form `F`.
pub struct Compact<F>(Held, PhantomData<F>);

/// The odd text is boxed twice, for a pointer without a length.
#[derive(Clone, Eq, Hash, PartialEq)]
enum Held {
    Number(u64),
    #[expect(clippy::box_collection, reason = "a String would make it larger")]
    Text(Box<String>),
}

impl<F: Form> From<&str> for Compact<F> {
    fn from(text: &str) -> Self {
        let held = match F::number(text) {
            Some(number) => Held::Number(number),
            None => Held::Text(Box::new(text.to_owned())),
        };
        Self(held, PhantomData)
    }
}

impl<F: Form> From<&String> for Compact<F> {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl<F: Form> From<String> for Compact<F> {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl<F> Clone for Compact<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<F> Eq for Compact<F> {}

impl<F> PartialEq for Compact<F> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<F> Hash for Compact<F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<F: Form> PartialEq<str> for Compact<F> {
    fn eq(&self, other: &str) -> bool {
        match &self.0 {
            Held::Number(number) => F::number(other) == Some(*number),
            Held::Text(text) => text.as_str() == other,
        }
    }
}

impl<F: Form> PartialEq<&str> for Compact<F> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl<F: Form> PartialEq<String> for Compact<F> {
    fn eq(&self, other: &String) -> bool {
        self == other.as_str()
    }
}

impl<F: Form> Ord for Compact<F> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Held::Number(one), Held::Number(other)) => one.cmp(other),
            _ => self.to_string().cmp(&other.to_string()),
        }
    }
}

impl<F: Form> PartialOrd for Compact<F> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<F: Form> fmt::Display for Compact<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Held::Number(number) => f.pad(&F::text(*number)),
            Held::Text(text) => f.pad(text),
        }
    }
}

impl<F: Form> fmt::Debug for Compact<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl<F: Form> Serialize for Compact<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, F: Form> Deserialize<'de> for Compact<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Stamp {
    /// The time; `None` if the text is none.
    pub fn time(&self) -> Option<OffsetDateTime> {
        match &self.0 {
            Held::Number(number) => time_of(*number),
            Held::Text(text) => clock::parse(text),
        }
    }
}

/// Exactly `DIGITS` (at most 16) lower-case hex digits.
pub struct Hex<const DIGITS: usize>;

impl<const DIGITS: usize> Form for Hex<DIGITS> {
    fn number(text: &str) -> Option<u64> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_it = text.len() == DIGITS && text.bytes().all(is_digit);
        is_it.then(|| u64::from_str_radix(text, 16).ok())?
    }

    fn text(number: u64) -> String {
        format!("{number:0DIGITS$x}")
    }
}

/// `2026-02-11T14:30:00.123456Z`
pub struct Iso8601;

impl Form for Iso8601 {
    fn number(text: &str) -> Option<u64> {
        let number = number_of(clock::parse(text)?)?;
        (Self::text(number) == text).then_some(number)
    }

    fn text(number: u64) -> String {
        time_of(number).map(clock::iso8601).unwrap_or_default()
    }
}

/// `coredump_20260211T143000_123456Z`
pub struct DumpName;

impl Form for DumpName {
    fn number(text: &str) -> Option<u64> {
        let stamp = text.strip_prefix(PREFIX)?;
        let number = number_of(clock::of_file_stamp(stamp)?)?;
        (Self::text(number) == text).then_some(number)
    }

    fn text(number: u64) -> String {
        let stamp = time_of(number).map(clock::file_stamp).unwrap_or_default();
        format!("{PREFIX}{stamp}")
    }
}

const PREFIX: &str = "coredump_";

/// Times are counted from here in microseconds.
const START: OffsetDateTime = datetime!(0000-01-01 00:00 UTC);

fn number_of(time: OffsetDateTime) -> Option<u64> {
    u64::try_from((time - START).whole_microseconds()).ok()
}

fn time_of(number: u64) -> Option<OffsetDateTime> {
    START.checked_add(time::Duration::microseconds(i64::try_from(number).ok()?))
}

/// Inserts into one of very many lists, which grow by less than a list usually does.
pub fn insert<T>(list: &mut Vec<T>, at: usize, value: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 8);
    }
    list.insert(at, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_texts_are_numbers_and_odd_ones_survive() {
        fn is_number<F: Form>(text: &str) -> bool {
            let compact = Compact::<F>::from(text);
            assert_eq!(compact.to_string(), text);
            assert!(compact == *text, "{text}");
            assert!(compact != *"other", "{text}");
            let json = serde_json::to_string(&compact).unwrap();
            assert_eq!(json, serde_json::to_string(text).unwrap());
            assert_eq!(serde_json::from_str::<Compact<F>>(&json).unwrap(), compact);
            matches!(compact.0, Held::Number(_))
        }
        for (text, expected) in [
            ("00000000000000ff", true),
            ("ffffffffffffffff", true),
            ("00000000000000FF", false),
            ("+0000000000000ff", false),
            ("f1", false),
            ("", false),
            ("unreadable:lamp:-", false),
        ] {
            assert_eq!(is_number::<Hex<16>>(text), expected, "{text}");
        }
        for (text, expected) in [
            ("2026-02-11T14:30:00.123456Z", true),
            ("0000-01-01T00:00:00.000000Z", true),
            ("9999-12-31T23:59:59.999999Z", true),
            ("2026-02-11T14:30:00Z", false),
            ("2026-02-11T14:30:00.123456+00:00", false),
            ("t", false),
        ] {
            assert_eq!(is_number::<Iso8601>(text), expected, "{text}");
        }
        for (text, expected) in [
            ("coredump_20260211T143000_123456Z", true),
            ("coredump_20260211T143000_123456Z_2", false),
            ("coredump_20261311T143000_123456Z", false),
            ("coredump_1", false),
        ] {
            assert_eq!(is_number::<DumpName>(text), expected, "{text}");
        }
    }

    #[test]
    fn the_order_is_that_of_the_texts() {
        let mut texts = [
            "2026-02-11T14:30:00.123456Z",
            "2026-02-11T14:30:00Z",
            "0000-01-01T00:00:00.000000Z",
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00.000000Z",
            "9999-12-31T23:59:59.999999Z",
            "",
            "later",
        ];
        let mut stamps = texts.map(Stamp::from);
        stamps.sort();
        texts.sort_unstable();
        assert_eq!(stamps.map(|stamp| stamp.to_string()), texts);
        let mut names = ["f1", "00000000000000ff", "0100000000000000", "0", "g"];
        let mut prints = names.map(Fingerprint::from);
        prints.sort();
        names.sort_unstable();
        assert_eq!(prints.map(|print| print.to_string()), names);
    }

    #[test]
    fn the_time_of_a_stamp_is_that_of_its_text() {
        for text in ["2026-02-11T14:30:00.123456Z", "2026-02-11T14:30:00+01:00"] {
            assert_eq!(Stamp::from(text).time(), clock::parse(text));
        }
        assert_eq!(Stamp::from("soon").time(), None);
    }

    #[test]
    fn they_are_small() {
        assert_eq!(size_of::<Option<Fingerprint>>(), 16);
        assert_eq!(size_of::<Stamp>(), 16);
    }
}
