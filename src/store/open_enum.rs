//! Enumerations in the JSON of store and API. Values of newer releases are kept
//! unchanged and are not errors.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value that this release knows, or an unknown one that it only keeps.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum OpenEnum<T> {
    Known(T),
    Unknown(String),
}

impl<T: Copy> OpenEnum<T> {
    /// The value, if this release knows it.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(word) => Some(*word),
            Self::Unknown(_) => None,
        }
    }
}

impl<T> Default for OpenEnum<T> {
    /// An empty value.
    fn default() -> Self {
        Self::Unknown(String::new())
    }
}

impl<T> From<T> for OpenEnum<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T: PartialEq> PartialEq<T> for OpenEnum<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(word) if word == other)
    }
}

impl<T: Serialize> fmt::Display for OpenEnum<T> {
    /// The value as it is in the JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
    #[serde(rename_all = "kebab-case")]
    enum State {
        ReadingFlash,
    }

    #[test]
    fn a_word_of_another_release_is_kept_as_it_came() {
        for (json, known) in [("\"reading-flash\"", true), ("\"on-fire\"", false)] {
            let word: OpenEnum<State> = serde_json::from_str(json).unwrap();
            assert_eq!(word == State::ReadingFlash, known, "{json}");
            assert_eq!(serde_json::to_string(&word).unwrap(), json);
            assert_eq!(format!("\"{word}\""), json);
        }
        assert_eq!(OpenEnum::<State>::default().to_string(), "");
    }
}
