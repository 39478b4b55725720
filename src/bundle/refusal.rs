//! Why a firmware upload is refused; build pipelines know these texts.

use std::io;

use zip::result::ZipError;

use crate::esp::app_image::InvalidImage;
use crate::esp::wrong_file::WrongFile;

/// Why an upload is not taken. All but [`Refusal::Io`] are the sender's to put right.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("No firmware content provided")]
    Empty,
    /// Not a usable ZIP, or an unsafe one.
    #[error("Invalid firmware ZIP: {0}")]
    Zip(String),
    /// Expected files that are not there, sorted.
    #[error("Invalid firmware ZIP: missing {}", .0.join(", "))]
    Missing(Vec<String>),
    /// Files that do not belong into a bundle, sorted.
    #[error("Invalid firmware ZIP: unexpected files: {}", .0.join(", "))]
    Unexpected(Vec<String>),
    #[error("Invalid firmware ZIP: version.json is not valid JSON: {0}")]
    VersionJson(String),
    /// Fields that `version.json` lacks, sorted.
    #[error("Invalid firmware ZIP: version.json missing fields: {}", .0.join(", "))]
    MissingFields(Vec<String>),
    #[error("{error}")]
    Image {
        error: InvalidImage,
        /// What the file is instead, if that can be told.
        wrong: Option<WrongFile>,
    },
    /// The upload could not be read back, or a part of it not written.
    #[error("cannot read or write a firmware file")]
    Io(#[source] io::Error),
}

impl From<ZipError> for Refusal {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => Self::from_read(error),
            ZipError::InvalidArchive(why) => Self::Zip(why.into_owned()),
            other => Self::Zip(other.to_string()),
        }
    }
}

impl Refusal {
    /// What the sender can do about it, where that can be told.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Image { wrong, error } => {
                let wrong = wrong.map(|wrong| wrong.to_string());
                error.advice().or(wrong)
            }
            _ => None,
        }
    }

    /// Tells what is wrong with the ZIP from what is wrong with the disk.
    pub(super) fn from_read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::zip("unexpected end"),
            // a made-up offset sends the system to an impossible place
            io::ErrorKind::InvalidInput => Self::zip("invalid offsets"),
            _ if error.raw_os_error().is_some() => Self::Io(error),
            _ => Self::zip(error.to_string()),
        }
    }

    pub(super) fn zip(why: impl Into<String>) -> Self {
        Self::Zip(why.into())
    }
}
