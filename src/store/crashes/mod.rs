//! Crash groups on disk: a file for each group, and the log of what people
//! decided. Group files can be made again from the devices' crash records and
//! the log; the log cannot.

mod decision;
mod group;
mod member;
mod seen_on;

pub use decision::{AliasName, Choice, Decision};
pub use group::{
    Alias, AliasKind, At, Decided, Group, GroupFile, Origin, Regression, Rest, SCHEMA, Seen, State,
};
pub use member::{Facts, Member, Members};
pub use seen_on::SeenOn;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::group_commit::GroupCommit;
use super::publish::{FILE_MODE, Temporary, set_aside, sync_folder};
use super::{Error, Result};
use crate::journal::{Event, chain};

const DECISIONS: &str = "decisions.jsonl";

/// The folder of crash groups.
#[derive(Debug)]
pub struct CrashFiles {
    folder: PathBuf,
    /// Held while appending to the log.
    log: Mutex<()>,
    commits: GroupCommit,
}

/// What the folder holds.
#[derive(Debug, Default)]
pub struct Loaded {
    pub files: Vec<GroupFile>,
    /// In order.
    pub decisions: Vec<Decision>,
}

impl CrashFiles {
    /// The files in `folder`, which exists.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            log: Mutex::new(()),
            commits: GroupCommit::below(folder),
        }
    }

    /// Reads everything. An invalid group file is set aside, with an event.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn load(&self) -> Result<Loaded> {
        let mut loaded = Loaded {
            decisions: self.read_decisions()?,
            ..Loaded::default()
        };
        let listing =
            fs::read_dir(&self.folder).map_err(|source| Error::io("list", &self.folder, source))?;
        for entry in listing.flatten() {
            let path = entry.path();
            let is_group = path
                .extension()
                .is_some_and(|extension| extension == "json");
            if !is_group || entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(source) => {
                    let error = Error::io("read", &path, source);
                    error.event().entry().say(format_args!(
                        "crash group skipped: {}: rebuilt from the stored crashes",
                        chain(&error)
                    ));
                    continue;
                }
            };
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let trouble = match serde_json::from_slice::<GroupFile>(&bytes) {
                Ok(file) if Some(file.id()) == stem => {
                    loaded.files.push(file);
                    continue;
                }
                Ok(_) => String::from("it has another id"),
                Err(error) => error.to_string(),
            };
            let aside = set_aside(&path)?;
            Event::StoreRepaired.entry().say(format_args!(
                "invalid crash group file ({trouble}), renamed to {}: rebuilt from the \
                 stored crashes",
                aside.display()
            ));
        }
        Ok(loaded)
    }

    /// The log's lines; an invalid one is left where it is, and reported.
    fn read_decisions(&self) -> Result<Vec<Decision>> {
        let path = self.folder.join(DECISIONS);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::io("read", &path, source)),
        };
        let mut decisions = Vec::new();
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            match serde_json::from_slice(line) {
                Ok(decision) => decisions.push(decision),
                Err(_) if line.is_empty() => {}
                Err(error) => Event::StoreRepaired.entry().say(format_args!(
                    "invalid line {} in {} skipped: {error}",
                    at + 1,
                    path.display()
                )),
            }
        }
        Ok(decisions)
    }

    /// Appends a decision to the log, synced.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]; the log ends as before, or with a part of
    /// a line that readers skip.
    pub fn append(&self, decision: &Decision) -> Result<()> {
        let _log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(DECISIONS);
        let mut line = serde_json::to_vec(decision)
            .map_err(|error| Error::io("write", &path, io::Error::other(error)))?;
        line.push(b'\n');
        let is_new = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(|source| Error::io("open", &path, source))?;
        let before = file
            .metadata()
            .map_err(|source| Error::io("look at", &path, source))?
            .len();
        // the part of a line that a power cut left does not spoil this one
        if before > 0 && !ends_with_newline(&file, before) {
            line.insert(0, b'\n');
        }
        let written = file.write_all(&line).and_then(|()| file.sync_all());
        if let Err(source) = written {
            let _ = file.set_len(before);
            return Err(Error::io("write", &path, source));
        }
        if is_new {
            sync_folder(&self.folder)?;
        }
        Ok(())
    }

    /// Writes group files, with one sync for all of them where that is right.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]; some may have been written.
    pub fn write(&self, files: &[(String, GroupFile)]) -> Result<()> {
        let (mut ready, mut targets) = (Vec::new(), Vec::new());
        for (id, file) in files {
            let target = self.folder.join(format!("{id}.json"));
            let mut bytes = serde_json::to_vec_pretty(file)
                .map_err(|error| Error::io("write", &target, io::Error::other(error)))?;
            bytes.push(b'\n');
            let mut temporary = Temporary::new(&self.folder, FILE_MODE)?;
            temporary.write(&bytes)?;
            ready.push(temporary);
            targets.push(target);
        }
        self.commits.sync_all(&ready)?;
        for (temporary, target) in ready.into_iter().zip(&targets) {
            temporary.rename_over(target)?;
        }
        sync_folder(&self.folder)
    }
}

fn ends_with_newline(file: &File, length: u64) -> bool {
    use std::os::unix::fs::FileExt;
    let mut last = [0];
    file.read_exact_at(&mut last, length - 1).is_ok() && last == *b"\n"
}
