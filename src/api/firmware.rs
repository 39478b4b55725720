//! Firmware: builds uploaded, downloaded, activated, blocked, deleted.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::OpenEnum;
use crate::store::firmware::{self, Kind};
use crate::store::registry::Model;

/// The builds of a model.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    /// Newest first.
    pub firmware: Vec<Build>,
    /// Always `null`: the list is complete.
    pub next_cursor: Option<String>,
}

/// A stored build.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Build {
    pub schema: u32,
    /// The version; `<version>~<8 hex digits>` if a newer build has the same version.
    pub name: String,
    /// From the .bin.
    pub version: String,
    /// Kind of upload.
    pub kind: OpenEnum<Kind>,
    /// Size of the upload in bytes.
    pub size: u64,
    /// Of what was uploaded.
    pub sha256: String,
    pub bin_size: u64,
    pub bin_sha256: String,
    /// SHA-256 of the matching .elf, from the .bin.
    pub app_elf_sha256: Option<String>,
    /// SHA-256 of the .elf in the bundle.
    pub elf_sha256: Option<String>,
    pub chip: Option<String>,
    pub project: Option<String>,
    pub idf_version: Option<String>,
    pub git_commit: Option<String>,
    /// As the .bin says.
    pub built_at: Option<String>,
    pub secure_version: u32,
    /// Warnings, a sentence each.
    pub warnings: Vec<String>,
    pub uploaded_at: String,
    /// Increases with each upload.
    pub sequence: u64,
    /// What another release knows of it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    /// SHA-256 of the .bin; identifies the build.
    pub build_id: String,
    /// Whether it is its model's active build.
    pub active: bool,
    /// Whether it is blocked: no device gets it.
    pub blocked: bool,
}

impl Build {
    /// A stored build as answers show it.
    pub fn of(build: &firmware::Build, model: &Model) -> Self {
        Self {
            schema: build.schema,
            name: build.name.clone(),
            version: build.version.to_string(),
            kind: build.kind.into(),
            size: build.size,
            sha256: build.sha256.to_string(),
            bin_size: build.bin_size,
            bin_sha256: build.bin_sha256.to_string(),
            app_elf_sha256: build.app_elf_sha256.map(|digest| digest.to_string()),
            elf_sha256: build.elf_sha256.map(|digest| digest.to_string()),
            chip: build.chip.clone(),
            project: build.project.clone(),
            idf_version: build.idf_version.clone(),
            git_commit: build.git_commit.clone(),
            built_at: build.built_at.clone(),
            secure_version: build.secure_version,
            warnings: build.warnings.clone(),
            uploaded_at: build.uploaded_at.clone(),
            sequence: build.sequence,
            extra: build.extra.clone(),
            build_id: build.id().to_string(),
            active: model.active_id() == Some(build.id()),
            blocked: model.is_blocked(build.id()),
        }
    }
}

/// An uploaded build.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Uploaded {
    /// The model's number; never changes.
    pub id: u64,
    pub code: String,
    pub firmware_version: String,
    /// Whether it is active now.
    pub active: bool,
    /// Warnings, a sentence each.
    pub warnings: Vec<String>,
}

/// A build selected by version, name or id.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Named {
    /// Its version (then the newest upload of it), its name, or at least 8 digits
    /// of its id.
    pub version: String,
}

/// An activated build.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Activated {
    /// The model's number; never changes.
    pub id: u64,
    pub code: String,
    pub firmware_version: String,
    /// As in the firmware list.
    pub name: String,
    pub build_id: String,
    pub active: bool,
}

/// A blocked build.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Blocked {
    pub code: String,
    pub name: String,
    pub build_id: String,
    pub blocked: bool,
    /// Whether it is the active build; then the model's devices get nothing.
    pub active: bool,
    /// Another build with the same version that is still active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub still_active: Option<String>,
}

/// Deleted builds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Deleted {
    /// Their names.
    pub deleted: Vec<String>,
}

/// The active version of a model.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Version {
    pub code: String,
    /// `null`: none.
    pub firmware_version: Option<String>,
}

/// The build that a device would get.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Offered {
    /// `null`: none.
    pub firmware_version: Option<String>,
    pub build_id: Option<String>,
    /// Seconds after which the device should ask again.
    pub poll_after_s: u64,
}

/// The offered build for ESPHome's `http_request` update.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Manifest {
    /// The model.
    pub name: String,
    pub version: String,
    /// One build; none if the image does not say its chip.
    pub builds: Vec<ManifestBuild>,
}

/// The image for one kind of chip.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ManifestBuild {
    /// `ESP32`, `ESP32-S3`, ...
    pub chip_family: String,
    pub ota: ManifestOta,
}

/// Where the image is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ManifestOta {
    /// On this gateway.
    pub path: String,
    /// Of the image, hex.
    pub md5: String,
    pub summary: String,
}
