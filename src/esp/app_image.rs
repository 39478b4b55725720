//! The beginning of an application image: who it is for and what it calls itself.

use std::str::Utf8Error;

use crate::device::{Chip, Version};
use crate::digest::Sha256;
use crate::reader::{Reader, half_at, text_until_nul, word_at};

/// What the header and the application description of a .bin say.
///
/// Test images are often cut off or made up; what they lack is `None`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppImage {
    /// ESP-IDF's firmware chip id, unless the header's magic is wrong.
    pub chip_id: Option<u16>,
    /// Which version this is: the version of record.
    pub version: Version,
    /// What stands in the image in place of a version, if the version was given.
    pub unnamed: Option<String>,
    /// The anti-rollback counter; a device with a higher one refuses the image.
    pub secure_version: u32,
    /// The project's name, at most 32 bytes.
    pub project: Option<String>,
    /// Date and time of the build as the compiler wrote them.
    pub built_at: Option<String>,
    /// The ESP-IDF version, at most 32 bytes.
    pub idf_version: Option<String>,
    /// SHA-256 of the .elf that this image was made from.
    pub app_elf_sha256: Option<Sha256>,
}

/// Why the first bytes of a .bin cannot be used.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
pub enum InvalidImage {
    #[error("Invalid firmware: binary too short (minimum 80 bytes required)")]
    TooShort,
    #[error("Invalid firmware: magic number mismatch (expected 0xABCD5432, got 0x{found:08X})")]
    Magic { found: u32 },
    #[error("Invalid firmware: cannot decode version string: {0}")]
    VersionText(Utf8Error),
    #[error("Invalid firmware: empty version string")]
    EmptyVersion,
    #[error("Invalid firmware: version is not usable as a file name")]
    UnusableVersion { found: String },
    /// The version is that of a library which the application was linked to.
    #[error("Invalid firmware: version '{found}' is the library's ({library})")]
    LibraryVersion {
        found: String,
        library: &'static str,
    },
    #[error("Invalid firmware: the image's version is {own}, not {given}")]
    OtherVersion { own: Version, given: Version },
}

impl InvalidImage {
    /// What the sender can do about a version.
    pub fn advice(&self) -> Option<String> {
        const GIVE: &str = "give the version at the upload (--version V, ?version=V)";
        match self {
            Self::EmptyVersion => Some(format!(
                "set PROJECT_VER in CMakeLists.txt or write version.txt, or {GIVE}"
            )),
            Self::UnusableVersion { found } => Some(format!(
                "the image's version is '{found}', allowed are 1-32 of A-Z a-z 0-9 . _ + -: set \
                 PROJECT_VER in CMakeLists.txt or define an esp_app_desc of your own, or {GIVE}"
            )),
            Self::LibraryVersion { .. } => Some(format!(
                "set PROJECT_VER in CMakeLists.txt or define an esp_app_desc of your own, or {GIVE}"
            )),
            Self::VersionText(_) => Some(GIVE.to_owned()),
            Self::OtherVersion { .. } => Some(String::from(
                "a version can be given only for an image that has none of its own",
            )),
            Self::TooShort | Self::Magic { .. } => None,
        }
    }
}

/// The library that a project name of an image stands for: applications that are linked to it
/// without a description of their own all carry its name and version.
pub fn library(project: &str) -> Option<&'static str> {
    match project {
        // esp32-arduino-lib-builder
        "arduino-lib-builder" => Some("the Arduino core"),
        // esp-idf-sys
        "libespidf" => Some("esp-idf-sys"),
        _ => None,
    }
}

impl AppImage {
    /// Reads the first bytes of a .bin; [`Self::HEAD_LEN`] of them say all, 80 are enough.
    /// `given` is the version of an image that has none of its own.
    ///
    /// # Errors
    /// [`InvalidImage`]; also if `given` is not the version that the image has.
    pub fn parse(head: &[u8], given: Option<&Version>) -> Result<Self, InvalidImage> {
        let version = Reader::at(head, VERSION).take(32);
        let version = version.ok_or(InvalidImage::TooShort)?;
        let magic = word_at(head, DESCRIPTION).ok_or(InvalidImage::TooShort)?;
        if magic != DESCRIPTION_MAGIC {
            return Err(InvalidImage::Magic { found: magic });
        }
        let text = |offset, length| {
            let text = text_until_nul(Reader::at(head, offset).take(length)?);
            (!text.is_empty()).then_some(text)
        };
        let project = text(PROJECT, 32);
        let (version, unnamed) = match (own_version(version, project.as_deref()), given) {
            (Ok(own), None) => (own, None),
            (Ok(own), Some(given)) if own == *given => (own, None),
            (Ok(own), Some(given)) => {
                let given = given.clone();
                return Err(InvalidImage::OtherVersion { own, given });
            }
            (Err(_), Some(given)) => (given.clone(), Some(text_until_nul(version))),
            (Err(why), None) => return Err(why),
        };
        let built_at = match (text(DATE, 16), text(TIME, 16)) {
            (Some(date), Some(time)) => Some(format!("{date} {time}")),
            (date, time) => date.or(time),
        };
        Ok(Self {
            chip_id: head
                .starts_with(&[IMAGE_MAGIC])
                .then(|| half_at(head, CHIP_ID))
                .flatten(),
            version,
            unnamed,
            secure_version: word_at(head, SECURE_VERSION).unwrap_or_default(),
            project,
            built_at,
            idf_version: text(IDF_VERSION, 32),
            app_elf_sha256: Reader::at(head, APP_ELF_SHA256)
                .take(32)
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                .filter(|digest| digest.iter().any(|byte| *byte != 0))
                .map(Sha256::from_bytes),
        })
    }

    /// The chip it is for, if it is a known one.
    pub fn chip(&self) -> Option<Chip> {
        self.chip_id.and_then(Chip::from_id)
    }

    /// How many first bytes hold everything that [`Self::parse`] reads.
    pub const HEAD_LEN: usize = APP_ELF_SHA256 + 32;
}

fn own_version(field: &[u8], project: Option<&str>) -> Result<Version, InvalidImage> {
    let end = field.iter().position(|byte| *byte == 0);
    let text = field.get(..end.unwrap_or(field.len())).unwrap_or(field);
    let text = std::str::from_utf8(text).map_err(InvalidImage::VersionText)?;
    if text.is_empty() {
        return Err(InvalidImage::EmptyVersion);
    }
    let version = text.parse().map_err(|_| InvalidImage::UnusableVersion {
        found: text.to_owned(),
    })?;
    match project.and_then(library) {
        None => Ok(version),
        Some(library) => Err(InvalidImage::LibraryVersion {
            found: text.to_owned(),
            library,
        }),
    }
}

/// First byte of `esp_image_header_t`.
pub(super) const IMAGE_MAGIC: u8 = 0xE9;
/// First word of `esp_app_desc_t`.
pub(super) const DESCRIPTION_MAGIC: u32 = 0xABCD_5432;

const CHIP_ID: usize = 12;
/// The first segment begins with the description: 24 bytes of image header, 8 of segment header.
pub(super) const DESCRIPTION: usize = 32;
const SECURE_VERSION: usize = DESCRIPTION + 4;
const VERSION: usize = DESCRIPTION + 16;
const PROJECT: usize = DESCRIPTION + 48;
const TIME: usize = DESCRIPTION + 80;
const DATE: usize = DESCRIPTION + 96;
const IDF_VERSION: usize = DESCRIPTION + 112;
const APP_ELF_SHA256: usize = DESCRIPTION + 144;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(version: &[u8]) -> Vec<u8> {
        let mut head = vec![0; AppImage::HEAD_LEN];
        head[0] = 0xE9;
        head[12] = 9;
        head[32..36].copy_from_slice(&0xABCD_5432_u32.to_le_bytes());
        head[36] = 7;
        head[48..48 + version.len()].copy_from_slice(version);
        head[80..85].copy_from_slice(b"lamp\0");
        head[112..121].copy_from_slice(b"14:30:00\0");
        head[128..140].copy_from_slice(b"Feb 11 2026\0");
        head[144..149].copy_from_slice(b"v5.5\0");
        head[176..].fill(0x1b);
        head
    }

    #[test]
    fn all_fields_are_read_from_their_places() {
        let image = AppImage::parse(&head(b"1.2.3"), None).unwrap();
        assert_eq!(image.chip(), Some(Chip::Esp32S3));
        assert_eq!(image.version.as_str(), "1.2.3");
        assert_eq!(image.secure_version, 7);
        assert_eq!(image.project.as_deref(), Some("lamp"));
        assert_eq!(image.built_at.as_deref(), Some("Feb 11 2026 14:30:00"));
        assert_eq!(image.idf_version.as_deref(), Some("v5.5"));
        assert_eq!(image.app_elf_sha256, Some(Sha256::from_bytes([0x1b; 32])));
    }

    #[test]
    fn eighty_bytes_are_enough_and_the_rest_is_unknown() {
        let mut short = head(b"1.2.3");
        short.truncate(80);
        let image = AppImage::parse(&short, None).unwrap();
        assert_eq!(image.version.as_str(), "1.2.3");
        assert_eq!((image.project, image.app_elf_sha256), (None, None));
        short.truncate(79);
        assert_eq!(AppImage::parse(&short, None), Err(InvalidImage::TooShort));
    }

    #[test]
    fn a_version_of_all_32_bytes_needs_no_end() {
        let image = AppImage::parse(&head(&[b'7'; 32]), None).unwrap();
        assert_eq!(image.version.as_str(), "7".repeat(32));
    }

    #[test]
    fn what_makes_an_image_unusable_is_said_in_fixed_words() {
        let mut foreign = head(b"1.2.3");
        foreign[32..36].copy_from_slice(&0x2a_u32.to_le_bytes());
        let cases = [
            (
                vec![0; 79],
                "Invalid firmware: binary too short (minimum 80 bytes required)",
            ),
            (
                foreign,
                "Invalid firmware: magic number mismatch (expected 0xABCD5432, got 0x0000002A)",
            ),
            (
                head(b"1.\xff"),
                "Invalid firmware: cannot decode version string: \
                 invalid utf-8 sequence of 1 bytes from index 2",
            ),
            (head(b""), "Invalid firmware: empty version string"),
            (
                head(b"../1"),
                "Invalid firmware: version is not usable as a file name",
            ),
        ];
        for (bytes, text) in cases {
            assert_eq!(AppImage::parse(&bytes, None).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn an_image_without_the_magic_names_no_chip() {
        let mut bytes = head(b"1");
        bytes[0] = 0;
        assert_eq!(AppImage::parse(&bytes, None).unwrap().chip_id, None);
    }

    #[test]
    fn a_given_version_names_only_an_image_that_has_none() {
        let given: Version = "2.0.0".parse().unwrap();
        let parse = |bytes: &[u8]| AppImage::parse(bytes, Some(&given));
        let mut library = head(b"v5.1.4-972-g2d5a2");
        library[80..100].copy_from_slice(b"arduino-lib-builder\0");
        for (bytes, found) in [
            (head(b""), ""),
            (head(b"esp-idf: v4.4.7 38eeba2"), "esp-idf: v4.4.7 38eeba2"),
            (head(b"1.\xff"), "1.\u{fffd}"),
            (library.clone(), "v5.1.4-972-g2d5a2"),
        ] {
            assert!(
                AppImage::parse(&bytes, None)
                    .unwrap_err()
                    .advice()
                    .is_some()
            );
            let image = parse(&bytes).unwrap();
            assert_eq!(image.version, given);
            assert_eq!(image.unnamed.as_deref(), Some(found));
        }
        let same = parse(&head(b"2.0.0")).unwrap();
        assert_eq!((same.version, same.unnamed), (given.clone(), None));
        assert_eq!(
            parse(&head(b"1.0")).unwrap_err(),
            InvalidImage::OtherVersion {
                own: "1.0".parse().unwrap(),
                given: given.clone(),
            }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>, magic: bool) {
            if let (true, Some(place)) = (magic, bytes.get_mut(32..36)) {
                place.copy_from_slice(&0xABCD_5432_u32.to_le_bytes());
            }
            let _ = AppImage::parse(&bytes, None);
        }
    }
}
