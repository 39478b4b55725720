//! How the registers name a build.

use serde::{Deserialize, Serialize};

use crate::build_id::BuildId;

/// What a register holds in place of a build.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum BuildRef {
    Id(BuildId),
    /// A version as release 0.1 wrote it. It fitted no stored build when the register was
    /// migrated, so it stands for none, also not for one that is uploaded later.
    Name(String),
}

impl BuildRef {
    /// The build it stands for.
    pub fn id(&self) -> Option<BuildId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Name(_) => None,
        }
    }
}

impl From<BuildId> for BuildRef {
    fn from(id: BuildId) -> Self {
        Self::Id(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_and_a_name_of_an_older_release_are_told_apart() {
        let digits = "0123456789abcdef".repeat(4);
        for (text, is_id) in [(digits.as_str(), true), ("1.2.3", false), ("1~0a", false)] {
            let json = serde_json::Value::from(text);
            let read: BuildRef = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(read.id().is_some(), is_id, "{text}");
            assert_eq!(serde_json::to_value(&read).unwrap(), json);
        }
    }
}
