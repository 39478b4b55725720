//! A crash group as it is stored: `crashes/<id>.json`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::member::Members;
use super::seen_on::SeenOn;
use crate::clock;
use crate::signature::Signature;
use crate::store::open_enum::OpenEnum;

/// The schema this program writes.
pub const SCHEMA: u32 = 1;

/// A point in time, in microseconds since 1970; ISO 8601, UTC, in JSON.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct At(i64);

impl At {
    /// Reads what [`clock::iso8601`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        clock::parse(text).map(Self::of)
    }

    /// The same moment, in whole microseconds.
    pub fn of(time: OffsetDateTime) -> Self {
        let micros = time.unix_timestamp_nanos().div_euclid(1000);
        // 64 bits last for 292,000 years
        Self(i64::try_from(micros).unwrap_or_default())
    }

    /// The moment as a date.
    pub fn time(self) -> OffsetDateTime {
        let since = time::Duration::microseconds(self.0);
        let time = OffsetDateTime::UNIX_EPOCH.checked_add(since);
        time.unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clock::iso8601(self.time()))
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a time"))
    }
}

/// State of a group.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Resolved, and seen since in a build that was not known then.
    Regressed,
    Open,
    Resolved,
    Ignored,
}

impl State {
    /// The word in files, tables and queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        }
    }
}

/// What a person decided about a group.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Decided {
    /// Number of the decision.
    pub number: u64,
    pub at: At,
    pub by: String,
    pub state: OpenEnum<State>,
    /// When an ignored group opens again: `100x`, `10d`, or a build id.
    pub until: Option<String>,
    /// Occurrences of the group at that time.
    pub occurrences: u64,
}

/// A resolved group seen in a newer build.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Regression {
    pub at: At,
    pub device: String,
    pub build_id: String,
    /// Whether the event was written.
    pub announced: bool,
}

/// Why an alias is in its group.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The algorithm found it.
    Auto,
    /// It is the signature of a fingerprint that a person merged.
    Promoted,
    /// A person merged or split the group.
    Person,
}

/// A signature, or a variant of one, whose dumps belong to the group. Where they
/// belong is decided from `decisions.jsonl`; here it is for those who read the file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Alias {
    pub kind: OpenEnum<AliasKind>,
    pub value: String,
    pub origin: OpenEnum<Origin>,
    pub at: At,
    /// With its algorithm, the version of its lists, and its frames.
    pub signature: Option<Signature>,
}

/// Kind of an alias.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AliasKind {
    Fingerprint,
    Signature,
    Variant,
}

/// How often a fingerprint was seen on one device.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seen {
    pub occurrences: u64,
    pub first_seen: At,
    pub last_seen: At,
    /// Of these, those while the gateway was not reachable.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub during_outage: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Seen {
    /// Adds what was seen elsewhere.
    pub fn add(&mut self, other: Self) {
        self.occurrences += other.occurrences;
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.during_outage += other.during_outage;
    }
}

/// What is counted and not named any more: fingerprints and devices beyond the
/// bounds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Rest {
    pub occurrences: u64,
    pub devices: SeenOn,
}

/// A crash group: one bug of a model, on any device, in any build.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Group {
    pub schema: u32,
    pub id: String,
    pub model: Option<String>,
    /// The signature's text, or what is known without one.
    pub signature: String,
    pub class: Option<String>,
    /// As of the last change; what runs out by time is computed.
    pub state: OpenEnum<State>,
    pub created_at: At,
    /// The device that it was first seen on.
    pub first_device: Option<String>,
    /// Whether `CrashNew` was written, or is not to be.
    pub announced: bool,
    pub decided: Option<Decided>,
    /// Builds in which a resolved group may still be seen.
    #[serde(default)]
    pub resolved_builds: Vec<String>,
    pub regression: Option<Regression>,
    pub note: Option<String>,
    pub first_seen: At,
    pub last_seen: At,
    pub occurrences: u64,
    pub aliases: Vec<Alias>,
    pub fingerprints: Members,
    #[serde(default)]
    pub rest: Rest,
    #[serde(default)]
    pub merged_from: Vec<String>,
    pub split_from: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What `crashes/<id>.json` holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum GroupFile {
    /// The group was merged into another one.
    Redirect {
        schema: u32,
        id: String,
        redirect: String,
    },
    Group(Box<Group>),
}

impl GroupFile {
    /// The group's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Redirect { id, .. } => id,
            Self::Group(group) => &group.id,
        }
    }
}
