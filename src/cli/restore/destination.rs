//! Where a backup goes, and whether what is there may go: the package starts the
//! daemon at once, so a new machine always has a data directory, in which nobody
//! has put anything yet.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use super::archive::Entry;
use super::staging;
use crate::cli::args::Global;
use crate::cli::paths;
use crate::config::Config;
use crate::store::backup::{LOST_AND_FOUND, STAGING};

/// Registers, and the part of each that is filled by people.
const REGISTERS: [&str; 3] = ["models", "devices", "tokens"];
/// What a first start fills. Files anywhere else are from devices, CI and people.
const FILLED: [&str; 7] = ["FORMAT", "lock", "state", "tls", "events", "run", "cache"];

/// The folders that a daemon with a certain configuration uses; dumps and
/// firmware may be on disks of their own.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) root: PathBuf,
    coredumps: PathBuf,
    assets: PathBuf,
}

impl Destination {
    /// By command line, environment and `config`, in that order.
    pub(super) fn of(global: &Global, config: &Config) -> Self {
        let mut global = global.clone();
        global.data_dir = global.data_dir.or_else(|| config.data_dir.clone());
        let root = paths::data_dir(&global);
        global.data_dir = Some(root.clone());
        Self {
            coredumps: paths::coredumps(&global, config),
            assets: paths::assets(&global, config),
            root,
        }
    }

    /// All below one folder, as they usually are.
    #[cfg(test)]
    pub(super) fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            coredumps: root.join("coredumps"),
            assets: root.join("assets"),
        }
    }

    /// The folder that an entry of a backup goes into, and its name there.
    pub(super) fn split<'a>(&self, entry: &'a Path) -> (&Path, &'a Path) {
        for (name, folder) in [("coredumps", &self.coredumps), ("assets", &self.assets)] {
            if let Ok(rest) = entry.strip_prefix(name) {
                return (folder, rest);
            }
        }
        (&self.root, entry)
    }

    /// The folders that these entries go into, the data directory first.
    pub(super) fn used(&self, entries: &[Entry]) -> Vec<&Path> {
        let folders = entries.iter().map(|entry| self.split(&entry.place).0);
        let others: BTreeSet<&Path> = folders.filter(|folder| *folder != self.root).collect();
        std::iter::once(self.root.as_path()).chain(others).collect()
    }

    /// The same for people, without those below the data directory.
    pub(super) fn shown(&self, entries: &[Entry]) -> String {
        let used = self.used(entries).into_iter();
        let apart = used.filter(|folder| *folder == self.root || !folder.starts_with(&self.root));
        let shown: Vec<String> = apart.map(|folder| folder.display().to_string()).collect();
        shown.join(", ")
    }

    /// Keeps any daemon from the data directory, and checks that nothing is lost
    /// if these entries take the place of what is there. What an interrupted
    /// restore put there is removed.
    ///
    /// # Errors
    /// If a daemon uses it, or anything in it may be of use to somebody.
    pub(super) fn lock_unused(&self, entries: &[Entry]) -> anyhow::Result<Option<Flock<File>>> {
        let lock = lock(&self.root)?;
        staging::remove_interrupted(self)?;
        if let Some(found) = self.found_of_use()? {
            bail!(
                "{} is not empty: it contains {found}; move it away, or choose another folder \
                 with --data-dir",
                self.root.display()
            );
        }
        let mut others = self.used(entries).into_iter().skip(1);
        others.try_for_each(must_be_empty)?;
        Ok(lock)
    }

    /// Empties the data directory, but for the folders with places of their own.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        // The lock is held: whoever comes must find this one.
        let lock = self.root.join("lock");
        empty(&self.root, &|path| {
            path == lock || self.contains_other(path)
        })
    }

    /// Whether a path is, or contains, one of the folders with places of their own.
    fn contains_other(&self, path: &Path) -> bool {
        let path = real(path);
        let others = [&self.coredumps, &self.assets];
        others.iter().any(|other| real(other).starts_with(&path))
    }

    /// What stands against emptying it; `None` for a data directory as a first
    /// start makes it.
    fn found_of_use(&self) -> anyhow::Result<Option<String>> {
        let root = &self.root;
        for name in names(root)? {
            let path = root.join(&name);
            let is_other = [&self.coredumps, &self.assets].contains(&&path);
            let stays = self.contains_other(&path) && !is_other;
            if FILLED.contains(&name.as_str()) || !is_of_use(&name) || stays {
                continue;
            }
            if let Some(found) = first_file(&path)? {
                let found = found.strip_prefix(root).unwrap_or(&found);
                return Ok(Some(found.display().to_string()));
            }
        }
        for name in REGISTERS {
            let Ok(bytes) = fs::read(root.join(format!("state/{name}.json"))) else {
                continue;
            };
            let register: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let entries = register.get(name).and_then(Value::as_object);
            if entries.is_none_or(|entries| !entries.is_empty()) {
                return Ok(Some(format!("state/{name}.json")));
            }
        }
        let installed = "tls/installed.pem";
        Ok((root.join(installed).exists()).then(|| String::from(installed)))
    }
}

/// Checks that no daemon uses a data directory, and keeps any from it.
pub(super) fn lock(root: &Path) -> anyhow::Result<Option<Flock<File>>> {
    let Ok(file) = File::open(root.join("lock")) else {
        return Ok(None);
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err(_) => bail!(
            "the daemon is running on {}; stop it first: `systemctl stop espgate.socket \
             espgate.service`",
            root.display()
        ),
    }
}

/// Checks that nothing of use is in a folder that gets a part of a backup.
pub(super) fn must_be_empty(folder: &Path) -> anyhow::Result<()> {
    match names(folder)?.into_iter().find(|name| is_of_use(name)) {
        None => Ok(()),
        Some(found) => bail!(
            "{} is not empty: it contains {found}; move it away",
            folder.display()
        ),
    }
}

/// Empties a folder, but for what `stays`, and what is of no use to anybody.
pub(super) fn empty(folder: &Path, stays: &dyn Fn(&Path) -> bool) -> anyhow::Result<()> {
    for name in names(folder)? {
        let path = folder.join(&name);
        if !is_of_use(&name) || stays(&path) {
            continue;
        }
        let removed = match path.is_dir() && !path.is_symlink() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// A path without links on the way.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Not what filesystems make, nor what is left of an interrupted restore.
fn is_of_use(name: &str) -> bool {
    ![LOST_AND_FOUND, STAGING].contains(&name)
}

/// The names in a folder; none if it is not there.
fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = listing.with_context(|| format!("cannot read {}", folder.display()))?;
    let names = entries.iter().map(fs::DirEntry::file_name);
    Ok(names
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

/// A file in a folder or below it, or the file that it is.
fn first_file(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !path.is_dir() {
        return Ok(Some(path.to_owned()));
    }
    for name in names(path)?.into_iter().filter(|name| is_of_use(name)) {
        if let Some(found) = first_file(&path.join(name))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::publish::replace;

    #[test]
    fn only_what_a_first_start_makes_is_thrown_away() {
        let target = tempfile::tempdir().unwrap();
        let path = target.path();
        let destination = Destination::below(path);
        let clear = || {
            let _lock = destination.lock_unused(&[])?;
            destination.clear()
        };
        let write = |name: &str, text: &str| {
            let file = path.join(name);
            let folder = file.parent().unwrap();
            fs::create_dir_all(folder).unwrap();
            let name = file.file_name().unwrap().to_str().unwrap();
            replace(folder, name, text.as_bytes(), 0o600).unwrap();
            file
        };
        write("FORMAT", "1");
        write("tls/ca.pem", "x");
        write("state/devices.json", r#"{"schema":1,"devices":{}}"#);
        for (name, text) in [
            ("coredumps/k1/coredump_1.dmp", "x"),
            ("assets/lamp/firmware-1.zip", "x"),
            ("config/lamp.json", "{}"),
            ("state/models.json", r#"{"models":{"lamp":{}}}"#),
            ("state/tokens.json", "damaged"),
            ("tls/installed.pem", "x"),
            ("photos", "x"),
        ] {
            let file = write(name, text);
            let error = clear().unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
            fs::remove_file(file).unwrap();
            let _ = fs::remove_dir(path.join("coredumps/k1"));
            let _ = fs::remove_dir(path.join("assets/lamp"));
        }
        write("lost+found/x", "x");
        clear().unwrap();
        let mut left = names(path).unwrap();
        left.sort();
        assert_eq!(left, ["assets", "coredumps", "lost+found"]);
    }
}
