//! Unpacks beside what is there, and moves it in at the end.
//!
//! Until then nothing else is touched. A marker is on the disk before the first
//! part is moved and goes after the last one is: while it is there, what is in
//! these folders is a part of a gateway, no daemon starts on it, and the next
//! restore removes it. So an interruption at any point leaves the old or the new
//! data as a whole, or what only a restore touches.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::unistd::{Gid, Uid, User, chown};
use zip::ZipArchive;

use super::archive::{Entry, is_private};
use super::destination::{Destination, empty, must_be_empty};
use crate::store::backup::STAGING;
use crate::store::publish::{
    FILE_MODE, FOLDER_MODE, SECRET_FOLDER_MODE, SECRET_MODE, make_folder, replace, sync_folder,
};
use crate::store::restored::Restored;

/// In the staging folder of a data directory: the other folders that the restore
/// fills, with a zero byte between them. No entry of a backup has such a name.
const MARKER: &str = ".folders";
/// The user of the package's service.
const SERVICE_USER: &str = "espgate";

type Owner = Option<(Uid, Gid)>;

/// Folders with something new beside what is in them. Dropped before all of it is
/// moved in, there is nothing of it.
#[derive(Debug)]
pub(super) struct Staging<'a> {
    destination: &'a Destination,
    /// The data directory first.
    folders: Vec<Folder>,
}

#[derive(Debug)]
struct Folder {
    /// As it was named.
    name: PathBuf,
    /// Without links on the way.
    path: PathBuf,
    was_created: bool,
}

impl<'a> Staging<'a> {
    /// Unpacks `entries` for `destination`, with a note of it for the daemon.
    pub(super) fn unpack(
        archive: &mut ZipArchive<File>,
        entries: &[Entry],
        destination: &'a Destination,
        note: &Restored,
    ) -> anyhow::Result<Self> {
        let mut staging = Self {
            destination,
            folders: Vec::new(),
        };
        for name in destination.used(entries) {
            staging.open(name)?;
        }
        for entry in entries {
            let (folder, rest) = destination.split(&entry.place);
            let mut folders = staging.folders.iter();
            let folder = folders.find(|known| known.name == folder);
            let folder = folder.context("an entry has no folder")?;
            unpack_one(archive, entry, &folder.staging(), rest)
                .with_context(|| format!("cannot unpack {}", entry.place.display()))?;
        }
        if let Some(root) = staging.folders.first() {
            note.write(&root.staging().join("state"))?;
        }
        let service = User::from_name(SERVICE_USER).ok().flatten();
        let mut owner = service.map(|user| (user.uid, user.gid));
        for folder in &staging.folders {
            owner = folder.hand_over(owner)?;
        }
        Ok(staging)
    }

    /// Makes an empty staging folder in `name`.
    fn open(&mut self, name: &Path) -> anyhow::Result<()> {
        let was_created = !name.exists();
        if was_created {
            make_folder(name, FOLDER_MODE)?;
        }
        let path =
            fs::canonicalize(name).with_context(|| format!("cannot resolve {}", name.display()))?;
        let staging = path.join(STAGING);
        self.folders.push(Folder {
            name: name.to_owned(),
            path,
            was_created,
        });
        // Of a restore that was interrupted; nothing else is left of that.
        let _ = fs::remove_dir_all(&staging);
        DirBuilder::new()
            .mode(SECRET_FOLDER_MODE)
            .create(&staging)
            .with_context(|| format!("cannot create {}", staging.display()))
    }

    /// The folders that did not exist.
    pub(super) fn created(&self) -> Vec<PathBuf> {
        let created = self.folders.iter().filter(|folder| folder.was_created);
        created.map(|folder| folder.name.clone()).collect()
    }

    /// Replaces what is there, the data directory's part last.
    pub(super) fn move_in(mut self) -> anyhow::Result<()> {
        // Unpacking took its time.
        for folder in self.folders.iter().skip(1) {
            must_be_empty(&folder.path)?;
        }
        self.mark()?;
        self.destination.clear()?;
        for folder in self.folders.iter().rev() {
            folder.move_in()?;
        }
        // The marker's folder last.
        for folder in self.folders.iter().rev() {
            fs::remove_dir_all(folder.staging())
                .with_context(|| format!("cannot remove {}", folder.staging().display()))?;
            sync_folder(&folder.path)?;
        }
        self.folders.clear();
        Ok(())
    }

    /// Notes that what is in these folders from now on is from a restore.
    fn mark(&self) -> anyhow::Result<()> {
        let mut paths = self.folders.iter().map(|folder| &folder.path);
        let root = paths.next().context("no folder to restore into")?;
        let others: Vec<&[u8]> = paths.map(|path| path.as_os_str().as_bytes()).collect();
        replace(&root.join(STAGING), MARKER, &others.join(&0), SECRET_MODE)?;
        Ok(sync_folder(root)?)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.folders.is_empty() {
            let _ = remove_interrupted(self.destination);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir_all(folder.staging());
            if folder.was_created {
                let _ = fs::remove_dir(&folder.path);
            }
        }
    }
}

impl Folder {
    fn staging(&self) -> PathBuf {
        self.path.join(STAGING)
    }

    /// Gives what is new to whom the folder belongs, or to `owner` if the folder
    /// is new or root's, as an empty disk is; puts it onto the disk. Returns whose
    /// it is.
    fn hand_over(&self, owner: Owner) -> anyhow::Result<Owner> {
        let about = fs::metadata(&self.path)?;
        let current = (Uid::from_raw(about.uid()), Gid::from_raw(about.gid()));
        let owner = match self.was_created || current.0.is_root() {
            true => owner,
            false => Some(current),
        };
        // Nobody else can give files away.
        let given = owner.filter(|_| Uid::effective().is_root());
        if let Some((user, group)) = given.filter(|_| self.was_created) {
            chown(&self.path, Some(user), Some(group))?;
        }
        finish(&self.staging(), given)?;
        Ok(owner)
    }

    #[expect(clippy::disallowed_methods, reason = "moves what is synced already")]
    fn move_in(&self) -> anyhow::Result<()> {
        let entries = fs::read_dir(self.staging())?.collect::<io::Result<Vec<_>>>()?;
        for entry in entries {
            let target = self.path.join(entry.file_name());
            if entry.file_name() != MARKER {
                fs::rename(entry.path(), &target)
                    .with_context(|| format!("cannot create {}", target.display()))?;
            }
        }
        Ok(sync_folder(&self.path)?)
    }
}

/// Removes what an interrupted restore moved into the data directory and the other
/// folders that it noted. The marker stays, so this can be interrupted too.
pub(super) fn remove_interrupted(destination: &Destination) -> anyhow::Result<()> {
    let marker = destination.root.join(STAGING).join(MARKER);
    let bytes = match fs::read(&marker) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.with_context(|| format!("cannot read {}", marker.display()))?,
    };
    let others = bytes.split(|byte| *byte == 0);
    let others = others.map(|path| PathBuf::from(OsStr::from_bytes(path)));
    let others: Vec<PathBuf> = others.filter(|path| path.is_dir()).collect();
    for folder in &others {
        empty(folder, &|path| {
            others.iter().any(|other| other.starts_with(path))
        })?;
        sync_folder(folder)?;
    }
    destination.clear()?;
    Ok(sync_folder(&destination.root)?)
}

fn unpack_one(
    archive: &mut ZipArchive<File>,
    entry: &Entry,
    staging: &Path,
    rest: &Path,
) -> anyhow::Result<()> {
    let folder_mode = match is_private(&entry.place) {
        true => SECRET_FOLDER_MODE,
        false => FOLDER_MODE,
    };
    let parents: Vec<&Path> = rest.ancestors().skip(1).collect();
    for parent in parents.iter().rev().skip(1) {
        make_folder(&staging.join(parent), folder_mode)?;
    }
    let path = staging.join(rest);
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mode = match entry.is_secret {
        true => SECRET_MODE,
        false => FILE_MODE,
    };
    file.set_permissions(Permissions::from_mode(mode))?;
    // The entry's checksum is compared at its end.
    io::copy(&mut archive.by_index(entry.index)?, &mut file)?;
    Ok(())
}

/// Gives a file, or a folder with what is in it, to its owner, and puts it onto
/// the disk.
fn finish(path: &Path, owner: Owner) -> anyhow::Result<()> {
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group))
            .with_context(|| format!("cannot change the owner of {}", path.display()))?;
    }
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            finish(&entry?.path(), owner)?;
        }
    }
    // Of files as well as of folders.
    Ok(sync_folder(path)?)
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DataDir, Error};

    /// A staging folder in the data directory and in the one for dumps.
    fn staging(destination: &Destination) -> Staging<'_> {
        let mut staging = Staging {
            destination,
            folders: Vec::new(),
        };
        let (dumps, _) = destination.split(Path::new("coredumps/k1"));
        for name in [&destination.root, dumps] {
            staging.open(name).unwrap();
        }
        staging
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "as moving in does")]
    fn what_an_interrupted_restore_moved_in_is_removed_by_the_next() {
        for moved in 0..=5 {
            let folder = tempfile::tempdir().unwrap();
            let destination = Destination::below(&folder.path().join("data"));
            let root = &destination.root;
            let other = root.join("coredumps");
            let staging = staging(&destination);
            let parts = [
                (&other, "k1"),
                (&other, "lock"),
                (root, "FORMAT"),
                (root, "state"),
                (root, "tls"),
            ];
            for (folder, name) in parts {
                fs::create_dir(folder.join(STAGING).join(name)).unwrap();
            }
            File::create(root.join("lock")).unwrap();
            staging.mark().unwrap();
            for (folder, name) in parts.iter().take(moved) {
                fs::rename(folder.join(STAGING).join(name), folder.join(name)).unwrap();
            }
            std::mem::forget(staging);

            let refused = DataDir::open(root, None, None);
            assert!(
                matches!(refused, Err(Error::RestoreCutOff { .. })),
                "{moved}"
            );
            destination.lock_unused(&[]).unwrap();
            for (folder, name) in parts {
                let is_lock = folder == root && name == "lock";
                assert_eq!(folder.join(name).exists(), is_lock, "{moved}: {name}");
            }
            // Until everything is unpacked again.
            assert!(root.join(STAGING).join(MARKER).exists(), "{moved}");
            assert!(root.join("lock").exists(), "{moved}");
        }
    }

    #[test]
    fn what_cannot_be_moved_in_leaves_the_folders_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        DirBuilder::new().mode(0o751).create(&real).unwrap();
        File::create(real.join("FORMAT")).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let destination = Destination::below(&link);
        let staging = staging(&destination);
        File::create(real.join(STAGING).join("tls")).unwrap();
        let dumps = real.join("coredumps");
        File::create(dumps.join(STAGING).join("k1")).unwrap();
        // Comes while the backup is unpacked.
        File::create(dumps.join("k1")).unwrap();
        let error = staging.move_in().unwrap_err().to_string();
        assert!(error.contains("k1"), "{error}");
        assert!(link.is_symlink());
        assert_eq!(
            fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o751
        );
        let names = |path: &Path| {
            let entries = fs::read_dir(path).unwrap().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&real), ["FORMAT", "coredumps"]);
        assert_eq!(names(&dumps), ["k1"]);
    }

    #[test]
    fn a_folder_that_was_created_for_nothing_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::below(&folder.path().join("data"));
        drop(staging(&destination));
        assert!(!destination.root.exists());
    }
}
