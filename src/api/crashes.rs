//! Crash groups: one bug, across devices and builds.

use serde::{Deserialize, Serialize};

use crate::signature::{Explanation, Signature};
use crate::store::crashes::State;
use crate::store::open_enum::OpenEnum;

/// Crash groups.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    /// Regressed and new ones first, then by devices and last seen; resolved and
    /// ignored ones last.
    pub crashes: Vec<Crash>,
    /// `cursor` of the request for the next page; `null` on the last page.
    pub next_cursor: Option<String>,
}

/// A crash group in a list.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Crash {
    /// Such as `c7k2fq`.
    pub id: String,
    /// The signature's text; without symbols the panic's words and the task.
    pub signature: String,
    /// `null` without a signature.
    pub class: Option<String>,
    pub model: Option<String>,
    pub state: OpenEnum<State>,
    /// Number of devices.
    pub devices: u64,
    pub occurrences: u64,
    /// Number of builds.
    pub builds: u64,
    /// ISO 8601, UTC.
    pub first_seen: String,
    pub last_seen: String,
    /// Number of stored dumps.
    pub dumps: u64,
}

/// A crash group.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Detail {
    pub id: String,
    pub signature: String,
    pub class: Option<String>,
    pub model: Option<String>,
    pub state: OpenEnum<State>,
    pub occurrences: u64,
    pub first_seen: String,
    pub last_seen: String,
    /// Number of stored dumps.
    pub dumps: u64,
    /// Occurrences that the gateway caused by not being reachable.
    pub gateway_induced: u64,
    /// Most occurrences first.
    pub builds: Vec<BuildCount>,
    /// Most occurrences first; at most 500 are named.
    pub devices: Vec<DeviceCount>,
    /// The stored dumps, newest first; at most 100.
    pub coredumps: Vec<Dump>,
    /// Signatures of the group.
    pub signatures: Vec<Signature>,
    /// Groups of the model with the same class and first application frame.
    pub similar: Vec<Similar>,
    /// Who decided on the state, and when.
    pub decided_by: Option<String>,
    pub decided_at: Option<String>,
    /// When an ignored group opens again: `100x`, `10d`, or a build id.
    pub until: Option<String>,
    /// Ids of the builds in which a resolved group may still be seen.
    pub resolved_builds: Vec<String>,
    /// Where a resolved group was seen again.
    pub regression: Option<Regression>,
    pub note: Option<String>,
    /// Ids of groups that were merged into this one, the newest 1000.
    pub merged_from: Vec<String>,
    /// Id of the group that a person split this one from.
    pub split_from: Option<String>,
    /// Ids of the rollouts in which a device failed by it, newest first.
    pub rollouts: Vec<String>,
}

/// How often a group was seen in a build.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct BuildCount {
    /// `null` if no stored build is known to be it.
    pub build_id: Option<String>,
    pub version: Option<String>,
    /// As in the dumps, often only its first digits.
    pub app_elf_sha256: Option<String>,
    pub occurrences: u64,
    /// Number of devices.
    pub devices: u64,
    pub first_seen: String,
    pub last_seen: String,
}

/// How often a group was seen on a device.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceCount {
    pub device_key: String,
    pub occurrences: u64,
    pub first_seen: String,
    pub last_seen: String,
}

/// A stored dump of a group.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Dump {
    pub id: String,
    pub device_key: String,
    pub firmware_version: Option<String>,
    pub uploaded_at: String,
    pub verdict: String,
}

/// A group that may be the same bug.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Similar {
    pub id: String,
    pub signature: String,
}

/// A resolved group seen again in a build that was not known then.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Regression {
    pub at: String,
    pub device_key: String,
    pub build_id: String,
}

/// A change of a group.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Change {
    /// `open`, `resolved` or `ignored`.
    pub state: Option<String>,
    /// With `resolved`: the build with the fix, or `next` (the default): the next
    /// upload. A crash in it, or in a later one, opens the group again.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub in_build: Option<String>,
    /// With `ignored`: until `100x` more crashes, `10d` later, or a crash in a build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Empty: removes the note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Merges the group of the path into another one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Merge {
    /// Id of a group of the same model.
    pub into: String,
}

/// Makes the dumps that are like one of a group a group of their own.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Split {
    /// Id of a dump.
    pub coredump: String,
}

/// The group was merged into another one (301).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Moved {
    pub id: String,
    /// Id of the group that it is in now.
    pub redirect: String,
}

/// Makes the signatures of all stored reports anew.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Recompute {
    /// Only says what would change.
    pub dry_run: bool,
}

/// What new signatures change, or would change.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Recomputed {
    pub dry_run: bool,
    /// Number of stored reports with another signature.
    pub reports: u64,
    /// Number of fingerprints with another signature.
    pub fingerprints: u64,
    pub split: Vec<SplitOff>,
    pub merged: Vec<Merged>,
    pub renamed: Vec<Renamed>,
}

/// A group whose crashes were in another one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SplitOff {
    pub id: String,
    pub from: String,
}

/// A group that is a part of another one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Merged {
    pub id: String,
    pub into: String,
}

/// A group with another text.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Renamed {
    pub id: String,
    pub before: String,
    pub now: String,
}

/// How the signature of a dump comes about, by the lists in force.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Explained {
    pub coredump_id: String,
    /// Id of its crash group.
    pub crash: Option<String>,
    pub signature: Option<Signature>,
    /// Why there is none.
    pub reason: Option<String>,
    /// Known even without a signature, as far as the dump tells.
    pub class: String,
    pub explanation: Explanation,
}
