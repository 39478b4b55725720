//! Values that are a number or a keyword: `"25%"` or bytes, `"auto"` or bytes.

use std::fmt;

use serde::Serializer;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// An amount of disk: part of the filesystem, or bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quantity {
    /// 0 to 100.
    Percent(u8),
    Bytes(u64),
}

impl Quantity {
    /// The amount in bytes on a filesystem of `total` bytes.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Percent(percent) => total / 100 * u64::from(percent),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl<'de> serde::Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes or a percentage such as \"25%\"")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Quantity, E> {
                u64::try_from(value)
                    .map(Quantity::Bytes)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Quantity, E> {
                value
                    .strip_suffix('%')
                    .and_then(|number| number.trim().parse().ok())
                    .filter(|percent| *percent <= 100)
                    .map(Quantity::Percent)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl serde::Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Percent(percent) => serializer.collect_str(&format_args!("{percent}%")),
            Self::Bytes(bytes) => serializer.serialize_u64(*bytes),
        }
    }
}

/// Largest TLS record that is sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RecordLimit {
    /// 4096 for devices, the protocol's maximum for other clients.
    #[default]
    Auto,
    /// The protocol's maximum for all.
    Maximum,
    /// This many bytes for all.
    Bytes(usize),
}

impl<'de> serde::Deserialize<'de> for RecordLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = RecordLimit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", 0, or 512 to 16384")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<RecordLimit, E> {
                match usize::try_from(value) {
                    Ok(0) => Ok(RecordLimit::Maximum),
                    Ok(bytes @ 512..=16384) => Ok(RecordLimit::Bytes(bytes)),
                    _ => Err(E::invalid_value(Unexpected::Signed(value), &self)),
                }
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<RecordLimit, E> {
                match value {
                    "auto" => Ok(RecordLimit::Auto),
                    _ => Err(E::invalid_value(Unexpected::Str(value), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl serde::Serialize for RecordLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Maximum => serializer.serialize_u64(0),
            Self::Bytes(bytes) => bytes.serialize(serializer),
        }
    }
}
