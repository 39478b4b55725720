//! Builds: what is known of each stored image.

use serde::{Deserialize, Serialize};

/// Stored builds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    /// By model; the newest first.
    pub builds: Vec<Build>,
    /// Always `null`: the list is complete.
    pub next_cursor: Option<String>,
}

/// A stored build and its use.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Build {
    /// SHA-256 of the .bin.
    pub build_id: String,
    pub model: String,
    /// The version; `<version>~<8 hex digits>` if a newer build has the same version.
    pub name: String,
    pub version: String,
    pub uploaded_at: String,
    /// Who uploaded it; `null` for builds of release 0.1.
    pub uploaded_by: Option<String>,
    /// Warnings of the upload, a sentence each.
    pub warnings: Vec<String>,
    /// Whether it is its model's active build.
    pub active: bool,
    /// `null`: it is not blocked.
    pub blocked: Option<Block>,
    /// Ids of the rollouts of it, newest first.
    pub rollouts: Vec<String>,
    /// Devices that run it now.
    pub devices: Devices,
    /// Hours that devices ran it, as far as their contacts show.
    pub device_hours: f64,
    /// Number of stored dumps.
    pub dumps: u64,
    /// Crashes that were counted, whether or not their dumps are stored.
    pub crashes: u64,
    /// Of these, those that the gateway caused; they do not count against the build.
    pub gateway_induced: u64,
    pub groups: Groups,
    /// Share of the devices that it did not crash on, 0 to 1; `null` if no device ran it.
    pub crash_free: Option<f64>,
    /// Number of devices behind that share: those that run it, ran it or crashed with
    /// it.
    pub crash_free_devices: u32,
}

/// Why a build is blocked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Block {
    /// As the person who blocked it wrote.
    pub why: Option<String>,
    pub by: Option<String>,
    pub at: Option<String>,
}

/// Devices that run a build.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Devices {
    /// They named the image.
    pub exact: u64,
    /// It follows from a version or from what they did.
    pub likely: u64,
}

/// Crash groups of a build.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Groups {
    /// First seen in this build, the most occurrences first.
    pub new: Vec<Group>,
    /// Number of those that older builds have, too.
    pub known: u64,
}

/// A crash group.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Group {
    pub id: String,
    pub signature: String,
}

/// Why a build is to be blocked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reason {
    /// At most 500 characters.
    pub why: Option<String>,
}
