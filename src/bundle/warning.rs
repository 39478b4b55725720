//! Warnings about a bundle that is stored.

use std::fmt;

use crate::digest::Sha256;
use crate::esp::image_check::Fault;

/// What may be wrong with a bundle that is taken all the same. Displays as one line for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Warning {
    /// The .elf is not the one the .bin was built from; the .bin names `named`.
    OtherElf { named: Option<Sha256> },
    /// The image would not boot.
    Image(Fault),
    /// The .elf has no `.debug_info`.
    NoDebugInfo,
    /// `sdkconfig` turns coredumps off.
    CoredumpsOff,
    /// Keys of `sdkconfig` whose values look secret, sorted.
    Secrets(Vec<String>),
    /// The version was there already, with another build.
    OtherBuild { version: String },
    /// The image has no version of its own, but this text in its place.
    VersionGiven { given: String, found: String },
    /// The project's name is not the model's, and no firmware of the model had it before.
    NotTheModel { project: String },
    /// Another project than the model's firmware before.
    OtherProject { before: String, now: String },
    /// Another chip than the model's firmware before.
    OtherChip { before: String, now: String },
    /// A lower `secure_version` than the model's firmware before.
    LowerSecureVersion { before: u32, now: u32 },
}

impl Warning {
    /// Whether the bundle is stored but not made active: its devices could not run it.
    pub fn keeps_inactive(&self) -> bool {
        matches!(
            self,
            Self::OtherChip { .. } | Self::OtherProject { .. } | Self::LowerSecureVersion { .. }
        )
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherElf { named: Some(named) } => write!(
                f,
                "the .elf does not belong to this .bin (SHA-256 {}...): coredumps of this \
                 build cannot be decoded",
                named.short(12)
            ),
            Self::OtherElf { named: None } => f.write_str(
                "the .bin has no SHA-256 of its .elf: cannot check that they belong together",
            ),
            Self::Image(fault) => fault.fmt(f),
            Self::NoDebugInfo => {
                f.write_str("no debug info in the .elf: backtraces without files and lines")
            }
            Self::CoredumpsOff => f.write_str("coredumps are disabled in sdkconfig"),
            Self::Secrets(keys) => write!(f, "secrets in sdkconfig: {}", keys.join(", ")),
            Self::OtherBuild { version } => write!(
                f,
                "version {version} already exists with another build: devices running that \
                 version will not fetch this one"
            ),
            Self::VersionGiven { given, found } if found.is_empty() => write!(
                f,
                "the image has no version of its own: it is stored as {given}, as given"
            ),
            Self::VersionGiven { given, found } => write!(
                f,
                "the image calls its version '{found}': it is stored as {given}, as given"
            ),
            Self::NotTheModel { project } => write!(
                f,
                "the image's project is '{project}': check that it is firmware of this model"
            ),
            Self::OtherProject { before, now } => write!(
                f,
                "the image's project is '{now}', that of the firmware before '{before}': \
                 stored, not activated"
            ),
            Self::OtherChip { before, now } => write!(
                f,
                "chip is {now}, but {before} in the previous firmware: stored, not activated"
            ),
            Self::LowerSecureVersion { before, now } => write!(
                f,
                "secure_version {now} is lower than the previous {before}: stored, not \
                 activated"
            ),
        }
    }
}

impl serde::Serialize for Warning {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
