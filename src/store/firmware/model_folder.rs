//! One model's folder: its builds, each a file with a sidecar.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::build::{Build, FileFacts, Kind, parse_file_name, sidecar_name};
use super::checked_files::digest;
use super::{PublishError, newest_first};
use crate::build_id::BuildId;
use crate::bundle::{self, BundleLimits};
use crate::clock::iso8601;
use crate::device::{ModelCode, Version};
use crate::journal::chain;
use crate::store::publish::{FILE_MODE, Temporary, replace, set_aside, sync_folder};
use crate::store::{Error, Result};

/// The builds of one model, by name.
#[derive(Debug)]
pub(super) struct ModelFolder {
    folder: PathBuf,
    pub(super) builds: BTreeMap<String, Build>,
    /// Builds whose files are missing, kept for their names.
    lost: Vec<Build>,
    /// What could not be read; it may be whole, so it is read again later.
    unread: Vec<Error>,
    read_at: Instant,
}

impl ModelFolder {
    /// Reads the folder. Sidecars that are missing, foreign or damaged are made again from
    /// the files; what was put right or cannot be read is told in `notes`.
    pub(super) fn load(
        folder: PathBuf,
        model: &ModelCode,
        limits: &BundleLimits,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let mut folder = Self {
            builds: BTreeMap::new(),
            lost: Vec::new(),
            unread: Vec::new(),
            read_at: Instant::now(),
            folder,
        };
        let names = match list(&folder.folder) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folder),
            Err(source) => return Err(Error::io("list", &folder.folder, source)),
        };
        for kind in [Kind::Zip, Kind::Bin] {
            let extension = kind.extension();
            for name in names.iter().filter_map(|n| parse_file_name(n, extension)) {
                if folder.builds.contains_key(name) {
                    continue;
                }
                match folder.read_build(name, kind, model, limits, notes) {
                    Ok(build) => {
                        folder.builds.insert(name.to_owned(), build);
                    }
                    Err(PublishError::Store(error)) => folder.unread.push(error),
                    Err(PublishError::Refused(why)) => notes.push(format!(
                        "firmware {name} of {model} unusable: {}",
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
                match read_sidecar(&folder.folder.join(sidecar_name(name))) {
                    Ok(build) => folder.lost.extend(build),
                    Err(error) => folder.unread.push(error),
                }
                notes.push(format!("file of firmware {name} of {model} missing"));
            }
        }
        Ok(folder)
    }

    fn read_build(
        &mut self,
        name: &str,
        kind: Kind,
        model: &ModelCode,
        limits: &BundleLimits,
        notes: &mut Vec<String>,
    ) -> std::result::Result<Build, PublishError> {
        let path = self
            .folder
            .join(format!("firmware-{name}.{}", kind.extension()));
        let data = path
            .metadata()
            .map_err(|source| Error::io("look at", &path, source))?;
        let sidecar = self.folder.join(sidecar_name(name));
        let (known, is_read) = match read_sidecar(&sidecar) {
            Ok(known) => (known, true),
            Err(error) => {
                self.unread.push(error);
                (None, false)
            }
        };
        if let Some(mut build) = known {
            let version = name.split('~').next();
            if build.kind == kind
                && build.size == data.len()
                && version == Some(build.version.as_str())
            {
                name.clone_into(&mut build.name);
                if build.bin_md5.is_some() {
                    return Ok(build);
                }
                // written by an earlier release, which did not know the digests of the .bin
                let mut file =
                    File::open(&path).map_err(|source| Error::io("open", &path, source))?;
                let given = Some(&build.version);
                let described = examine(&mut file, &path, model, limits, given, String::new(), 0);
                if let Ok((described, _)) = described {
                    build.bin_md5 = described.bin_md5;
                    build.bin_appended_sha256 = described.bin_appended_sha256;
                    let text = build.to_bytes();
                    replace(&self.folder, &build.sidecar_name(), &text, FILE_MODE)?;
                }
                return Ok(build);
            }
        }
        let mut file = File::open(&path).map_err(|source| Error::io("open", &path, source))?;
        let uploaded_at = data
            .modified()
            .map_or_else(|_| String::new(), |at| iso8601(at.into()));
        // the name says the version of an image that has none
        let version = name.split('~').next().unwrap_or(name);
        let given = version.parse().ok();
        let described = examine(
            &mut file,
            &path,
            model,
            limits,
            given.as_ref(),
            uploaded_at,
            0,
        );
        let (mut build, _) = described?;
        if kind != build.kind || version != build.version.as_str() {
            let text = "contents do not match the file name".to_owned();
            return Err(bundle::Refusal::Zip(text).into());
        }
        name.clone_into(&mut build.name);
        if !is_read {
            // it may be whole, and knows more
            return Ok(build);
        }
        replace(
            &self.folder,
            &build.sidecar_name(),
            &build.to_bytes(),
            FILE_MODE,
        )?;
        notes.push(format!("rebuilt the sidecar of firmware {name} of {model}"));
        Ok(build)
    }

    /// What could not be read.
    pub(super) fn unread(&self) -> &[Error] {
        &self.unread
    }

    /// One of them.
    pub(super) fn take_unread(&mut self) -> Option<Error> {
        self.unread.pop()
    }

    /// Whether something could not be read, and that is so long ago.
    pub(super) fn is_due(&self, after: Duration) -> bool {
        !self.unread.is_empty() && self.read_at.elapsed() >= after
    }

    /// Where a build's file is.
    pub(super) fn path(&self, build: &Build) -> PathBuf {
        self.folder.join(build.file_name())
    }

    /// The build with this id.
    pub(super) fn get(&self, id: BuildId) -> Option<&Build> {
        self.builds.values().find(|build| build.id() == id)
    }

    /// What is known of the build with this id, though its file may be missing.
    pub(super) fn description(&self, id: BuildId) -> Option<&Build> {
        let lost = || self.lost.iter().find(|build| build.id() == id);
        self.get(id).or_else(lost)
    }

    /// The build that release 0.1 called so: by its file, or by the name that it had while
    /// another build was its version's newest.
    pub(super) fn called(&self, name: &str) -> Option<&Build> {
        let had_it = |build: &&Build| build.aside_names().iter().any(|aside| aside == name);
        let by_file = self.builds.get(name);
        by_file.or_else(|| self.builds.values().find(had_it))
    }

    /// The builds that a text of a person stands for: a version (its newest upload),
    /// `<version>~<digits>`, or digits of the id. More than one if the digits fit several.
    pub(super) fn named(&self, text: &str) -> Vec<&Build> {
        if let Some(build) = self.builds.get(text) {
            return vec![build];
        }
        let of_version = |version: &str| {
            let version = version.to_owned();
            let builds = self.builds.values();
            builds.filter(move |build| build.version.as_str() == version)
        };
        let newest = of_version(text).min_by(|a, b| newest_first(a, b));
        // what cannot be read now may be newer
        if let Some(newest) = newest.filter(|_| self.unread.is_empty()) {
            return vec![newest];
        }
        let is_hash = |digits: &str| {
            (8..=64).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let text = text.split_once('~').unwrap_or(("", text));
        let digits = text.1.to_ascii_lowercase();
        let found: Vec<&Build> = match text.0 {
            _ if !is_hash(&digits) => Vec::new(),
            "" => {
                let builds = self.builds.values();
                builds
                    .filter(|build| build.id().has_prefix(&digits))
                    .collect()
            }
            version => of_version(version)
                .filter(|build| build.has_hash(&digits))
                .collect(),
        };
        // one image in two files, as a power cut may leave it, is one build
        let by_id = found.into_iter().rev().map(|build| (build.id(), build));
        by_id.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Makes a synced file the build of its version. A build of the same version but with
    /// another image stays under another name.
    ///
    /// At every moment a file with the version's name is there and whole, and so is a file of
    /// every image that was there before.
    pub(super) fn put(&mut self, temporary: Temporary, build: Build) -> Result<()> {
        let before = self.builds.remove(&build.name);
        if let Some(other) = before.as_ref().filter(|before| before.id() != build.id()) {
            self.put_aside(other)?;
        }
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
        let (name, id) = (build.name.clone(), build.id());
        self.builds.insert(name.clone(), build);
        self.remove_all(|build| build.id() == id && build.name != name)
    }

    fn put_aside(&mut self, before: &Build) -> Result<()> {
        let mut aside = before.clone();
        let [by_elf, by_id] = before.aside_names();
        let is_others = |name: &String| {
            let there = self.builds.get(name);
            there.is_some_and(|there| there.id() != before.id())
        };
        aside.name = if is_others(&by_elf) { by_id } else { by_elf };
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
        self.builds.insert(aside.name.clone(), aside);
        Ok(())
    }

    /// Removes the builds that are meant.
    pub(super) fn remove_all(&mut self, is_meant: impl Fn(&Build) -> bool) -> Result<()> {
        let meant = self.builds.values().filter(|build| is_meant(build));
        let names: Vec<String> = meant.map(|build| build.name.clone()).collect();
        for name in names {
            let Some(build) = self.builds.get(&name) else {
                continue;
            };
            remove_file(&self.folder.join(build.sidecar_name()))?;
            remove_file(&self.path(build))?;
            sync_folder(&self.folder)?;
            self.builds.remove(&name);
        }
        Ok(())
    }
}

/// Checks a stored or arriving file and describes it. `given` is the version of an image that has
/// none of its own.
pub(super) fn examine(
    file: &mut File,
    path: &Path,
    model: &ModelCode,
    limits: &BundleLimits,
    given: Option<&Version>,
    uploaded_at: String,
    sequence: u64,
) -> std::result::Result<(Build, bundle::Bundle), PublishError> {
    let io = |source| Error::io("read", path, source);
    file.rewind().map_err(io)?;
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head).map_err(io)?;
    file.rewind().map_err(io)?;
    let (kind, checked) = if bundle::is_zip(&head) {
        (Kind::Zip, bundle::check(&mut *file, model, limits, given))
    } else {
        (Kind::Bin, bundle::check_bare(&mut *file, given))
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
