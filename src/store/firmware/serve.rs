//! Giving out: images and bundles for devices, .elf files for the decoder.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::build::{Build, Kind};
use super::checked_files::digest;
use super::shelf::Shelf;
use super::{Firmware, STORED};
use crate::bundle::{self, Limits, Part, Refusal};
use crate::device::ModelCode;
use crate::digest::Sha256;
use crate::esp::app_image::AppImage;
use crate::journal::chain;
use crate::store::{Error, Result};

/// An open file to be sent; it outlives activation and removal.
#[derive(Debug)]
pub struct Stored {
    /// At its beginning.
    pub file: File,
    pub size: u64,
    /// What the ETag is made of.
    pub sha256: Sha256,
    /// Why the stored build cannot be read, if it cannot. The file is then a copy of it, or
    /// the image of the last upload, which has the same version.
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
    /// The image of a build, `None` if there is nothing of that version.
    ///
    /// # Errors
    /// If the build is there, but neither it nor a copy of its image can be read.
    pub fn image(&self, model: &ModelCode, name: &str) -> Result<Option<Stored>> {
        self.with(model, |shelf| {
            let Some(build) = shelf.find(name).cloned() else {
                return Ok(self.open_loose(model, name, None));
            };
            let trouble = self.open_file(shelf, &build).err();
            let opened = match &trouble {
                None => self.open_image(model, shelf, &build),
                // a copy that was made while all was well is still the same image
                Some(_) => self.images.get(build.bin_sha256).ok_or_else(|| {
                    let text = io::Error::other("there is no copy of it");
                    Error::io("read", &shelf.path(&build), text)
                }),
            };
            match opened {
                Ok((_, file)) => Ok(Some(Stored {
                    file,
                    size: build.bin_size,
                    sha256: build.bin_sha256,
                    trouble: trouble.map(|error| chain(&error)),
                })),
                Err(error) => {
                    let error = trouble.unwrap_or(error);
                    let loose = self.open_loose(model, name, Some(chain(&error)));
                    loose.map(Some).ok_or(error)
                }
            }
        })
    }

    /// The bundle of a build; `None` if there is none, or only a bare image.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was stored.
    pub fn bundle(&self, model: &ModelCode, name: &str) -> Result<Option<Stored>> {
        self.with(model, |shelf| {
            let build = shelf.find(name).filter(|build| build.kind == Kind::Zip);
            let Some(build) = build else {
                return Ok(None);
            };
            Ok(Some(Stored {
                file: self.open_file(shelf, build)?,
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
            let outcome = self.with(&model, |shelf| {
                // several bundles may have it; one that can be read is enough
                let mut failed = None;
                for build in shelf.builds.values().filter(fits) {
                    match self.open_elf(&model, shelf, build) {
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

    /// The .elf in a build's bundle, for dumps that name a version but no hash.
    ///
    /// # Errors
    /// If the bundle cannot be read.
    pub fn elf_of(&self, model: &ModelCode, name: &str) -> Result<Option<Elf>> {
        self.with(model, |shelf| {
            let found = shelf.find(name);
            let elf = found.map(|build| self.open_elf(model, shelf, build));
            Ok(elf.transpose()?.flatten())
        })
    }

    /// The image by itself, from the copy that is made when it is first needed.
    pub(super) fn open_image(
        &self,
        model: &ModelCode,
        shelf: &Shelf,
        build: &Build,
    ) -> Result<(PathBuf, File)> {
        match build.kind {
            Kind::Bin => Ok((shelf.path(build), self.open_file(shelf, build)?)),
            Kind::Zip => self.images.get_or_make(build.bin_sha256, |to| {
                let mut zip = self.open_file(shelf, build)?;
                let path = shelf.path(build);
                take_out(&mut zip, &path, model, Part::Bin, &STORED, to)
            }),
        }
    }

    fn open_elf(&self, model: &ModelCode, shelf: &Shelf, build: &Build) -> Result<Option<Elf>> {
        let Some(sha256) = build.elf_sha256 else {
            return Ok(None);
        };
        let (path, _) = self.elfs.get_or_make(sha256, |to| {
            let mut zip = self.open_file(shelf, build)?;
            let path = shelf.path(build);
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
    fn open_file(&self, shelf: &Shelf, build: &Build) -> Result<File> {
        let path = shelf.path(build);
        self.files
            .open(&path, build.sha256)
            .map_err(|source| Error::io("read", &path, source))
    }

    /// The image of the last upload, if it has this version.
    fn open_loose(
        &self,
        model: &ModelCode,
        version: &str,
        trouble: Option<String>,
    ) -> Option<Stored> {
        let mut file = File::open(self.loose_path(model)).ok()?;
        let mut head = Vec::new();
        let length = u64::try_from(AppImage::HEAD_LEN).ok()?;
        file.by_ref().take(length).read_to_end(&mut head).ok()?;
        let image = AppImage::parse(&head).ok()?;
        if image.version.as_str() != version {
            return None;
        }
        let sha256 = digest(&mut file).ok()?;
        Some(Stored {
            size: file.metadata().ok()?.len(),
            file,
            sha256,
            trouble: trouble.or_else(|| Some("it is not there".to_owned())),
        })
    }

    /// Whether the image of the last upload is this build's.
    pub(super) fn loose_is(&self, model: &ModelCode, build: &Build) -> bool {
        let loose = self.open_loose(model, build.version.as_str(), None);
        loose.is_some_and(|loose| loose.sha256 == build.bin_sha256)
    }
}

/// Writes a file of a bundle to `to`; gives its digest.
pub(super) fn take_out(
    zip: &mut File,
    path: &Path,
    model: &ModelCode,
    part: Part,
    limits: &Limits,
    to: &mut File,
) -> Result<Sha256> {
    match bundle::extract(zip, model, part, limits, to) {
        Ok((_, digest)) => Ok(digest),
        Err(Refusal::Io(source)) => Err(Error::io("take a file out of", path, source)),
        Err(other) => {
            let source = io::Error::new(io::ErrorKind::InvalidData, other);
            Err(Error::io("take a file out of", path, source))
        }
    }
}
