//! The data directory: its folders, format number and lock.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::device::ModelCode;
use crate::journal::{Event, chain};

use super::backup::STAGING;
use super::publish::{
    FILE_MODE, FOLDER_MODE, SECRET_FOLDER_MODE, make_folder, replace, sync_folder,
};
use super::{Error, Result};

/// The format this program writes.
pub const FORMAT: u32 = 2;

/// An opened data directory. While it lives, no other daemon opens the same.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    coredumps: PathBuf,
    assets: PathBuf,
    /// The format found, if it is not [`FORMAT`].
    older_format: Option<u32>,
    _lock: Flock<File>,
}

impl DataDir {
    /// Opens (or makes) the directory and locks it. `coredumps` and `assets`
    /// say where those live if not below it.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder's process id, [`Error::NewerFormat`],
    /// [`Error::Format`], [`Error::RestoreCutOff`], [`Error::NotWritable`], or what the filesystem says.
    pub fn open(root: &Path, coredumps: Option<&Path>, assets: Option<&Path>) -> Result<Self> {
        Self::open_ours(root, coredumps, assets).map_err(|error| not_writable(root, error))
    }

    fn open_ours(root: &Path, coredumps: Option<&Path>, assets: Option<&Path>) -> Result<Self> {
        make_folder(root, FOLDER_MODE)?;
        let root = fs::canonicalize(root).map_err(|source| Error::io("resolve", root, source))?;
        let lock = lock(&root)?;
        // An empty one is what is left if the very end of a restore is cut off.
        let staging = root.join(STAGING);
        if staging.symlink_metadata().is_ok() && fs::remove_dir(staging).is_err() {
            return Err(Error::RestoreCutOff { path: root });
        }
        let older_format = check_format(&root)?;
        let directory = Self {
            coredumps: coredumps.map_or_else(|| root.join("coredumps"), Path::to_owned),
            assets: assets.map_or_else(|| root.join("assets"), Path::to_owned),
            root,
            older_format,
            _lock: lock,
        };
        for folder in [
            directory.coredumps(),
            directory.assets(),
            &directory.events(),
            &directory.device_config(),
            &directory.crashes(),
            &directory.rollouts(),
            &directory.run(),
            &directory.cache(),
        ] {
            make_folder(folder, FOLDER_MODE)?;
        }
        for folder in [directory.state(), directory.tls()] {
            make_folder(&folder, SECRET_FOLDER_MODE)?;
        }
        for name in ["devices", "models"] {
            // for people to put files into; whoever may not make them, or has no room, can
            // do without
            let _ = make_folder(&directory.device_config().join(name), FOLDER_MODE);
        }
        sync_folder(&directory.root)?;
        // A folder that a killed daemon made there may be in memory only.
        sync_folder(directory.coredumps())?;
        Ok(directory)
    }

    /// The directory itself, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes the unfinished files that a crash left in the folders that are
    /// not looked through otherwise; each is a journal entry, and so is what cannot be
    /// removed: that costs room, and not the daemon.
    pub fn remove_unfinished(&self) {
        let is_model = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.parse::<ModelCode>().is_ok()) && path.is_dir()
        };
        let listed = fs::read_dir(&self.assets).into_iter().flatten().flatten();
        let assets = listed.map(|entry| entry.path()).filter(is_model);
        let folders = [
            self.root.clone(),
            self.coredumps.clone(),
            self.state(),
            self.tls(),
            self.run(),
            self.cache(),
            self.crashes(),
            self.rollouts(),
            self.assets.clone(),
        ];
        for folder in folders.into_iter().chain(assets) {
            if let Err(error) = remove_unfinished_in(&folder) {
                error.event().entry().say(format_args!(
                    "cannot remove incomplete files: {}",
                    chain(&error)
                ));
            }
        }
    }

    /// The format of an older release, if that wrote the directory and it was not migrated yet.
    pub(super) fn older_format(&self) -> Option<u32> {
        self.older_format
    }

    /// Writes down that the directory has the format of this program.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    pub(super) fn set_format(&self) -> Result<()> {
        write_format(&self.root)
    }

    /// Coredumps, a folder a device.
    pub fn coredumps(&self) -> &Path {
        &self.coredumps
    }

    /// Firmware, a folder a model.
    pub fn assets(&self) -> &Path {
        &self.assets
    }

    /// Gateway, models, devices, tokens, ports.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The month files of events.
    pub fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    /// What devices get as their configuration: `devices/`, `models/`, and flat files.
    pub fn device_config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// Crash groups, and what people decided about them.
    pub fn crashes(&self) -> PathBuf {
        self.root.join("crashes")
    }

    /// Rollouts.
    pub fn rollouts(&self) -> PathBuf {
        self.root.join("rollouts")
    }

    /// CA, certificate and keys.
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// Sockets and addresses of the running daemon.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// What can be made again from the other files.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }
}

fn remove_unfinished_in(folder: &Path) -> Result<()> {
    let listing = fs::read_dir(folder).map_err(|source| Error::io("list", folder, source))?;
    for entry in listing.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(".tmp-");
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|source| Error::io("remove", &path, source))?;
            Event::StoreRepaired
                .entry()
                .say(format_args!("removed incomplete file {}", path.display()));
        }
    }
    Ok(())
}

fn lock(root: &Path) -> Result<Flock<File>> {
    let path = root.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&path)
        .map_err(|source| Error::io("open", &path, source))?;
    let mut holder = String::new();
    // Best effort: it only names who holds the lock.
    let _ = (&mut file).take(64).read_to_string(&mut holder);
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, code)| {
        if code == Errno::EWOULDBLOCK {
            Error::Locked {
                path: root.to_owned(),
                holder: match holder.trim() {
                    "" => String::from("unknown process"),
                    pid => format!("process {pid}"),
                },
            }
        } else {
            Error::io("lock", &path, code.into())
        }
    })?;
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(lock)
}

/// Names the owner of the directory if that is the cause.
fn not_writable(root: &Path, error: Error) -> Error {
    let Error::Io { path, source, .. } = &error else {
        return error;
    };
    let me = nix::unistd::geteuid();
    let owner = fs::metadata(root).map(|data| data.uid());
    let why = match (Errno::from_raw(source.raw_os_error().unwrap_or(0)), owner) {
        (Errno::EROFS, _) => String::from("read-only filesystem"),
        (Errno::EACCES | Errno::EPERM, Ok(owner)) if owner != me.as_raw() => format!(
            "permission denied: owned by user {owner}, espgate runs as user {me}; run \
             chown -R {me}"
        ),
        (Errno::EACCES | Errno::EPERM, _) => format!(
            "permission denied: user {me} cannot write {}",
            path.display()
        ),
        _ => return error,
    };
    Error::NotWritable {
        path: root.to_owned(),
        why,
    }
}

fn write_format(root: &Path) -> Result<()> {
    replace(root, "FORMAT", format!("{FORMAT}\n").as_bytes(), FILE_MODE)
}

/// Gives the format if it is an older one.
fn check_format(root: &Path) -> Result<Option<u32>> {
    let path = root.join("FORMAT");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(Error::io("read", &path, source)),
    };
    match text.trim().parse::<u32>() {
        // a directory that lost it in a power cut may be as old as they get
        Err(_) if text.trim().is_empty() => match root.join("state/models.json").exists() {
            true => Ok(Some(1)),
            false => write_format(root).map(|()| None),
        },
        Ok(found) if found > FORMAT => Err(Error::NewerFormat {
            path: root.to_owned(),
            found,
            known: FORMAT,
        }),
        Ok(found) => Ok((found < FORMAT).then_some(found)),
        Err(_) => Err(Error::Format {
            path: root.to_owned(),
            why: format!("invalid FORMAT file: {:?} is not a number", text.trim()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_daemon_is_told_who_holds_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path(), None, None).unwrap();
        let second = DataDir::open(folder.path(), None, None).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(second.to_string().contains(&pid), "{second}");
        drop(first);
        DataDir::open(folder.path(), None, None).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused_and_garbage_too() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDir::open(folder.path(), None, None).unwrap());
        for (text, newer) in [("3\n", true), ("x", false)] {
            replace(folder.path(), "FORMAT", text.as_bytes(), 0o640).unwrap();
            let error = DataDir::open(folder.path(), None, None).unwrap_err();
            assert_eq!(matches!(error, Error::NewerFormat { .. }), newer, "{text}");
        }
    }

    #[test]
    fn a_lost_format_is_taken_for_the_oldest() {
        for text in [None, Some(""), Some("\n")] {
            let folder = tempfile::tempdir().unwrap();
            let older = |folder: &Path| DataDir::open(folder, None, None).unwrap().older_format();
            assert_eq!(older(folder.path()), None, "a new one");
            replace(&folder.path().join("state"), "models.json", b"{}", 0o600).unwrap();
            match text {
                Some(text) => replace(folder.path(), "FORMAT", text.as_bytes(), 0o640).unwrap(),
                None => fs::remove_file(folder.path().join("FORMAT")).unwrap(),
            }
            assert_eq!(older(folder.path()), Some(1), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_ours_does_not_keep_the_directory_from_being_opened() {
        let folder = tempfile::tempdir().unwrap();
        let directory = DataDir::open(folder.path(), None, None).unwrap();
        for name in [".tmp-1", "assets/.tmp-folder", "assets/lost+found/.tmp-1"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let model = folder.path().join("assets/lamp");
        fs::create_dir(&model).unwrap();
        replace(&model, ".tmp-9-9", b"half", 0o640).unwrap();
        // listing it fails with ELOOP, also for root
        std::os::unix::fs::symlink("loop", directory.assets().join("loop")).unwrap();
        directory.remove_unfinished();
        assert!(!model.join(".tmp-9-9").exists());
        assert!(folder.path().join("assets/lost+found/.tmp-1").exists());
    }

    #[test]
    fn a_directory_that_is_half_restored_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let tls = folder.path().join(STAGING).join("tls");
        fs::create_dir_all(&tls).unwrap();
        let error = DataDir::open(folder.path(), None, None).unwrap_err();
        assert!(matches!(error, Error::RestoreCutOff { .. }), "{error}");
        assert!(tls.exists() && !folder.path().join("FORMAT").exists());
        fs::remove_dir(&tls).unwrap();
        DataDir::open(folder.path(), None, None).unwrap();
    }

    #[test]
    fn folders_with_secrets_are_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let directory = DataDir::open(&folder.path().join("new/data"), None, None).unwrap();
        for (path, mode) in [
            (directory.state(), 0o700),
            (directory.tls(), 0o700),
            (directory.coredumps().to_owned(), 0o750),
        ] {
            let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }
}
