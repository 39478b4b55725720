//! A data directory that nobody has put anything into: the package starts the
//! daemon at once, so on a new machine there is always one.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

/// Registers, and the part of each that is filled by people.
const REGISTERS: [&str; 3] = ["models", "devices", "tokens"];
/// Folders that are filled by devices, CI and people.
const FOLDERS: [&str; 3] = ["coredumps", "assets", "config"];

/// Empties it.
///
/// # Errors
/// If a daemon runs on it, or anything in it may be of use to somebody.
pub(super) fn clear(target: &Path) -> anyhow::Result<()> {
    let shown = target.display();
    // Held until all is gone, so that no daemon starts meanwhile.
    let _lock = lock(target)?;
    if let Some(found) = of_use(target)? {
        bail!(
            "{shown} is not empty (there is {found}); move it away first, or name another \
             folder with --data-dir"
        );
    }
    for entry in fs::read_dir(target)? {
        let path = entry?.path();
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn lock(target: &Path) -> anyhow::Result<Option<Flock<File>>> {
    let Ok(file) = File::open(target.join("lock")) else {
        return Ok(None);
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err(_) => bail!(
            "the daemon runs on {}: `systemctl stop espgate.socket espgate.service` first",
            target.display()
        ),
    }
}

/// What stands against throwing it away; `None` for a data directory as a first
/// start makes it.
fn of_use(target: &Path) -> anyhow::Result<Option<String>> {
    for entry in fs::read_dir(target)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_made = ["FORMAT", "lock", "state", "tls", "events", "run", "cache"];
        if !is_made.contains(&name.as_str()) && !FOLDERS.contains(&name.as_str()) {
            return Ok(Some(name));
        }
    }
    for name in FOLDERS {
        let listing = fs::read_dir(target.join(name)).into_iter().flatten();
        if let Some(entry) = listing.flatten().next() {
            let inner = entry.file_name();
            return Ok(Some(format!("{name}/{}", inner.display())));
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
            let error = clear(path).unwrap_err().to_string();
            assert!(error.contains("is not empty"), "{name}: {error}");
            fs::remove_file(file).unwrap();
            let _ = fs::remove_dir(path.join("coredumps/k1"));
            let _ = fs::remove_dir(path.join("assets/lamp"));
        }
        clear(path).unwrap();
        assert_eq!(fs::read_dir(path).unwrap().count(), 0);
    }
}
