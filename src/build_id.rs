//! The name of a build that nothing else ever gets.

use std::fmt;
use std::str::FromStr;

use crate::digest::{InvalidSha256, Sha256};

/// A firmware build: the SHA-256 of its image (.bin).
///
/// Displays as 64 lower-case hex digits. Versions are labels that two builds may share; what
/// has to mean one build for good holds its id.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BuildId(Sha256);

impl BuildId {
    /// The digest of the image.
    pub fn digest(self) -> Sha256 {
        self.0
    }

    /// The first 8 digits, as screens show them.
    pub fn short(self) -> String {
        self.0.short(8)
    }

    /// Whether `prefix` (lower-case hex) is the beginning of this id; an empty one never is.
    pub fn has_prefix(self, prefix: &str) -> bool {
        self.0.has_prefix(prefix)
    }
}

impl From<Sha256> for BuildId {
    fn from(image: Sha256) -> Self {
        Self(image)
    }
}

impl FromStr for BuildId {
    type Err = InvalidSha256;

    fn from_str(text: &str) -> Result<Self, InvalidSha256> {
        text.parse().map(Self)
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for BuildId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for BuildId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
