//! One register: read once, changed by replacing its file durably before
//! anybody sees the change, or noted in memory and written later. The copy
//! beside it takes its place if it is damaged.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::publish::{Fill, SECRET_MODE, replace, replace_by, set_aside};
use super::super::{Error, Result};
use super::full_disk;
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
    /// Bytes by which it may grow while the disk is full.
    growth: u64,
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
                    if !says(&folder.join(copy_name(name)), &bytes) {
                        keep_copy(folder, name, &|out| out.write_all(&bytes));
                    }
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
            growth: 0,
        }
    }

    /// Keeps so much more room on the disk than is written, for what is noted while the disk
    /// is full: it must be possible to remove that.
    pub(super) fn growing_by(self, growth: u64) -> Self {
        Self { growth, ..self }
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
        self.write(&|out| write_json(out, &next))?;
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
        let now = self.read();
        let fill: Fill<'_> = &|out| write_json(out, &*now);
        replace_by(&self.folder, self.name, SECRET_MODE, fill)
            .inspect_err(|_| self.memory.keep_noted(noted))?;
        let copy = self.folder.join(copy_name(self.name));
        if !copy.exists() {
            self.copy();
        }
        self.reserve();
        Ok(())
    }

    /// Writes file and copy, if need be without any room on the disk.
    fn write(&self, fill: Fill<'_>) -> Result<()> {
        let copy = copy_name(self.name);
        match replace_by(&self.folder, self.name, SECRET_MODE, fill) {
            Err(Error::Full { .. }) if full_disk::fits(&self.folder.join(&copy), fill) => {
                full_disk::replace(&self.folder, self.name, &copy, fill)
            }
            Err(error) => Err(error),
            Ok(()) => {
                self.copy();
                self.reserve();
                Ok(())
            }
        }
    }

    /// Makes the copy of what is on the disk.
    fn copy(&self) {
        let path = self.folder.join(self.name);
        keep_copy(&self.folder, self.name, &|out| {
            io::copy(&mut File::open(&path)?, out).map(|_| ())
        });
    }

    /// How large the file is.
    pub fn bytes_on_disk(&self) -> u64 {
        fs::metadata(self.folder.join(self.name)).map_or(0, |file| file.len())
    }

    /// Has file and copy, which change their places on a full disk, take room for the
    /// present contents, and what may be added.
    fn reserve(&self) {
        let bytes = self.bytes_on_disk() + self.growth;
        full_disk::reserve(&self.folder.join(self.name), bytes);
        full_disk::reserve(&self.folder.join(copy_name(self.name)), bytes);
    }
}

fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

fn repaired(what: std::fmt::Arguments<'_>) {
    Event::StoreRepaired.entry().at(log::Level::Error).say(what);
}

fn copy_name(name: &str) -> String {
    format!("{name}.copy")
}

/// Makes the copy say what the file says. A copy that cannot be written goes: an
/// older one would bring back tokens that were revoked.
fn keep_copy(folder: &Path, name: &str, fill: Fill<'_>) {
    let copy = copy_name(name);
    let path = folder.join(&copy);
    let written = match replace_by(folder, &copy, SECRET_MODE, fill) {
        Err(Error::Full { .. }) if full_disk::fits(&path, fill) => {
            full_disk::overwrite(&path, fill)
        }
        written => written,
    };
    if let Err(error) = written {
        log::warn!("cannot write the copy of {name}: {}", chain(&error));
        let _ = fs::remove_file(path);
    }
}

/// Whether a file has these contents.
fn says(path: &Path, bytes: &[u8]) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut file = BufReader::new(file);
    let mut rest = bytes;
    loop {
        match file.fill_buf() {
            Ok([]) => return rest.is_empty(),
            Ok(piece) if rest.starts_with(piece) => {
                let count = piece.len();
                rest = rest.get(count..).unwrap_or_default();
                file.consume(count);
            }
            _ => return false,
        }
    }
}

/// At most [`MAX_BYTES`]; what is cut off does not parse.
fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(MAX_BYTES);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Ten thousand devices take 10 MiB.
const MAX_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests;
