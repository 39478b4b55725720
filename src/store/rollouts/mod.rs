//! Rollouts on disk: one file each. The last one of each model is in memory, and is never
//! given out before it is on the disk.

mod member;
mod record;
#[cfg(test)]
mod tests;

pub use member::{Failure, Member, MemberState, Rule};
pub use record::{LogEntry, NamedBuild, Pause, Phase, Rollout, SCHEMA, Spec, Waiting, Wave};

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use serde_json::Value;

use super::publish::{FILE_MODE, replace, set_aside};
use super::{Error, Result};
use crate::device::ModelCode;
use crate::journal::{Event, chain};

/// How important it is that a change is on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Save {
    /// Without it nothing is changed: something is given away by it.
    Must,
    /// It is in force in memory at once, and tried again if the disk fails: it holds
    /// something back.
    Try,
    /// It may be lost in a power cut.
    Later,
}

/// All rollouts.
#[derive(Debug)]
pub struct Rollouts {
    folder: PathBuf,
    /// The last one of each model. Read when it is first needed.
    latest: OnceLock<RwLock<BTreeMap<ModelCode, Latest>>>,
    /// Held while one is changed and written.
    writer: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Latest {
    rollout: Arc<Rollout>,
    is_saved: bool,
}

impl Rollouts {
    /// Those in `folder`, which exists; nothing is read yet.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            latest: OnceLock::new(),
            writer: Mutex::new(()),
        }
    }

    fn latest(&self) -> &RwLock<BTreeMap<ModelCode, Latest>> {
        self.latest.get_or_init(|| {
            let mut latest: BTreeMap<ModelCode, Latest> = BTreeMap::new();
            // oldest first
            for rollout in self.read_all(read) {
                let latest_of = Latest {
                    is_saved: true,
                    rollout: Arc::new(rollout),
                };
                latest.insert(latest_of.rollout.model.clone(), latest_of);
            }
            RwLock::new(latest)
        })
    }

    /// The model's last rollout.
    pub fn of_model(&self, model: &ModelCode) -> Option<Arc<Rollout>> {
        let latest = self.latest().read().unwrap_or_else(PoisonError::into_inner);
        latest.get(model).map(|latest| Arc::clone(&latest.rollout))
    }

    /// The model's rollout in which something may still happen.
    pub fn live(&self, model: &ModelCode) -> Option<Arc<Rollout>> {
        self.of_model(model).filter(|rollout| rollout.is_live())
    }

    /// The last rollout of each model.
    pub fn all_latest(&self) -> Vec<Arc<Rollout>> {
        let latest = self.latest().read().unwrap_or_else(PoisonError::into_inner);
        let rollouts = latest.values();
        rollouts.map(|latest| Arc::clone(&latest.rollout)).collect()
    }

    /// The rollout with this id. Reads its file unless it is its model's last one.
    ///
    /// # Errors
    /// [`Error::Io`] if its file cannot be read.
    pub fn get(&self, id: &str) -> Result<Option<Arc<Rollout>>> {
        let latest = self.all_latest();
        if let Some(rollout) = latest.into_iter().find(|rollout| rollout.id == id) {
            return Ok(Some(rollout));
        }
        if number(id).is_none() {
            return Ok(None);
        }
        match load(&self.file(id)) {
            Ok(rollout) => Ok(Some(Arc::new(rollout))),
            Err(Unusable::Unreadable(error)) if !is_missing(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// All rollouts, newest first. Reads their files.
    pub fn all(&self) -> Vec<Arc<Rollout>> {
        let latest = self.all_latest();
        let in_memory = |rollout: Rollout| {
            let known = latest.iter().find(|known| known.id == rollout.id);
            known.map_or_else(|| Arc::new(rollout), Arc::clone)
        };
        // what cannot be read was said when the last ones were read
        let readable = self.read_all(|path| load(path).ok());
        let mut all: Vec<_> = readable.into_iter().map(in_memory).collect();
        all.reverse();
        all
    }

    /// Begins a rollout: gives it an id and writes it. `check` sees the model's last one;
    /// nothing is begun if it gives an error. Blocks.
    ///
    /// # Errors
    /// The outer one is the disk's, the inner one that of `check`.
    pub fn begin<E>(
        &self,
        mut rollout: Rollout,
        check: impl FnOnce(Option<&Rollout>) -> std::result::Result<(), E>,
    ) -> Result<std::result::Result<Arc<Rollout>, E>> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.of_model(&rollout.model);
        if let Err(error) = check(before.as_deref()) {
            return Ok(Err(error));
        }
        let id = format!("r{}", self.last_number() + 1);
        if number(&id).is_none() {
            let error = io::Error::other("all numbers of rollouts are given");
            return Err(Error::io("begin", &self.file(&id), error));
        }
        rollout.id = id;
        self.write(&rollout)?;
        let rollout = Arc::new(rollout);
        self.put(Arc::clone(&rollout), true);
        Ok(Ok(rollout))
    }

    /// Changes a model's last rollout: on the disk first, as far as `change` says that it
    /// must be. One change at a time. `None` if the model has none. Blocks.
    ///
    /// # Errors
    /// What the disk says, for [`Save::Must`]; nothing is changed then, but that
    /// [`Self::is_behind`] tells of it until the file could be written.
    pub fn change<R>(
        &self,
        model: &ModelCode,
        change: impl FnOnce(&Rollout) -> Option<(Rollout, Save, R)>,
    ) -> Result<Option<R>> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, was_saved) = {
            let latest = self.latest().read().unwrap_or_else(PoisonError::into_inner);
            match latest.get(model) {
                Some(latest) => (Arc::clone(&latest.rollout), latest.is_saved),
                None => return Ok(None),
            }
        };
        let Some((next, save, answer)) = change(&before) else {
            return Ok(None);
        };
        let saved = match save {
            Save::Later => Ok(false),
            Save::Must | Save::Try => self.write(&next).map(|()| true),
        };
        match (saved, save) {
            (Err(error), Save::Must) => {
                self.put(before, false);
                return Err(error);
            }
            (Err(error), _) => {
                // it is tried once a second: said once
                if was_saved {
                    let entry = error.event().entry();
                    entry.say(format_args!(
                        "cannot save rollout {}: {}; it is tried again",
                        next.id,
                        chain(&error)
                    ));
                }
                self.put(Arc::new(next), false);
            }
            (Ok(saved), _) => self.put(Arc::new(next), saved || (was_saved && save == Save::Later)),
        }
        Ok(Some(answer))
    }

    /// Whether the model's last rollout could not be written when it was last tried: a power
    /// cut undoes what was decided since.
    pub fn is_behind(&self, model: &ModelCode) -> bool {
        let latest = self.latest().read().unwrap_or_else(PoisonError::into_inner);
        latest.get(model).is_some_and(|latest| !latest.is_saved)
    }

    /// Writes all live ones, and those that could not be written.
    ///
    /// # Errors
    /// The first failure; the others are tried all the same.
    pub fn flush(&self) -> Result<()> {
        let models = self.all_latest();
        let live = models
            .iter()
            .filter(|rollout| rollout.is_live() || self.is_behind(&rollout.model));
        let mut outcome = Ok(());
        for rollout in live {
            let again = |before: &Rollout| Some((before.clone(), Save::Must, ()));
            outcome = outcome.and(self.change(&rollout.model, again).map(|_| ()));
        }
        outcome
    }

    fn put(&self, rollout: Arc<Rollout>, is_saved: bool) {
        let mut latest = self
            .latest()
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        latest.insert(rollout.model.clone(), Latest { rollout, is_saved });
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn write(&self, rollout: &Rollout) -> Result<()> {
        let path = self.file(&rollout.id);
        let mut bytes = serde_json::to_vec(rollout)
            .map_err(|error| Error::io("write", &path, io::Error::other(error)))?;
        bytes.push(b'\n');
        let name = format!("{}.json", rollout.id);
        replace(&self.folder, &name, &bytes, FILE_MODE)
    }

    /// The largest number that was given, also to one whose file was set aside.
    fn last_number(&self) -> u64 {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let numbers = names.filter_map(|entry| {
            let name = entry.file_name();
            number(name.to_str()?.split('.').next()?)
        });
        numbers.max().unwrap_or(0)
    }

    /// All files that `read` can read, oldest first.
    fn read_all(&self, read: impl Fn(&Path) -> Option<Rollout>) -> Vec<Rollout> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut found: Vec<(u64, PathBuf)> = names
            .filter_map(|entry| {
                let name = entry.file_name();
                let number = number(name.to_str()?.strip_suffix(".json")?)?;
                Some((number, entry.path()))
            })
            .collect();
        found.sort();
        let read = found.into_iter().filter_map(|(_, path)| read(&path));
        read.collect()
    }
}

/// The number of an id: `r12`. Longer ones were never given.
fn number(id: &str) -> Option<u64> {
    let digits = id.strip_prefix('r')?;
    let is_number = (1..=MAX_DIGITS).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// Why a file is no rollout.
enum Unusable {
    Unreadable(Error),
    Invalid(String),
}

/// Reads a file. What is in it has to belong there: its id names the file that it is
/// written to.
fn load(path: &Path) -> std::result::Result<Rollout, Unusable> {
    let bytes =
        fs::read(path).map_err(|source| Unusable::Unreadable(Error::io("read", path, source)))?;
    let invalid = |error: serde_json::Error| Unusable::Invalid(error.to_string());
    let value: Value = serde_json::from_slice(&bytes).map_err(invalid)?;
    let schema = value.get("schema").and_then(Value::as_u64).unwrap_or(0);
    if schema > u64::from(SCHEMA) {
        let newer = format!("written by a newer espgate (schema {schema})");
        let error = Error::io("read", path, io::Error::other(newer));
        return Err(Unusable::Unreadable(error));
    }
    let rollout: Rollout = serde_json::from_value(value).map_err(invalid)?;
    let name = path.file_stem().and_then(|name| name.to_str());
    if name != Some(&rollout.id) {
        return Err(Unusable::Invalid(format!("its id is {:?}", rollout.id)));
    }
    Ok(rollout)
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Reads a file and says what is wrong with it. An invalid one is set aside.
fn read(path: &Path) -> Option<Rollout> {
    match load(path) {
        Ok(rollout) => Some(rollout),
        Err(Unusable::Unreadable(error)) => {
            let entry = error.event().entry();
            let why = chain(&error);
            entry.say(format_args!(
                "rollout skipped, its devices get the active build: {why}"
            ));
            None
        }
        Err(Unusable::Invalid(why)) => {
            let aside = set_aside(path);
            let aside = aside.unwrap_or_else(|_| path.to_owned());
            Event::StoreRepaired.entry().say(format_args!(
                "invalid rollout file ({why}), renamed to {}: its devices get the active build",
                aside.display()
            ));
            None
        }
    }
}

/// Digits of a rollout's number.
const MAX_DIGITS: usize = 9;
