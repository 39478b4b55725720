//! A stored build's metadata: the JSON file beside it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::build_id::BuildId;
use crate::bundle::Bundle;
use crate::device::{Chip, Version};
use crate::digest::Sha256;

/// The schema this program writes.
const SCHEMA: u32 = 1;

/// Kind of upload and of stored file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A bundle.
    Zip,
    /// A bare image; its dumps cannot be decoded.
    Bin,
}

impl Kind {
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Bin => "bin",
        }
    }
}

/// One stored build. Fields written by a newer version survive in `extra`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Build {
    pub schema: u32,
    /// What it is addressed by: the version, or `<version>~<hash8>` for a build that
    /// another one of the same version has replaced.
    pub name: String,
    /// The version of record: the one in the .bin.
    pub version: Version,
    pub kind: Kind,
    /// Bytes of the stored file.
    pub size: u64,
    /// Digest of the stored file.
    #[serde(with = "hex")]
    pub sha256: Sha256,
    pub bin_size: u64,
    #[serde(with = "hex")]
    pub bin_sha256: Sha256,
    /// MD5 of the .bin; update clients of Arduino and ESPHome compare with it.
    #[serde(default)]
    pub bin_md5: Option<String>,
    /// The digest that stands at the end of the .bin; devices know the image by it.
    #[serde(default, with = "maybe_hex")]
    pub bin_appended_sha256: Option<Sha256>,
    /// The hash by which the .bin, and so its dumps, name their .elf.
    #[serde(with = "maybe_hex")]
    pub app_elf_sha256: Option<Sha256>,
    /// Digest of the bundle's .elf.
    #[serde(with = "maybe_hex")]
    pub elf_sha256: Option<Sha256>,
    pub chip: Option<String>,
    pub project: Option<String>,
    pub idf_version: Option<String>,
    pub git_commit: Option<String>,
    pub built_at: Option<String>,
    pub secure_version: u32,
    pub warnings: Vec<String>,
    /// ISO 8601, UTC.
    pub uploaded_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_by: Option<String>,
    /// Order of arrival in this data directory; 0 if that was lost.
    pub sequence: u64,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The file a build is stored in.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileFacts {
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) sha256: Sha256,
}

impl Build {
    /// Describes a checked upload.
    pub(super) fn new(
        bundle: &Bundle,
        file: FileFacts,
        uploaded_at: String,
        sequence: u64,
    ) -> Self {
        let image = &bundle.image;
        let unknown_chip = || image.chip_id.map(|id| format!("chip {id}"));
        Self {
            schema: SCHEMA,
            name: image.version.to_string(),
            version: image.version.clone(),
            kind: file.kind,
            size: file.size,
            sha256: file.sha256,
            bin_size: bundle.size,
            bin_sha256: bundle.sha256,
            bin_md5: Some(
                bundle
                    .md5
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            ),
            bin_appended_sha256: bundle.appended_sha256,
            app_elf_sha256: image.app_elf_sha256,
            elf_sha256: bundle.elf_sha256,
            chip: image
                .chip()
                .map(Chip::name)
                .map(str::to_owned)
                .or_else(unknown_chip),
            project: image.project.clone(),
            idf_version: image.idf_version.clone(),
            git_commit: bundle.manifest.as_ref().map(|m| m.git_commit.clone()),
            built_at: image.built_at.clone(),
            secure_version: image.secure_version,
            warnings: bundle.warnings.iter().map(ToString::to_string).collect(),
            uploaded_at,
            uploaded_by: None,
            sequence,
            extra: Map::new(),
        }
    }

    /// The build's id.
    pub fn id(&self) -> BuildId {
        self.bin_sha256.into()
    }

    /// The names this build may have once another one of its version replaced it: by the app
    /// ELF hash, as dumps name it, and, if that is another build's too (the same program signed
    /// again), by its id.
    pub(super) fn aside_names(&self) -> [String; 2] {
        let hash = self.app_elf_sha256.or(self.elf_sha256);
        let hash = hash.unwrap_or(self.bin_sha256);
        [hash, self.bin_sha256].map(|hash| format!("{}~{}", self.version, hash.short(8)))
    }

    /// Whether `digits` (lower-case hex) begin a hash that stands behind `~` in its names.
    pub(super) fn has_hash(&self, digits: &str) -> bool {
        self.made(digits) || self.bin_sha256.has_prefix(digits)
    }

    /// Whether the .elf in the bundle is the one its image was built from.
    pub fn has_its_elf(&self) -> bool {
        self.elf_sha256.is_some() && self.elf_sha256 == self.app_elf_sha256
    }

    /// Whether dumps with this app ELF hash (lower-case hex, as far as they
    /// carry it) come from this build.
    pub fn made(&self, hash: &str) -> bool {
        let hashes = [self.app_elf_sha256, self.elf_sha256];
        hashes.iter().flatten().any(|build| build.has_prefix(hash))
    }

    /// The stored file's name in the model's folder.
    pub fn file_name(&self) -> String {
        format!("firmware-{}.{}", self.name, self.kind.extension())
    }

    pub(super) fn sidecar_name(&self) -> String {
        sidecar_name(&self.name)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

pub(super) fn sidecar_name(name: &str) -> String {
    format!("firmware-{name}.json")
}

/// Reads `firmware-<name>.<extension>`: the name, if it is one of a build.
pub(super) fn parse_file_name<'a>(file_name: &'a str, extension: &str) -> Option<&'a str> {
    let name = file_name
        .strip_prefix("firmware-")?
        .strip_suffix(extension)?
        .strip_suffix('.')?;
    let (version, hash) = name.split_once('~').unwrap_or((name, "00000000"));
    let is_hash = hash.len() == 8
        && hash
            .bytes()
            .all(|digit| b"0123456789abcdef".contains(&digit));
    (is_hash && version.parse::<Version>().is_ok()).then_some(name)
}

mod hex {
    use super::Sha256;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &Sha256, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sha256, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod maybe_hex {
    use super::Sha256;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(
        digest: &Option<Sha256>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        digest.map(|digest| digest.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Sha256>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_foreign_files_are_not_builds() {
        for (file, expected) in [
            ("firmware-1.2.3.zip", Some("1.2.3")),
            ("firmware-1.2.3~1b43c5e7.zip", Some("1.2.3~1b43c5e7")),
            ("firmware-1.zip.zip", Some("1.zip")),
            ("firmware-1.2.3~1B43C5E7.zip", None),
            ("firmware-1.2.3~1b43.zip", None),
            ("firmware-.zip", None),
            ("firmware-zip", None),
            ("firmware-a b.zip", None),
            ("notes.zip", None),
            (".firmware-1.zip", None),
        ] {
            assert_eq!(parse_file_name(file, "zip"), expected, "{file}");
        }
    }
}
