//! One register: read once, changed by replacing its file durably before
//! anybody sees the change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::publish::{SECRET_MODE, replace, set_aside};
use super::super::{Error, Result};
use crate::journal::Event;

/// A register in memory and its file.
#[derive(Debug)]
pub struct StateFile<T> {
    folder: PathBuf,
    name: &'static str,
    current: RwLock<Arc<T>>,
    /// Held while changing, so that changes follow each other.
    writer: Mutex<()>,
    was_damaged: bool,
    /// Whether something was noted that is not on the disk.
    noted: AtomicBool,
}

impl<T: Clone + Default + DeserializeOwned + Serialize> StateFile<T> {
    /// Reads `folder/name`; a missing file is an empty register, one that does
    /// not parse is set aside as `.damaged`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path, name: &'static str) -> Result<Self> {
        let path = folder.join(name);
        let mut was_damaged = false;
        let current = match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(current) => current,
                Err(error) => {
                    let aside = set_aside(&path)?;
                    Event::StoreRepaired
                        .entry()
                        .at(log::Level::Error)
                        .say(format_args!(
                            "{name} does not parse ({error}); it is kept as {} and begun anew",
                            aside.display()
                        ));
                    was_damaged = true;
                    T::default()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => T::default(),
            Err(source) => return Err(Error::io("read", &path, source)),
        };
        Ok(Self {
            folder: folder.to_owned(),
            name,
            current: RwLock::new(Arc::new(current)),
            writer: Mutex::new(()),
            was_damaged,
            noted: AtomicBool::new(false),
        })
    }

    /// Whether the file had to be begun anew.
    pub fn was_damaged(&self) -> bool {
        self.was_damaged
    }

    /// The register as it is now.
    pub fn read(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the register: on disk first, then in memory. If `change` gives
    /// an error of its own, nothing changes.
    ///
    /// # Errors
    /// The outer one is the disk's, the inner one `change`'s own.
    pub fn change<R, E>(
        &self,
        change: impl FnOnce(&mut T) -> std::result::Result<R, E>,
    ) -> Result<std::result::Result<R, E>> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = T::clone(&self.read());
        let answer = match change(&mut next) {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        self.write(&next)?;
        self.publish(next);
        Ok(Ok(answer))
    }

    /// Changes the register in memory only; [`Self::flush`] writes it. For what
    /// may be lost in a power cut, such as when a device was last seen.
    pub fn note(&self, change: impl FnOnce(&mut T)) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = T::clone(&self.read());
        change(&mut next);
        self.publish(next);
        self.noted.store(true, Ordering::Relaxed);
    }

    /// Writes what was noted, if anything was: cards wear out by writing.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    pub fn flush(&self) -> Result<()> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.noted.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.write(&self.read())
    }

    fn write(&self, value: &T) -> Result<()> {
        let path = self.folder.join(self.name);
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| Error::io("write", &path, io::Error::other(error)))?;
        bytes.push(b'\n');
        replace(&self.folder, self.name, &bytes, SECRET_MODE)?;
        self.noted.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn publish(&self, next: T) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::{Map, Value};

    use super::*;

    fn open(folder: &Path) -> StateFile<Map<String, Value>> {
        StateFile::open(folder, "x.json").unwrap()
    }

    #[test]
    fn a_change_is_on_disk_and_a_refused_one_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        file.change(|map| Ok::<_, Infallible>(map.insert("a".into(), 1.into())))
            .unwrap()
            .unwrap();
        let refused = file.change(|map| {
            map.clear();
            Err::<(), _>("no")
        });
        assert_eq!(refused.unwrap(), Err("no"));
        assert_eq!(file.read()["a"], 1);
        assert_eq!(open(folder.path()).read()["a"], 1);
    }

    #[test]
    fn what_was_noted_is_written_once_and_nothing_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        let path = folder.path().join("x.json");
        file.flush().unwrap();
        assert!(!path.exists());
        file.note(|map| drop(map.insert("a".into(), 1.into())));
        file.flush().unwrap();
        assert_eq!(open(folder.path()).read()["a"], 1);
        fs::remove_file(&path).unwrap();
        file.flush().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_damaged_register_is_set_aside_and_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        replace(folder.path(), "x.json", b"{\"a\":", SECRET_MODE).unwrap();
        let file = open(folder.path());
        assert!(file.was_damaged());
        assert!(file.read().is_empty());
        assert!(folder.path().join("x.json.damaged").exists());
    }
}
