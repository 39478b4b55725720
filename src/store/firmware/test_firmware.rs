//! A folder of builds for the tests.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};

use super::*;
use crate::bundle::fixture;
use crate::clock::Moment;
use crate::digest::Sha256;

pub(super) struct TestFirmware {
    pub(super) root: tempfile::TempDir,
    pub(super) firmware: Firmware,
    uploads: u64,
}

impl TestFirmware {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["assets", "cache"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let firmware = open(root.path());
        Self {
            root,
            firmware,
            uploads: 0,
        }
    }

    pub(super) fn reopen(&mut self) {
        self.firmware = open(self.root.path());
    }

    pub(super) fn try_upload(
        &mut self,
        bytes: &[u8],
    ) -> std::result::Result<Published, PublishError> {
        self.uploads += 1;
        let mut upload = self.firmware.incoming()?;
        upload.write(bytes)?;
        let arrival = Arrival {
            at: Moment::now(),
            sequence: self.uploads,
            active: None,
            version: None,
            by: None,
        };
        self.firmware.publish(&lamp(), upload, &arrival, 0)
    }

    pub(super) fn upload(&mut self, bytes: &[u8]) -> Published {
        self.try_upload(bytes).unwrap()
    }

    pub(super) fn image(&self, build: &fixture::Build<'_>) -> Option<(Vec<u8>, Option<String>)> {
        let stored = self.firmware.image(&lamp(), id(build)).unwrap()?;
        let (size, sha256, trouble) = (stored.size, stored.sha256, stored.trouble.clone());
        let bytes = contents(stored);
        assert_eq!((size, sha256), (bytes.len() as u64, Sha256::of(&bytes)));
        Some((bytes, trouble))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("assets").join(name)
    }

    /// All files below assets, sorted.
    pub(super) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for folder in ["", "lamp/"] {
            for entry in fs::read_dir(self.path(folder)).into_iter().flatten() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    files.push(format!("{folder}{}", entry.file_name().display()));
                }
            }
        }
        files.sort();
        files
    }

    pub(super) fn names(&self) -> Vec<String> {
        let builds = self.firmware.builds(&lamp()).unwrap();
        builds.into_iter().map(|build| build.name).collect()
    }

    /// The names of the builds that a text stands for.
    pub(super) fn named(&self, text: &str) -> Vec<String> {
        let builds = self.firmware.named(&lamp(), text).unwrap();
        builds.into_iter().map(|build| build.name).collect()
    }

    pub(super) fn damage(&self, name: &str, bytes: &[u8]) {
        File::create(self.path(name))
            .unwrap()
            .write_all(bytes)
            .unwrap();
    }
}

pub(super) fn open(root: &Path) -> Firmware {
    let limits = BundleLimits::for_bundles_of(1 << 20);
    Firmware::new(&root.join("assets"), &root.join("cache"), limits)
}

pub(super) fn lamp() -> ModelCode {
    "lamp".parse().unwrap()
}

pub(super) fn contents(mut stored: OpenedFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    stored.file.read_to_end(&mut bytes).unwrap();
    bytes
}

pub(super) fn version(version: &str) -> fixture::Build<'_> {
    fixture::Build {
        version,
        ..fixture::Build::of("lamp")
    }
}

pub(super) fn other(seed: u8) -> fixture::Build<'static> {
    fixture::Build {
        seed,
        ..fixture::Build::of("lamp")
    }
}

pub(super) fn id(build: &fixture::Build<'_>) -> BuildId {
    Sha256::of(&build.bin()).into()
}

pub(super) fn hash8(build: &fixture::Build<'_>) -> String {
    Sha256::of(&build.elf()).short(8)
}
