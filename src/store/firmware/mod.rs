//! Stored firmware: a folder a model, a file and a sidecar a build.
//!
//! Devices get images from files that were taken out of the bundles once, by digest. The
//! bundles are the truth: sidecars and taken-out files are made again when they are missing.

mod build;
mod build_removal;
mod cache;
mod checked_files;
#[cfg(test)]
mod damage_tests;
mod model_folder;
mod publish;
pub mod retention;
mod stored_files;
#[cfg(test)]
mod test_firmware;
#[cfg(test)]
mod tests;

pub use build::{Build, Kind};
pub use build_removal::{Removed, Use};
pub use publish::{Arrival, PublishError, Published};
pub use stored_files::{Elf, OpenedFile};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Error, Result};
use crate::build_id::BuildId;
use crate::bundle::BundleLimits;
use crate::config;
use crate::device::ModelCode;
use crate::journal::{Event, chain};

use cache::Cache;
use checked_files::CheckedFiles;
use model_folder::{ModelFolder, remove_file};

/// All models' firmware. Everything it does blocks.
#[derive(Debug)]
pub struct Firmware {
    assets: PathBuf,
    /// Of uploads to come.
    limits: Mutex<BundleLimits>,
    images: Cache,
    elfs: Cache,
    files: CheckedFiles,
    folders: Mutex<BTreeMap<ModelCode, Arc<Mutex<Option<ModelFolder>>>>>,
    between_reads: Duration,
    decision: Mutex<()>,
}

impl Firmware {
    /// Firmware below `assets`, with what can be made again below `cache`; nothing is read yet.
    pub fn new(assets: &Path, cache: &Path, limits: BundleLimits) -> Self {
        Self {
            assets: assets.to_owned(),
            limits: Mutex::new(limits),
            images: Cache::new(cache, "images", "bin", MAX_CACHED_IMAGES),
            elfs: Cache::new(cache, "elfs", "elf", MAX_CACHED_ELFS),
            files: CheckedFiles::default(),
            folders: Mutex::default(),
            between_reads: BETWEEN_READS,
            decision: Mutex::default(),
        }
    }

    /// Changes the limits of future uploads.
    pub fn set_limits(&self, limits: BundleLimits) {
        *lock(&self.limits) = limits;
    }

    /// The models that have a folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn models(&self) -> Result<Vec<ModelCode>> {
        let listing =
            fs::read_dir(&self.assets).map_err(|source| Error::io("list", &self.assets, source))?;
        let mut models: Vec<ModelCode> = listing
            .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir()))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        models.sort();
        Ok(models)
    }

    /// Held by whoever decides what becomes of a build: activates or pins one that is there,
    /// or removes one that is neither. Blocks.
    pub fn decision(&self) -> MutexGuard<'_, ()> {
        lock(&self.decision)
    }

    /// The build that release 0.1 named so.
    ///
    /// # Errors
    /// What reading the folder says.
    pub fn called(&self, model: &ModelCode, name: &str) -> Result<Option<BuildId>> {
        self.with(model, |folder| Ok(folder.called(name).map(Build::id)))
    }

    /// Why a part of a model's folder could not be read, if so.
    ///
    /// # Errors
    /// That reason, or what reading the folder says.
    pub fn check_read(&self, model: &ModelCode) -> Result<()> {
        self.with(model, |folder| {
            // the folder is read again after an error
            folder.take_unread().map_or(Ok(()), Err)
        })
    }

    /// A model's builds, newest first.
    ///
    /// # Errors
    /// What reading the folder says.
    pub fn builds(&self, model: &ModelCode) -> Result<Vec<Build>> {
        self.with(model, |folder| {
            let mut builds: Vec<Build> = folder.builds.values().cloned().collect();
            builds.sort_by(newest_first);
            Ok(builds)
        })
    }

    /// The build with this id.
    ///
    /// # Errors
    /// What reading the folder says.
    pub fn get(&self, model: &ModelCode, id: BuildId) -> Result<Option<Build>> {
        self.with(model, |folder| Ok(folder.get(id).cloned()))
    }

    /// What is known of the build with this id, though its file may be missing.
    ///
    /// # Errors
    /// What reading the folder says.
    pub fn description(&self, model: &ModelCode, id: BuildId) -> Result<Option<Build>> {
        self.with(model, |folder| Ok(folder.description(id).cloned()))
    }

    /// The builds that a text of a person stands for: an exact version (its newest upload),
    /// `<version>~<digits>`, or 8 and more digits of the id. Several if the digits fit several.
    ///
    /// # Errors
    /// What reading the folder says.
    pub fn named(&self, model: &ModelCode, text: &str) -> Result<Vec<Build>> {
        self.with(model, |folder| {
            Ok(folder.named(text).into_iter().cloned().collect())
        })
    }

    /// Whether this build's own file is there.
    ///
    /// # Errors
    /// What reading the folder says.
    pub fn has_file(&self, model: &ModelCode, id: BuildId) -> Result<bool> {
        self.with(model, |folder| {
            let build = folder.get(id);
            Ok(build.is_some_and(|build| folder.path(build).exists()))
        })
    }

    /// The build that dumps with this app ELF hash come from, and its model;
    /// the hash may be shortened, as dumps carry it.
    ///
    /// # Errors
    /// What reading the folders says.
    pub fn maker(&self, hash: &str) -> Result<Option<(ModelCode, Build)>> {
        for model in self.models()? {
            let mut builds = self.builds(&model)?.into_iter();
            if let Some(build) = builds.find(|build| build.made(hash)) {
                return Ok(Some((model, build)));
            }
        }
        Ok(None)
    }

    /// All builds that dumps with this app ELF hash may come from, and their models.
    ///
    /// # Errors
    /// What reading the folders says.
    pub fn makers(&self, hash: &str) -> Result<Vec<(ModelCode, Build)>> {
        let mut found = Vec::new();
        for model in self.models()? {
            let builds = self.builds(&model)?.into_iter();
            let made = builds.filter(|build| build.made(hash));
            found.extend(made.map(|build| (model.clone(), build)));
        }
        Ok(found)
    }

    /// Removes a build and what was taken out of it. Whether devices still
    /// want it is the caller's to know.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn delete(&self, model: &ModelCode, id: BuildId) -> Result<Option<Build>> {
        self.with(model, |folder| self.take_down(model, folder, id))
    }

    /// Removes the image of the last upload that older tools read, whatever it is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn delete_loose(&self, model: &ModelCode) -> Result<()> {
        self.with(model, |_| remove_file(&self.loose_path(model)))
    }

    fn take_down(
        &self,
        model: &ModelCode,
        folder: &mut ModelFolder,
        id: BuildId,
    ) -> Result<Option<Build>> {
        let Some(build) = folder.get(id).cloned() else {
            return Ok(None);
        };
        let path = folder.path(&build);
        folder.remove_all(|build| build.id() == id)?;
        self.files.forget(&path);
        let is_loose = self.open_loose(model, id).is_some();
        self.images.remove(id.digest());
        if is_loose {
            remove_file(&self.loose_path(model))?;
            self.files.forget(&self.loose_path(model));
        }
        if let Some(elf) = build.elf_sha256 {
            self.elfs.remove(elf);
        }
        Ok(Some(build))
    }

    /// Does something with a model's folder, as its only user meanwhile. The folder is read
    /// first if necessary, and again after an error.
    fn with<R, E: From<Error>>(
        &self,
        model: &ModelCode,
        work: impl FnOnce(&mut ModelFolder) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        let slot = Arc::clone(lock(&self.folders).entry(model.clone()).or_default());
        let mut slot = lock(&slot);
        if slot
            .as_ref()
            .is_some_and(|folder| folder.is_due(self.between_reads))
        {
            *slot = None;
        }
        let folder = match &mut *slot {
            Some(folder) => folder,
            empty => {
                let folder = self.assets.join(model.as_str());
                let mut notes = Vec::new();
                let folder = ModelFolder::load(folder, model, &STORED, &mut notes)?;
                for note in notes {
                    Event::StoreRepaired.entry().model(model).say(note);
                }
                for error in folder.unread() {
                    error.event().entry().model(model).say(format_args!(
                        "unreadable firmware file of {model} skipped: {}",
                        chain(error)
                    ));
                }
                empty.insert(folder)
            }
        };
        let outcome = work(folder);
        if outcome.is_err() {
            *slot = None;
        }
        outcome
    }

    fn loose_path(&self, model: &ModelCode) -> PathBuf {
        self.assets.join(format!("firmware-{model}.bin"))
    }
}

/// By arrival; builds whose arrival was lost go by their file's date, before all others.
fn newest_first(a: &Build, b: &Build) -> std::cmp::Ordering {
    let age = |build: &Build| (build.sequence, build.uploaded_at.clone());
    age(b).cmp(&age(a))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For bundles that were taken in: a limit that was lowered since is not theirs.
const STORED: BundleLimits = BundleLimits::for_bundles_of(config::MAX_BUNDLE_BYTES);
/// Time between two readings of a folder with files that cannot be read.
const BETWEEN_READS: Duration = Duration::from_secs(60);
/// A hundred images, or more.
const MAX_CACHED_IMAGES: u64 = 256 << 20;
/// A dozen .elf files with their debug info.
const MAX_CACHED_ELFS: u64 = 512 << 20;
