//! Builds of one application that differ in version and hash only, so that what they crash
//! by is the same bug if the dumps say so.

use espgate::digest::Sha256;

use crate::dumps::crash_of_app;
use crate::firmware_files::{Build, Image, zip};

const APP: &[u8] = include_bytes!("../data/app.elf");
/// Three ranges of 64 KiB, and room for a download to be in the middle.
const CODE: usize = 150_000;

/// A build.
#[derive(Debug)]
pub(crate) struct Firmware {
    pub(crate) version: String,
    /// The .bin.
    pub(crate) image: Vec<u8>,
    pub(crate) build_id: String,
    /// Of the .bin, as the gateway gives it.
    pub(crate) etag: String,
    /// The first digits of the application's hash, as dumps have them.
    pub(crate) hash: &'static str,
    elf: Vec<u8>,
}

impl Firmware {
    pub(crate) fn new(version: &str) -> Self {
        let elf = [APP, version.as_bytes()].concat();
        let image = Image {
            elf: &elf,
            chip_id: 5,
            version,
            code: CODE,
            ..Image::default()
        };
        let image = image.build();
        let build_id = Sha256::of(&image).to_string();
        Self {
            version: version.to_owned(),
            etag: build_id[..32].to_owned(),
            build_id,
            hash: Sha256::of(&elf).short(9).leak(),
            image,
            elf,
        }
    }

    /// The bundle that a pipeline uploads.
    pub(crate) fn bundle(&self, model: &str) -> Vec<u8> {
        let build = Build {
            version: &self.version,
            chip_id: 5,
            ..Build::of(model)
        };
        let mut files = build.files();
        files[0].1 = self.image.clone();
        files[1].1 = self.elf.clone();
        zip(&files)
    }

    /// A dump of a crash of this build; those with another `salt` differ in memory only.
    pub(crate) fn dump(&self, salt: u8) -> Vec<u8> {
        let mut crash = crash_of_app(self.hash);
        crash.segments.push((0x3ffc_0000, vec![salt; 16]));
        crash.image(0x0102, true)
    }
}
