//! Firmware: builds in, out, active, blocked, away.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The builds of a model.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    /// Newest first.
    pub firmware: Vec<Build>,
    /// Always `null`: all are listed.
    pub next_cursor: Option<String>,
}

/// A stored build.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Build {
    pub schema: u32,
    /// What it is addressed by: the version; `<version>~<8 hex digits>` if
    /// another build has the same version.
    pub name: String,
    /// From the .bin.
    pub version: String,
    /// `zip` or `bin`: what was uploaded.
    pub kind: String,
    /// Bytes of what was uploaded.
    pub size: u64,
    /// Of what was uploaded.
    pub sha256: String,
    pub bin_size: u64,
    pub bin_sha256: String,
    /// Of the .elf that the .bin was built from, as the .bin says.
    pub app_elf_sha256: Option<String>,
    /// Of the .elf in the bundle.
    pub elf_sha256: Option<String>,
    pub chip: Option<String>,
    pub project: Option<String>,
    pub idf_version: Option<String>,
    pub git_commit: Option<String>,
    /// As the .bin says.
    pub built_at: Option<String>,
    pub secure_version: u32,
    /// What is not as it should be, a sentence each.
    pub warnings: Vec<String>,
    pub uploaded_at: String,
    /// Grows from upload to upload.
    pub sequence: u64,
    /// What another release knows of it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    /// Whether it is its model's active build.
    pub active: bool,
    /// Whether no device gets it.
    pub blocked: bool,
}

/// A build that was handed in.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Uploaded {
    /// The model's number, for life.
    pub id: u64,
    pub code: String,
    pub firmware_version: String,
    /// Whether devices get it now.
    pub active: bool,
    /// What is not as it should be, a sentence each.
    pub warnings: Vec<String>,
}

/// A build that a person names.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Named {
    /// As `name` of the firmware list.
    pub version: String,
}

/// A build that devices get from now on.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Activated {
    /// The model's number, for life.
    pub id: u64,
    pub code: String,
    pub firmware_version: String,
    /// As in the firmware list; told by a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub active: bool,
}

/// A build that no device gets any more.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Blocked {
    pub code: String,
    pub name: String,
    pub blocked: bool,
    /// Whether it is the active one: then the model's devices get nothing.
    pub active: bool,
}

/// Builds that are gone.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Deleted {
    /// Their names.
    pub deleted: Vec<String>,
}

/// The version that a device, or a model's devices, would get.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Version {
    /// The model; not told to devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// `null`: none.
    pub firmware_version: Option<String>,
}
