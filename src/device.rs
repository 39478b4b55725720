//! Who and what: device keys, model codes, versions, MAC addresses, chips.
//! Each is parsed once at the edge; past that it is safe as a path component.

use std::fmt;
use std::str::FromStr;

use crate::digest::nibble;

/// A text that does not follow the rules of the name it should be.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
pub enum InvalidName {
    #[error("a device key is 1 to 64 letters and digits")]
    DeviceKey,
    #[error("a model code is 1 to 50 of a-z, 0-9 and _")]
    ModelCode,
    #[error("a version is 1 to 32 of A-Z, a-z, 0-9 and ._+- and starts with neither . nor -")]
    Version,
    #[error("a MAC address is twelve hex digits, with or without colons")]
    MacAddress,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// One board: 1 to 64 of `[a-z0-9]`; upper case is folded while parsing.
    DeviceKey
}

name_type! {
    /// A product line: 1 to 50 of `[a-z0-9_]`.
    ModelCode
}

name_type! {
    /// A firmware version: 1 to 32 of `[A-Za-z0-9._+-]`, not starting with `.` or `-`.
    Version
}

impl FromStr for DeviceKey {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let fits = matches!(text.len(), 1..=64) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        fits.then(|| Self(text.to_ascii_lowercase()))
            .ok_or(InvalidName::DeviceKey)
    }
}

impl FromStr for ModelCode {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let fits = matches!(text.len(), 1..=50) && text.bytes().all(allowed);
        fits.then(|| Self(text.to_owned()))
            .ok_or(InvalidName::ModelCode)
    }
}

impl FromStr for Version {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
        let fits = matches!(text.len(), 1..=32)
            && text.bytes().all(allowed)
            && !text.starts_with(['.', '-']);
        fits.then(|| Self(text.to_owned()))
            .ok_or(InvalidName::Version)
    }
}

/// A chip's factory MAC address, as eFuse and USB descriptor give it.
///
/// Displays as twelve lower-case hex digits, so it is safe as a path component.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// An address from its six bytes, first transmitted first.
    pub fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The device key of a board that nobody registered.
    pub fn device_key(&self) -> DeviceKey {
        DeviceKey(self.to_string())
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for MacAddress {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(|digit| !b":-".contains(digit))
            .take(13)
            .collect();
        let (pairs, []) = digits.as_chunks::<2>() else {
            return Err(InvalidName::MacAddress);
        };
        let mut mac = [0; 6];
        if pairs.len() != mac.len() {
            return Err(InvalidName::MacAddress);
        }
        for (byte, [high, low]) in mac.iter_mut().zip(pairs) {
            let value = |digit| nibble(digit).ok_or(InvalidName::MacAddress);
            *byte = value(*high)? << 4 | value(*low)?;
        }
        Ok(Self(mac))
    }
}

/// Which instruction set a chip runs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Architecture {
    Xtensa,
    RiscV,
}

macro_rules! chips {
    ($($variant:ident $id:literal $name:literal $architecture:ident,)+) => {
        /// An ESP32 family member, by ESP-IDF's `CONFIG_IDF_FIRMWARE_CHIP_ID`
        /// (the number in app images and in the version word of coredumps).
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Chip {
            $($variant,)+
        }

        impl Chip {
            /// All known chips.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The chip with ESP-IDF's firmware chip id `id`.
            pub fn from_id(id: u16) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// ESP-IDF's firmware chip id.
            pub fn id(self) -> u16 {
                match self {
                    $(Self::$variant => $id,)+
                }
            }

            /// ESP-IDF's target name, such as `esp32s3`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The instruction set of the chip's main cores.
            pub fn architecture(self) -> Architecture {
                match self {
                    $(Self::$variant => Architecture::$architecture,)+
                }
            }
        }
    };
}

chips! {
    Esp32 0 "esp32" Xtensa,
    Esp32S2 2 "esp32s2" Xtensa,
    Esp32C3 5 "esp32c3" RiscV,
    Esp32S3 9 "esp32s3" Xtensa,
    Esp32C2 12 "esp32c2" RiscV,
    Esp32C6 13 "esp32c6" RiscV,
    Esp32H2 16 "esp32h2" RiscV,
    Esp32P4 18 "esp32p4" RiscV,
    Esp32C61 20 "esp32c61" RiscV,
    Esp32C5 23 "esp32c5" RiscV,
    Esp32H21 25 "esp32h21" RiscV,
    Esp32H4 28 "esp32h4" RiscV,
    Esp32S31 32 "esp32s31" RiscV,
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Chip {
    type Err = UnknownChip;

    /// Takes `esp32s3` and `ESP32-S3` alike.
    fn from_str(text: &str) -> Result<Self, UnknownChip> {
        let plain: String = text
            .chars()
            .filter(|c| *c != '-')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        Self::ALL
            .iter()
            .copied()
            .find(|chip| chip.name() == plain)
            .ok_or(UnknownChip)
    }
}

/// A text that names no chip of [`Chip::ALL`].
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
#[error("not a known chip")]
pub struct UnknownChip;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_keys_are_folded_and_bounded() {
        assert_eq!(
            "Kitchen3".parse::<DeviceKey>().unwrap().as_str(),
            "kitchen3"
        );
        for bad in ["", "a-b", "a/b", "..", "ü", &"a".repeat(65)] {
            assert_eq!(
                bad.parse::<DeviceKey>(),
                Err(InvalidName::DeviceKey),
                "{bad}"
            );
        }
    }

    #[test]
    fn model_codes_take_underscores_but_no_upper_case() {
        assert!("test_core_dump".parse::<ModelCode>().is_ok());
        for bad in ["", "A", "a-b", "a.b", &"a".repeat(51)] {
            assert_eq!(
                bad.parse::<ModelCode>(),
                Err(InvalidName::ModelCode),
                "{bad}"
            );
        }
    }

    #[test]
    fn versions_are_safe_as_file_names() {
        for good in ["1.2.3", "v1.0-56-g30082bf", "1.0+dirty", "_x"] {
            assert!(good.parse::<Version>().is_ok(), "{good}");
        }
        for bad in ["", ".1", "-1", "a/b", "a b", "1~2", &"1".repeat(33)] {
            assert_eq!(bad.parse::<Version>(), Err(InvalidName::Version), "{bad}");
        }
    }

    #[test]
    fn mac_addresses_are_taken_with_and_without_colons() {
        for text in ["AA:bb:CC:00:11:22", "aabbcc001122", "aa-bb-cc-00-11-22"] {
            let mac: MacAddress = text.parse().unwrap();
            assert_eq!(mac.to_string(), "aabbcc001122", "{text}");
            assert_eq!(mac.device_key().as_str(), "aabbcc001122");
        }
        for bad in ["", "aabbcc00112", "aabbcc0011223", "aabbcc00112g"] {
            assert_eq!(
                bad.parse::<MacAddress>(),
                Err(InvalidName::MacAddress),
                "{bad}"
            );
        }
    }

    #[test]
    fn chips_are_found_by_id_and_by_either_spelling() {
        for chip in Chip::ALL {
            assert_eq!(Chip::from_id(chip.id()), Some(*chip));
            assert_eq!(chip.name().parse(), Ok(*chip));
        }
        assert_eq!("ESP32-S3".parse(), Ok(Chip::Esp32S3));
        assert_eq!("esp8266".parse::<Chip>(), Err(UnknownChip));
    }
}
