//! Whether what is here may go: the package starts the daemon at once, so on a
//! new machine there is always a data directory that nobody has put anything into.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use super::cut_off;
use super::places::Places;
use super::staged::remove;
use crate::store::backup::{LOST_AND_FOUND, STAGING};

/// Registers, and the part of each that is filled by people.
const REGISTERS: [&str; 3] = ["models", "devices", "tokens"];
/// What a first start fills. Files anywhere else are from devices, CI and people.
const FILLED: [&str; 7] = ["FORMAT", "lock", "state", "tls", "events", "run", "cache"];

/// A data directory that may be emptied; no daemon starts on it while this lives.
#[derive(Debug)]
pub(super) struct Unused {
    _lock: Option<Flock<File>>,
}

impl Unused {
    /// What a restore put there that was cut off is of no use: it is removed.
    ///
    /// # Errors
    /// If a daemon runs on it, or anything in it may be of use to somebody.
    pub(super) fn of(places: &Places) -> anyhow::Result<Self> {
        let lock = lock(&places.root)?;
        cut_off::clear(&places.root)?;
        match of_use(places)? {
            Some(found) => bail!(
                "{} is not empty (there is {found}); move it away first, or name another folder \
                 with --data-dir",
                places.root.display()
            ),
            None => Ok(Self { _lock: lock }),
        }
    }

    /// Empties it, but for what is being restored and the folders with places
    /// of their own.
    pub(super) fn clear(&self, places: &Places) -> anyhow::Result<()> {
        // The lock is held: whoever comes must find this one.
        let lock = places.root.join("lock");
        empty(&places.root, &|path| {
            path == lock || places.leads_to_other(path)
        })
    }
}

/// Empties a folder, but for what `stays`, and what is nobody's.
pub(super) fn empty(folder: &Path, stays: &dyn Fn(&Path) -> bool) -> anyhow::Result<()> {
    for name in names(folder)? {
        let path = folder.join(&name);
        if !is_nobodys(&name) && !stays(&path) {
            remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Checks that no daemon runs on a data directory, and keeps any from it.
pub(super) fn lock(root: &Path) -> anyhow::Result<Option<Flock<File>>> {
    let Ok(file) = File::open(root.join("lock")) else {
        return Ok(None);
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err(_) => bail!(
            "the daemon runs on {}: `systemctl stop espgate.socket espgate.service` first",
            root.display()
        ),
    }
}

/// Checks that nothing is in a folder that gets something of a backup.
pub(super) fn must_be_empty(folder: &Path) -> anyhow::Result<()> {
    let found = names(folder)?.into_iter().find(|name| !is_nobodys(name));
    match found {
        None => Ok(()),
        Some(found) => bail!(
            "{} is not empty (there is {found}); move that away first",
            folder.display()
        ),
    }
}

/// What filesystems make, and what is left of a restore that was cut off.
fn is_nobodys(name: &str) -> bool {
    [LOST_AND_FOUND, STAGING].contains(&name)
}

/// The names in a folder; none if it is not there.
fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let cannot = || format!("cannot look into {}", folder.display());
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(cannot),
    };
    let mut names = Vec::new();
    for entry in listing {
        let name = entry.with_context(cannot)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

/// A file in a folder or below it, or the file that it is.
fn first_file(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !path.is_dir() {
        return Ok(Some(path.to_owned()));
    }
    for name in names(path)? {
        if !is_nobodys(&name)
            && let Some(found) = first_file(&path.join(name))?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What stands against throwing it away; `None` for a data directory as a first
/// start makes it.
fn of_use(places: &Places) -> anyhow::Result<Option<String>> {
    let target = &places.root;
    for name in names(target)? {
        let path = target.join(&name);
        let is_way_to_other = places.leads_to_other(&path) && !places.is_other(&path);
        if FILLED.contains(&name.as_str()) || is_nobodys(&name) || is_way_to_other {
            continue;
        }
        if let Some(found) = first_file(&path)? {
            let found = found.strip_prefix(target).unwrap_or(&found);
            return Ok(Some(found.display().to_string()));
        }
    }
    for name in REGISTERS {
        let path = target.join(format!("state/{name}.json"));
        let Ok(bytes) = fs::read(&path) else {
            continue;
        };
        let register: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let entries = register.get(name).and_then(Value::as_object);
        if entries.is_none_or(|entries| !entries.is_empty()) {
            return Ok(Some(format!("state/{name}.json")));
        }
    }
    Ok(target
        .join("tls/installed.pem")
        .exists()
        .then(|| String::from("tls/installed.pem")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::publish::replace;

    #[test]
    fn only_what_a_first_start_makes_is_thrown_away() {
        let target = tempfile::tempdir().unwrap();
        let path = target.path();
        let places = Places::below(path);
        let clear = || Unused::of(&places).and_then(|unused| unused.clear(&places));
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
            assert!(error.contains("is not empty"), "{name}: {error}");
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
