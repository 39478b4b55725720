//! Firmware bundles: a ZIP of what one ESP-IDF build made, or its bare .bin.
//!
//! A bundle holds exactly `{model}.bin`, `{model}.elf`, `{model}.map`,
//! `sdkconfig` and `version.json` at its top level; `.map` and `sdkconfig` may
//! be missing if `version.json` says `"partial": true`. The version of record
//! is the one in the .bin; the .elf makes the coredumps of that build readable.

mod archive;
mod elf;
#[cfg(test)]
#[path = "../../tests/common/firmware.rs"]
pub(crate) mod fixture;
mod manifest;
mod refusal;
mod sdkconfig;
mod warning;

use std::io::{Read, Seek, Write};

use crate::device::{ModelCode, Version};
use crate::digest::{HashingWriter, Sha256};
use crate::esp::app_image::AppImage;
use crate::esp::image_check::{Check, Soundness};
use crate::esp::wrong_file::{self, recognize};

use archive::Archive;
pub use archive::BundleLimits;
use elf::ElfCheck;
pub use manifest::Manifest;
pub use refusal::Refusal;
pub use warning::Warning;

/// What a bundle or a bare .bin was found to be.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What the .bin says of itself.
    pub image: AppImage,
    /// Bytes of the .bin.
    pub size: u64,
    /// Digest of the .bin.
    pub sha256: Sha256,
    /// MD5 of the .bin.
    pub md5: [u8; 16],
    /// The digest at the end of the .bin, as it stands there.
    pub appended_sha256: Option<Sha256>,
    /// Digest of the .elf; a bare .bin has none.
    pub elf_sha256: Option<Sha256>,
    /// `version.json`; a bare .bin has none.
    pub manifest: Option<Manifest>,
    /// What may be wrong although the bundle is taken.
    pub warnings: Vec<Warning>,
}

impl Bundle {
    /// What an image alone says.
    fn of_image(image: AppImage, found: Soundness, others: Vec<Warning>) -> Self {
        let unnamed = image.unnamed.as_ref().map(|found| Warning::VersionGiven {
            given: image.version.to_string(),
            found: found.clone(),
        });
        let faults = found.faults.into_iter().map(Warning::Image);
        Self {
            size: found.size,
            sha256: found.sha256,
            md5: found.md5,
            appended_sha256: found.appended,
            elf_sha256: None,
            manifest: None,
            warnings: unnamed.into_iter().chain(faults).chain(others).collect(),
            image,
        }
    }

    /// The hash by which coredumps name this build: what the .bin says, else the .elf's own.
    pub fn app_elf_sha256(&self) -> Option<Sha256> {
        self.image.app_elf_sha256.or(self.elf_sha256)
    }
}

/// The files of a bundle that are used one by one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Part {
    Bin,
    Elf,
}

impl Part {
    fn name(self, model: &ModelCode) -> String {
        match self {
            Self::Bin => format!("{model}.bin"),
            Self::Elf => format!("{model}.elf"),
        }
    }
}

/// Whether an upload that begins with `head` is a ZIP; anything else is taken for a bare .bin.
pub fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04")
}

/// Reads a bundle through once and says what it is. Holds no entry in memory but the small texts.
/// `given` is the version of an image that has none of its own.
///
/// # Errors
/// [`Refusal`].
pub fn check(
    zip: impl Read + Seek,
    model: &ModelCode,
    limits: &BundleLimits,
    given: Option<&Version>,
) -> Result<Bundle, Refusal> {
    let mut archive = Archive::open(zip, limits)?;
    let [bin, elf, map] = ["bin", "elf", "map"].map(|extension| format!("{model}.{extension}"));
    // what is wrong with it is said after what is missing
    let manifest = archive.read_text(VERSION_JSON);
    let manifest = manifest.and_then(|text| Manifest::parse(&text));
    let is_partial = manifest.as_ref().is_ok_and(|manifest| manifest.partial);
    let mut expected = vec![&*bin, &*elf, VERSION_JSON];
    for part in [&*map, SDKCONFIG] {
        if archive.has(part) || !is_partial {
            expected.push(part);
        }
    }
    archive.expect_exactly(&expected)?;
    let manifest = manifest?;
    let mut image = ImageCheck::default();
    archive.read(&bin, |bytes| image.feed(bytes))?;
    let (image, soundness) = image.finish(given)?;
    let mut elf_check = ElfCheck::default();
    archive.read(&elf, |bytes| elf_check.feed(bytes))?;
    let elf_facts = elf_check.finish();
    let mut warnings = Vec::new();
    if image.app_elf_sha256 != Some(elf_facts.sha256) {
        warnings.push(Warning::OtherElf {
            named: image.app_elf_sha256,
        });
    }
    if !elf_facts.has_debug_info {
        warnings.push(Warning::NoDebugInfo);
    }
    if archive.has(SDKCONFIG) {
        warnings.extend(sdkconfig::warnings(&archive.read_text(SDKCONFIG)?));
    }
    if archive.has(&map) {
        // not looked at, but a bundle with a part that does not inflate is not kept
        archive.read(&map, |_| ())?;
    }
    Ok(Bundle {
        elf_sha256: Some(elf_facts.sha256),
        manifest: Some(manifest),
        ..Bundle::of_image(image, soundness, warnings)
    })
}

/// Reads a bare .bin through once and says what it is. `given` is the version of an image that
/// has none of its own.
///
/// # Errors
/// [`Refusal`].
pub fn check_bare(bin: impl Read, given: Option<&Version>) -> Result<Bundle, Refusal> {
    let mut image = ImageCheck::default();
    archive::pump(bin, |bytes| {
        image.feed(bytes);
        Ok(())
    })?;
    if image.head.is_empty() {
        return Err(Refusal::Empty);
    }
    let (image, soundness) = image.finish(given)?;
    Ok(Bundle::of_image(image, soundness, Vec::new()))
}

/// Copies one file of a stored bundle to `to`; gives its size and digest.
///
/// What cannot be written to `to` is [`Refusal::Io`], all else means that the bundle is damaged.
pub fn extract(
    zip: impl Read + Seek,
    model: &ModelCode,
    part: Part,
    limits: &BundleLimits,
    to: impl Write,
) -> Result<(u64, Sha256), Refusal> {
    let mut to = HashingWriter::new(to);
    Archive::open(zip, limits)?.copy(&part.name(model), &mut to)?;
    to.flush().map_err(Refusal::Io)?;
    let size = to.written();
    Ok((size, to.finish().1))
}

/// Keeps the first bytes of a .bin and checks all of them.
#[derive(Default)]
struct ImageCheck {
    head: Vec<u8>,
    check: Check,
}

impl ImageCheck {
    fn feed(&mut self, bytes: &[u8]) {
        let missing = wrong_file::HEAD_LEN - self.head.len();
        self.head
            .extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        self.check.feed(bytes);
    }

    fn finish(self, given: Option<&Version>) -> Result<(AppImage, Soundness), Refusal> {
        let soundness = self.check.finish();
        match AppImage::parse(&self.head, given) {
            Ok(image) => Ok((image, soundness)),
            Err(error) => Err(Refusal::Image {
                wrong: recognize(&self.head, soundness.size),
                error,
            }),
        }
    }
}

const SDKCONFIG: &str = "sdkconfig";
const VERSION_JSON: &str = "version.json";

#[cfg(test)]
mod tests;
