//! One register: read once, changed by replacing its file durably before
//! anybody sees the change, or noted in memory and written later. The copy
//! beside it takes its place if it is damaged.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::publish::{SECRET_MODE, replace, set_aside};
use super::super::{Error, Result};
use super::memory::{Memory, Weight};
use crate::journal::{Event, chain};

/// A register in memory and its file.
#[derive(Debug)]
pub struct StateFile<T> {
    folder: PathBuf,
    name: &'static str,
    memory: Memory<T>,
    /// Held while changing, so that changes follow each other.
    writer: Mutex<()>,
    is_lost: bool,
}

impl<T: Clone + Default + DeserializeOwned + Serialize> StateFile<T> {
    /// Reads `folder/name`. If it does not parse it is set aside as `.damaged`;
    /// then, or if it is missing, its copy takes its place. Without a copy the
    /// register starts empty.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path, name: &'static str) -> Result<Self> {
        let path = folder.join(name);
        let trouble = match read_limited(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(current) => {
                    keep_copy(folder, name, &bytes);
                    return Ok(Self::of(folder, name, current));
                }
                Err(error) => {
                    let aside = set_aside(&path)?;
                    Some(format!(
                        "invalid {name} ({error}), renamed to {}",
                        aside.display()
                    ))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::io("read", &path, source)),
        };
        let copy = read_limited(&folder.join(copy_name(name)));
        let copy = copy
            .ok()
            .and_then(|bytes| Some((serde_json::from_slice(&bytes).ok()?, bytes)));
        let Some((current, bytes)) = copy else {
            let mut file = Self::of(folder, name, T::default());
            if let Some(trouble) = trouble {
                file.is_lost = true;
                repaired(format_args!("{trouble}: started empty"));
            }
            return Ok(file);
        };
        let trouble = trouble.unwrap_or_else(|| format!("{name} missing"));
        match replace(folder, name, &bytes, SECRET_MODE) {
            // A disk that is full does not keep the daemon down: the copy is still there.
            Ok(()) | Err(Error::Full { .. }) => {}
            Err(error) => return Err(error),
        }
        repaired(format_args!("{trouble}: restored from its copy"));
        Ok(Self::of(folder, name, current))
    }

    fn of(folder: &Path, name: &'static str, current: T) -> Self {
        Self {
            folder: folder.to_owned(),
            name,
            memory: Memory::new(current),
            writer: Mutex::new(()),
            is_lost: false,
        }
    }

    /// Whether the register's contents were lost and it started empty.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The register as it is now.
    pub fn read(&self) -> Arc<T> {
        self.memory.read()
    }

    /// Changes the register: on disk first, then in memory. If `change` gives
    /// an error of its own, nothing changes. Blocks.
    ///
    /// The copy is written each time, too: an older one would bring back tokens
    /// that were revoked, or lack the one that a person was shown.
    ///
    /// # Errors
    /// The outer one is the disk's, the inner one `change`'s own.
    pub fn change<R, E>(
        &self,
        change: impl FnOnce(&mut T) -> std::result::Result<R, E>,
    ) -> Result<std::result::Result<R, E>> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (changing, before) = self.memory.begin();
        let mut next = T::clone(&before);
        drop(before);
        let answer = match change(&mut next) {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        let bytes = self.bytes_of(&next)?;
        replace(&self.folder, self.name, &bytes, SECRET_MODE)?;
        keep_copy(&self.folder, self.name, &bytes);
        changing.end(next);
        Ok(Ok(answer))
    }

    /// Changes the register in memory only; [`Self::flush`] writes it. For what
    /// may be lost in a power cut, such as when a device was last seen. Never
    /// waits for the disk; `note` may be applied to two states, one after the other.
    pub fn note(&self, note: impl Fn(&mut T) + Send + Sync + 'static) {
        self.memory.note(Weight::Lasting, note);
    }

    /// As [`Self::note`], for what the next note of its kind replaces, such as
    /// when a device was last seen: [`Self::flush_lasting`] does not write for
    /// its sake, and of very many during a slow change some are forgotten.
    pub fn note_passing(&self, note: impl Fn(&mut T) + Send + Sync + 'static) {
        self.memory.note(Weight::Passing, note);
    }

    /// Writes what was noted, if anything was: cards wear out by writing. The
    /// copy stays as it was at the last change: what is noted is found out
    /// again. Blocks.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    pub fn flush(&self) -> Result<()> {
        self.flush_from(Weight::Passing)
    }

    /// As [`Self::flush`], unless passing notes are all there is.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn flush_lasting(&self) -> Result<()> {
        self.flush_from(Weight::Lasting)
    }

    fn flush_from(&self, least: Weight) -> Result<()> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(noted) = self.memory.take_noted(least) else {
            return Ok(());
        };
        // not held while writing: what is noted then would have to copy it
        let bytes = self.bytes_of(&self.read());
        bytes
            .and_then(|bytes| replace(&self.folder, self.name, &bytes, SECRET_MODE))
            .inspect_err(|_| self.memory.keep_noted(noted))
    }

    fn bytes_of(&self, value: &T) -> Result<Vec<u8>> {
        let path = self.folder.join(self.name);
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| Error::io("write", &path, io::Error::other(error)))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn repaired(what: std::fmt::Arguments<'_>) {
    Event::StoreRepaired.entry().at(log::Level::Error).say(what);
}

fn copy_name(name: &str) -> String {
    format!("{name}.copy")
}

/// Makes the copy say what the file says. A copy that cannot be written goes: an
/// older one would bring back tokens that were revoked.
fn keep_copy(folder: &Path, name: &str, bytes: &[u8]) {
    let copy = copy_name(name);
    let path = folder.join(&copy);
    if read_limited(&path).is_ok_and(|present| present == bytes) {
        return;
    }
    if let Err(error) = replace(folder, &copy, bytes, SECRET_MODE) {
        log::warn!("cannot write the copy of {name}: {}", chain(&error));
        let _ = fs::remove_file(path);
    }
}

/// At most [`MAX_BYTES`]; what is cut off does not parse.
fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(MAX_BYTES);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Ten thousand devices take 5 MiB.
const MAX_BYTES: u64 = 64 << 20;

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
    fn a_write_for_a_lasting_note_has_the_passing_ones_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        let path = folder.path().join("x.json");
        file.note_passing(|map| drop(map.insert("seen".into(), 1.into())));
        file.flush_lasting().unwrap();
        assert!(!path.exists());
        file.note(|map| drop(map.insert("made".into(), 1.into())));
        file.flush_lasting().unwrap();
        assert_eq!(open_without_repair(folder.path()).len(), 2);
        fs::remove_file(&path).unwrap();
        file.note_passing(|map| drop(map.insert("seen".into(), 2.into())));
        file.flush().unwrap();
        assert_eq!(open_without_repair(folder.path())["seen"], 2);
    }

    #[test]
    fn what_is_noted_while_a_change_is_made_is_in_the_state_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        let changed = file.change(|map| {
            // another thread would find the register as it was, and not wait
            file.note(|map| drop(map.insert("noted".into(), 1.into())));
            assert_eq!(file.read()["noted"], 1);
            Ok::<_, Infallible>(map.insert("changed".into(), 1.into()))
        });
        changed.unwrap().unwrap();
        let now = file.read();
        assert!(now.contains_key("noted") && now.contains_key("changed"));
        assert!(!open(folder.path()).read().contains_key("noted"));
        file.flush().unwrap();
        assert!(open(folder.path()).read().contains_key("noted"));
    }

    #[test]
    fn what_was_only_noted_is_written_once_and_not_into_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        put(&file, "a");
        let copy = fs::read(folder.path().join("x.json.copy")).unwrap();
        file.note(|map| drop(map.insert("b".into(), 1.into())));
        file.flush().unwrap();
        assert!(open_without_repair(folder.path()).contains_key("b"));
        assert_eq!(fs::read(folder.path().join("x.json.copy")).unwrap(), copy);
    }

    fn open_without_repair(folder: &Path) -> Map<String, Value> {
        serde_json::from_slice(&fs::read(folder.join("x.json")).unwrap()).unwrap()
    }

    fn put(file: &StateFile<Map<String, Value>>, key: &str) {
        file.change(|map| Ok::<_, Infallible>(map.insert(key.into(), 1.into())))
            .unwrap()
            .unwrap();
    }

    #[test]
    fn a_damaged_register_without_a_copy_is_set_aside_and_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        replace(folder.path(), "x.json", b"{\"a\":", SECRET_MODE).unwrap();
        let file = open(folder.path());
        assert!(file.is_lost());
        assert!(file.read().is_empty());
        assert!(folder.path().join("x.json.damaged").exists());
    }

    #[test]
    fn a_damaged_or_missing_register_comes_back_as_it_was_at_its_last_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        put(&open(folder.path()), "a");
        replace(folder.path(), "x.json", b"\0\0\0", SECRET_MODE).unwrap();
        let file = open(folder.path());
        assert!(!file.is_lost());
        assert_eq!(file.read()["a"], 1);
        assert!(folder.path().join("x.json.damaged").exists());
        fs::remove_file(&path).unwrap();
        assert_eq!(open(folder.path()).read()["a"], 1);
        assert!(path.exists());
    }

    #[test]
    fn what_was_taken_out_of_a_register_does_not_come_back_by_its_copy() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path());
        put(&file, "a");
        put(&file, "b");
        let copy = folder.path().join("x.json.copy");
        let whole = fs::read(folder.path().join("x.json")).unwrap();
        file.change(|map| Ok::<_, Infallible>(map.remove("a")))
            .unwrap()
            .unwrap();
        assert!(fs::read(&copy).unwrap() != whole);
        replace(folder.path(), "x.json", b"", SECRET_MODE).unwrap();
        let again = open(folder.path());
        assert!(!again.read().contains_key("a") && again.read().contains_key("b"));
        // an older release, which keeps no copy, changed the file
        replace(folder.path(), "x.json", b"{}", SECRET_MODE).unwrap();
        open(folder.path());
        assert_eq!(fs::read(&copy).unwrap(), b"{}");
    }
}
