//! Opens stored files: images and bundles for devices, .elf files for the decoder.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::build::{Build, Kind};
use super::model_folder::ModelFolder;
use super::{Firmware, STORED};
use crate::build_id::BuildId;
use crate::bundle::{self, BundleLimits, Part, Refusal};
use crate::device::ModelCode;
use crate::digest::Sha256;
use crate::journal::chain;
use crate::store::{Error, Result};

/// An open file to be sent; it outlives activation and removal.
#[derive(Debug)]
pub struct OpenedFile {
    /// At its beginning.
    pub file: File,
    pub size: u64,
    /// What the ETag is made of.
    pub sha256: Sha256,
    /// Why the stored build cannot be read, if it cannot. The file is then a copy of the same
    /// image.
    pub trouble: Option<String>,
}

/// An .elf taken out of its bundle.
#[derive(Clone, Debug)]
pub struct Elf {
    pub path: PathBuf,
    pub sha256: Sha256,
    pub model: ModelCode,
    pub build: Build,
}

impl Firmware {
    /// The image of a build; `None` if neither the build nor a copy of its image is there.
    ///
    /// # Errors
    /// If the build is there, but neither it nor a copy of its image can be read.
    pub fn image(&self, model: &ModelCode, id: BuildId) -> Result<Option<OpenedFile>> {
        self.with(model, |folder| {
            let build = folder.get(id).cloned();
            let opened = build.map(|build| {
                // a copy is used only while the build itself is whole
                self.open_file(folder, &build)?;
                self.open_image(model, folder, &build)
            });
            let trouble = match opened {
                Some(Ok((_, file))) => return stored(file, id, None).map(Some),
                Some(Err(error)) => Some(error),
                None => None,
            };
            let copy = self.images.get(id.digest()).map(|(_, file)| file);
            match (copy.or_else(|| self.open_loose(model, id)), trouble) {
                (Some(file), Some(trouble)) => stored(file, id, Some(chain(&trouble))).map(Some),
                (Some(file), None) => {
                    let trouble = String::from("file missing");
                    stored(file, id, Some(trouble)).map(Some)
                }
                (None, Some(trouble)) => Err(trouble),
                (None, None) => Ok(None),
            }
        })
    }

    /// The bundle of a build; `None` if there is none, or only a bare image.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was stored.
    pub fn bundle(&self, model: &ModelCode, id: BuildId) -> Result<Option<OpenedFile>> {
        self.with(model, |folder| {
            let build = folder.get(id).filter(|build| build.kind == Kind::Zip);
            let Some(build) = build else {
                return Ok(None);
            };
            Ok(Some(OpenedFile {
                file: self.open_file(folder, build)?,
                size: build.size,
                sha256: build.sha256,
                trouble: None,
            }))
        })
    }

    /// The .elf whose SHA-256 begins with `prefix` (lower-case hex, as coredumps carry it).
    ///
    /// # Errors
    /// If a bundle has it but cannot be read.
    pub fn elf(&self, prefix: &str) -> Result<Option<Elf>> {
        let fits = |build: &&Build| build.elf_sha256.is_some_and(|elf| elf.has_prefix(prefix));
        let mut failed = None;
        for model in self.models()? {
            let outcome = self.with(&model, |folder| {
                // several bundles may have it; one that can be read is enough
                let mut failed = None;
                for build in folder.builds.values().filter(fits) {
                    match self.open_elf(&model, folder, build) {
                        Ok(elf) => return Ok(elf),
                        Err(error) => failed = Some(error),
                    }
                }
                failed.map_or(Ok(None), Err)
            });
            match outcome {
                Ok(Some(elf)) => return Ok(Some(elf)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The .elf in the bundle of a version's newest upload, for dumps that name a version but
    /// no hash.
    ///
    /// # Errors
    /// If the bundle cannot be read.
    pub fn elf_of(&self, model: &ModelCode, version: &str) -> Result<Option<Elf>> {
        self.with(model, |folder| match folder.named(version)[..] {
            [build] => self.open_elf(model, folder, build),
            _ => Ok(None),
        })
    }

    /// The image by itself, from the copy that is made when it is first needed.
    pub(super) fn open_image(
        &self,
        model: &ModelCode,
        folder: &ModelFolder,
        build: &Build,
    ) -> Result<(PathBuf, File)> {
        match build.kind {
            Kind::Bin => Ok((folder.path(build), self.open_file(folder, build)?)),
            Kind::Zip => self.images.get_or_make(build.bin_sha256, |to| {
                let mut zip = self.open_file(folder, build)?;
                let path = folder.path(build);
                take_out(&mut zip, &path, model, Part::Bin, &STORED, to)
            }),
        }
    }

    fn open_elf(
        &self,
        model: &ModelCode,
        folder: &ModelFolder,
        build: &Build,
    ) -> Result<Option<Elf>> {
        let Some(sha256) = build.elf_sha256 else {
            return Ok(None);
        };
        let (path, _) = self.elfs.get_or_make(sha256, |to| {
            let mut zip = self.open_file(folder, build)?;
            let path = folder.path(build);
            take_out(&mut zip, &path, model, Part::Elf, &STORED, to)
        })?;
        Ok(Some(Elf {
            path,
            sha256,
            model: model.clone(),
            build: build.clone(),
        }))
    }

    /// The stored file, which must be what was stored.
    pub(super) fn open_file(&self, folder: &ModelFolder, build: &Build) -> Result<File> {
        let path = folder.path(build);
        self.files
            .open(&path, build.sha256)
            .map_err(|source| Error::io("read", &path, source))
    }

    /// The image of the last upload, if it is this build's.
    pub(super) fn open_loose(&self, model: &ModelCode, id: BuildId) -> Option<File> {
        self.files.open(&self.loose_path(model), id.digest()).ok()
    }
}

/// An opened image.
fn stored(file: File, id: BuildId, trouble: Option<String>) -> Result<OpenedFile> {
    let size = file.metadata().map(|data| data.len());
    Ok(OpenedFile {
        size: size.map_err(|source| Error::io("look at", Path::new("an image"), source))?,
        file,
        sha256: id.digest(),
        trouble,
    })
}

/// Writes a file of a bundle to `to`; gives its digest.
pub(super) fn take_out(
    zip: &mut File,
    path: &Path,
    model: &ModelCode,
    part: Part,
    limits: &BundleLimits,
    to: &mut File,
) -> Result<Sha256> {
    match bundle::extract(zip, model, part, limits, to) {
        Ok((_, digest)) => Ok(digest),
        Err(Refusal::Io(source)) => Err(Error::io("extract a file from", path, source)),
        Err(other) => {
            let source = io::Error::new(io::ErrorKind::InvalidData, other);
            Err(Error::io("extract a file from", path, source))
        }
    }
}
