//! Taking in an upload: check, keep what it replaces, make visible.

use std::result::Result as StdResult;

use nix::errno::Errno;

use super::build::{Build, Kind};
use super::model_folder::{ModelFolder, copy_of, examine};
use super::stored_files::take_out;
use super::{Firmware, lock, newest_first};
use crate::build_id::BuildId;
use crate::bundle::{Bundle, Part, Refusal, Warning};
use crate::clock::{Moment, iso8601};
use crate::device::{ModelCode, Version};
use crate::esp::app_image::library;
use crate::store::disk_space::Space;
use crate::store::publish::{FILE_MODE, FOLDER_MODE, Temporary, make_folder, sync_folder};
use crate::store::{Error, Result};

/// What is known of an upload besides its bytes.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Moment,
    /// The next number of the data directory's count.
    pub sequence: u64,
    /// The model's active build, which chip and `secure_version` are compared with;
    /// without one, the newest.
    pub active: Option<BuildId>,
    /// The version of an image that has none of its own.
    pub version: Option<Version>,
    /// Who uploads it.
    pub by: Option<String>,
}

/// What became of an upload that is taken.
#[derive(Clone, Debug)]
pub struct Published {
    /// The build as it is stored.
    pub build: Build,
    /// What may be wrong with what was uploaded.
    pub warnings: Vec<Warning>,
    /// Whether devices could run it; if not, it must not become active.
    pub activatable: bool,
    /// Whether the very same build was there already.
    pub known: bool,
}

/// Why an upload was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] Error),
}

impl Firmware {
    /// A file to write an upload to; dropped, it is gone.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    pub fn incoming(&self) -> Result<Temporary> {
        Temporary::new(&self.assets, FILE_MODE)
    }

    /// Whether `needed` more bytes fit while `keep_free` stay free for dumps.
    ///
    /// # Errors
    /// [`Error::Full`] if not, or [`Error::Io`].
    pub fn check_room(&self, needed: u64, keep_free: u64) -> Result<()> {
        let free = Space::of(&self.assets)?.free;
        if free >= needed.saturating_add(keep_free) {
            return Ok(());
        }
        Err(Error::Full {
            action: "store firmware in",
            path: self.assets.clone(),
            source: Errno::ENOSPC.into(),
        })
    }

    /// Checks a received upload and makes it the build of its version. When this returns,
    /// all of it is on the disk. `keep_free` is as in [`Self::check_room`].
    ///
    /// # Errors
    /// [`PublishError::Refused`] for what is no firmware of this model, else what the disk says;
    /// nothing is stored then.
    pub fn publish(
        &self,
        model: &ModelCode,
        mut upload: Temporary,
        arrival: &Arrival,
        keep_free: u64,
    ) -> StdResult<Published, PublishError> {
        let path = upload.path().to_owned();
        let limits = *lock(&self.limits);
        let (mut build, bundle) = examine(
            upload.file(),
            &path,
            model,
            &limits,
            arrival.version.as_ref(),
            iso8601(arrival.at.wall),
            arrival.sequence,
        )?;
        build.uploaded_by.clone_from(&arrival.by);
        // the image is kept twice more: for devices and for older tools
        self.check_room(build.bin_size.saturating_mul(2), keep_free)?;
        // all that may fail for lack of room comes before anything is visible
        let loose = match build.kind {
            Kind::Bin => copy_of(upload.file(), &self.assets)?,
            Kind::Zip => {
                let zip = upload.file();
                let (_, mut image) = self.images.get_or_make(build.bin_sha256, |to| {
                    take_out(zip, &path, model, Part::Bin, &limits, to)
                })?;
                copy_of(&mut image, &self.assets)?
            }
        };
        upload.sync()?;
        self.with(model, |folder| {
            let mut published = self.store_build(model, folder, upload, build, bundle, arrival)?;
            published.activatable = !published.warnings.iter().any(Warning::keeps_inactive);
            loose.rename_over(&self.loose_path(model))?;
            sync_folder(&self.assets)?;
            Ok(published)
        })
    }

    fn store_build(
        &self,
        model: &ModelCode,
        folder: &mut ModelFolder,
        mut upload: Temporary,
        mut build: Build,
        bundle: Bundle,
        arrival: &Arrival,
    ) -> StdResult<Published, PublishError> {
        let mut warnings = bundle.warnings;
        warnings.extend(compare(model, folder, &build, arrival.active));
        let id = build.id();
        let same = folder.get(id).cloned();
        let known = same.is_some();
        if let Some(same) = same.filter(|same| is_as_good(same, &build)) {
            if same.name == build.name {
                return Ok(Published {
                    build: same,
                    warnings,
                    activatable: false,
                    known,
                });
            }
            // it comes back as its version's newest upload, and is worth more as it is stored
            upload = copy_of(&mut self.open_file(folder, &same)?, &self.assets)?;
            build = Build {
                name: build.name,
                uploaded_at: build.uploaded_at,
                sequence: build.sequence,
                ..same
            };
        }
        let before = folder.builds.get(&build.name);
        if before.is_some_and(|before| before.id() != id) {
            let version = build.version.to_string();
            warnings.push(Warning::OtherBuild { version });
        }
        build.warnings = warnings.iter().map(ToString::to_string).collect();
        make_folder(&self.assets.join(model.as_str()), FOLDER_MODE)?;
        folder.put(upload, build.clone())?;
        let path = folder.path(&build);
        self.files
            .trust(&path, build.sha256)
            .map_err(|source| Error::io("look at", &path, source))?;
        Ok(Published {
            build,
            warnings,
            activatable: false,
            known,
        })
    }
}

/// Whether what is stored of a build says as much as what was uploaded of it now.
fn is_as_good(stored: &Build, now: &Build) -> bool {
    let worth = |build: &Build| (build.has_its_elf(), build.kind == Kind::Zip);
    stored.sha256 == now.sha256 || worth(stored) > worth(now)
}

/// What does not fit the model, or what devices with the build from before could not run.
fn compare(
    model: &ModelCode,
    folder: &ModelFolder,
    now: &Build,
    active: Option<BuildId>,
) -> Vec<Warning> {
    let newest = || folder.builds.values().min_by(|a, b| newest_first(a, b));
    let before = active.and_then(|id| folder.get(id)).or_else(newest);
    let mut warnings = Vec::new();
    match (before.and_then(own_project), own_project(now)) {
        (Some(before), Some(now)) if folded(before) != folded(now) => {
            warnings.push(Warning::OtherProject {
                before: before.to_owned(),
                now: now.to_owned(),
            });
        }
        (None, Some(project)) if folded(project) != model.as_str() => {
            let project = project.to_owned();
            warnings.push(Warning::NotTheModel { project });
        }
        _ => {}
    }
    let Some(before) = before else {
        return warnings;
    };
    if let (Some(before), Some(now)) = (&before.chip, &now.chip)
        && before != now
    {
        warnings.push(Warning::OtherChip {
            before: before.clone(),
            now: now.clone(),
        });
    }
    if now.secure_version < before.secure_version {
        warnings.push(Warning::LowerSecureVersion {
            before: before.secure_version,
            now: now.secure_version,
        });
    }
    warnings
}

/// The project's name, unless it is that of a library which many projects are linked to.
fn own_project(build: &Build) -> Option<&str> {
    let project = build.project.as_deref()?;
    library(project).is_none().then_some(project)
}

/// A project's name as model codes are written.
fn folded(project: &str) -> String {
    project.to_ascii_lowercase().replace('-', "_")
}
