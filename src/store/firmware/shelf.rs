//! One model's folder: its builds, each a file with a sidecar.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use super::build::{Build, FileFacts, Kind, parse_file_name, sidecar_name};
use super::checked_files::digest;
use crate::bundle::{self, Limits};
use crate::clock::iso8601;
use crate::device::ModelCode;
use crate::journal::chain;
use crate::store::publish::{FILE_MODE, Temporary, replace, set_aside, sync_folder};
use crate::store::{Error, Result};

/// The builds of one model, by name.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    pub(super) builds: BTreeMap<String, Build>,
}

impl Shelf {
    /// Reads the folder. Sidecars that are missing, foreign or damaged are made again from
    /// the files; what was put right or cannot be read is told in `notes`.
    pub(super) fn load(
        folder: PathBuf,
        model: &ModelCode,
        limits: &Limits,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let mut shelf = Self {
            builds: BTreeMap::new(),
            folder,
        };
        let names = match list(&shelf.folder) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(shelf),
            Err(source) => return Err(Error::io("list", &shelf.folder, source)),
        };
        for kind in [Kind::Zip, Kind::Bin] {
            let extension = kind.extension();
            for name in names.iter().filter_map(|n| parse_file_name(n, extension)) {
                if shelf.builds.contains_key(name) {
                    continue;
                }
                match shelf.read_build(name, kind, model, limits, notes) {
                    Ok(build) => {
                        shelf.builds.insert(name.to_owned(), build);
                    }
                    Err(why) => notes.push(format!(
                        "firmware {name} of {model} cannot be used: {}",
                        chain(&why)
                    )),
                }
            }
        }
        for name in names.iter().filter_map(|n| parse_file_name(n, "json")) {
            let has_file = |kind: Kind| {
                let file = format!("firmware-{name}.{}", kind.extension());
                names.contains(&file)
            };
            if !has_file(Kind::Zip) && !has_file(Kind::Bin) {
                remove_file(&shelf.folder.join(sidecar_name(name)))?;
                notes.push(format!("firmware {name} of {model} is gone"));
            }
        }
        Ok(shelf)
    }

    fn read_build(
        &self,
        name: &str,
        kind: Kind,
        model: &ModelCode,
        limits: &Limits,
        notes: &mut Vec<String>,
    ) -> std::result::Result<Build, super::PublishError> {
        let path = self
            .folder
            .join(format!("firmware-{name}.{}", kind.extension()));
        let data = path
            .metadata()
            .map_err(|source| Error::io("look at", &path, source))?;
        let sidecar = self.folder.join(sidecar_name(name));
        let known = read_sidecar(&sidecar)?;
        if let Some(mut build) = known {
            let version = name.split('~').next();
            if build.kind == kind
                && build.size == data.len()
                && version == Some(build.version.as_str())
            {
                name.clone_into(&mut build.name);
                return Ok(build);
            }
        }
        let mut file = File::open(&path).map_err(|source| Error::io("open", &path, source))?;
        let uploaded_at = data
            .modified()
            .map_or_else(|_| String::new(), |at| iso8601(at.into()));
        let (mut build, _) = examine(&mut file, &path, model, limits, uploaded_at, 0)?;
        if kind != build.kind || name.split('~').next() != Some(build.version.as_str()) {
            let text = "it holds something else than its name says".to_owned();
            return Err(bundle::Refusal::Zip(text).into());
        }
        name.clone_into(&mut build.name);
        replace(
            &self.folder,
            &build.sidecar_name(),
            &build.to_bytes(),
            FILE_MODE,
        )?;
        notes.push(format!(
            "the sidecar of firmware {name} of {model} was made again"
        ));
        Ok(build)
    }

    /// Where a build's file is.
    pub(super) fn path(&self, build: &Build) -> PathBuf {
        self.folder.join(build.file_name())
    }

    /// The build with this name. One that was replaced and came back is found by both names.
    pub(super) fn find(&self, name: &str) -> Option<&Build> {
        self.builds.get(name).or_else(|| {
            let (version, _) = name.split_once('~')?;
            let build = self.builds.get(version)?;
            (build.aside_name() == name).then_some(build)
        })
    }

    /// Makes a synced file the build of its version. A build of the same version but with
    /// another image stays under another name, which is given.
    ///
    /// At every moment a file with the version's name is there and whole.
    pub(super) fn put(&mut self, temporary: Temporary, build: Build) -> Result<Option<String>> {
        let before = self.builds.remove(&build.name);
        let other = before
            .as_ref()
            .filter(|before| before.bin_sha256 != build.bin_sha256);
        let displaced = other.map(|before| self.put_aside(before)).transpose()?;
        // a file without a sidecar is looked at again; one with a wrong sidecar is not
        remove_file(&self.folder.join(build.sidecar_name()))?;
        temporary.rename_over(&self.path(&build))?;
        if let Some(before) = before.filter(|before| before.kind != build.kind) {
            remove_file(&self.path(&before))?;
        }
        replace(
            &self.folder,
            &build.sidecar_name(),
            &build.to_bytes(),
            FILE_MODE,
        )?;
        let twin = build.aside_name();
        let name = build.name.clone();
        let image = build.bin_sha256;
        self.builds.insert(name, build);
        if self
            .builds
            .get(&twin)
            .is_some_and(|twin| twin.bin_sha256 == image)
        {
            self.remove(&twin)?;
        }
        Ok(displaced)
    }

    fn put_aside(&mut self, before: &Build) -> Result<String> {
        let mut aside = before.clone();
        aside.name = before.aside_name();
        let path = self.path(&aside);
        remove_file(&path)?;
        let from = self.path(before);
        if fs::hard_link(&from, &path).is_err() {
            // FAT and some network filesystems have no links
            let mut file = File::open(&from).map_err(|source| Error::io("open", &from, source))?;
            copy_of(&mut file, &self.folder)?.rename_over(&path)?;
        }
        replace(
            &self.folder,
            &aside.sidecar_name(),
            &aside.to_bytes(),
            FILE_MODE,
        )?;
        let name = aside.name.clone();
        self.builds.insert(name.clone(), aside);
        Ok(name)
    }

    /// Removes a build; gives what it was.
    pub(super) fn remove(&mut self, name: &str) -> Result<Option<Build>> {
        let Some(build) = self.builds.get(name) else {
            return Ok(None);
        };
        remove_file(&self.folder.join(build.sidecar_name()))?;
        remove_file(&self.path(build))?;
        sync_folder(&self.folder)?;
        Ok(self.builds.remove(name))
    }
}

/// Checks a stored or arriving file and describes it.
pub(super) fn examine(
    file: &mut File,
    path: &Path,
    model: &ModelCode,
    limits: &Limits,
    uploaded_at: String,
    sequence: u64,
) -> std::result::Result<(Build, bundle::Bundle), super::PublishError> {
    let io = |source| Error::io("read", path, source);
    file.rewind().map_err(io)?;
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head).map_err(io)?;
    file.rewind().map_err(io)?;
    let (kind, checked) = if bundle::is_zip(&head) {
        (Kind::Zip, bundle::check(&mut *file, model, limits))
    } else {
        (Kind::Bin, bundle::check_bare(&mut *file))
    };
    let bundle = match checked {
        Err(bundle::Refusal::Io(source)) => return Err(io(source).into()),
        other => other?,
    };
    let size = file.metadata().map_err(io)?.len();
    let sha256 = match kind {
        Kind::Zip => digest(file).map_err(io)?,
        Kind::Bin => bundle.sha256,
    };
    let facts = FileFacts { kind, size, sha256 };
    let build = Build::new(&bundle, facts, uploaded_at, sequence);
    Ok((build, bundle))
}

/// A sidecar that parses; one that does not is set aside.
fn read_sidecar(path: &Path) -> Result<Option<Build>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file
            .take(MAX_SIDECAR_BYTES)
            .read_to_end(&mut text)
            .map_err(|source| Error::io("read", path, source))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io("open", path, source)),
    };
    match serde_json::from_slice(&text) {
        Ok(build) => Ok(Some(build)),
        Err(_) => {
            set_aside(path)?;
            Ok(None)
        }
    }
}

fn list(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .filter_map(|name| name.map(|name| name.into_string().ok()).transpose())
        .collect()
}

/// Removes a file that may not be there.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// A synced copy of a file, to be published in `folder`.
pub(super) fn copy_of(file: &mut File, folder: &Path) -> Result<Temporary> {
    let mut temporary = Temporary::new(folder, FILE_MODE)?;
    file.rewind()
        .and_then(|()| io::copy(file, temporary.file()))
        .map_err(|source| Error::io("copy to", temporary.path(), source))?;
    temporary.sync()?;
    Ok(temporary)
}

/// A sidecar has about 2 KiB.
const MAX_SIDECAR_BYTES: u64 = 256 << 10;
