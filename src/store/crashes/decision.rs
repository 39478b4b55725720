//! What people decided about crash groups: `crashes/decisions.jsonl`, one JSON
//! object a line, in order. Never rewritten; group files are a cache of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::group::{AliasKind, At, State};
use crate::store::open_enum::OpenEnum;

/// An alias named in a decision.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct AliasName {
    pub kind: AliasKind,
    pub value: String,
}

/// What was decided.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum Choice {
    /// The group is open, resolved or ignored from now on.
    State {
        group: String,
        state: OpenEnum<State>,
        /// Ids of the builds in which a resolved group may still be seen.
        #[serde(default)]
        builds: Vec<String>,
        #[serde(default)]
        until: Option<String>,
        /// The group's occurrences at that time.
        #[serde(default)]
        occurrences: u64,
    },
    Note {
        group: String,
        note: Option<String>,
    },
    /// All of `group` belongs to `into`.
    Merge {
        group: String,
        into: String,
        aliases: Vec<AliasName>,
    },
    /// `alias` of `group` is a group of its own, `into`.
    Split {
        group: String,
        into: String,
        alias: AliasName,
    },
}

/// One line of the log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Decision {
    pub schema: u32,
    /// Counts up from 1.
    pub number: u64,
    pub at: At,
    /// Such as `uid 1000` or `token 1a2b3c4d`.
    pub by: String,
    #[serde(flatten)]
    pub choice: Choice,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
