//! Unpacks beside what is there, and takes it in at the end by renaming: a
//! restore that fails leaves a folder as it was, its owner and mode too.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use nix::unistd::{Gid, Uid, User, chown};
use zip::ZipArchive;

use super::check::Entry;
use super::cut_off::{self, MARKER};
use super::places::Places;
use crate::store::backup::{Restored, STAGING};
use crate::store::publish::{
    FILE_MODE, FOLDER_MODE, SECRET_FOLDER_MODE, SECRET_MODE, Temporary, make_folder, sync_folder,
};

/// The user of the package's service.
const SERVICE_USER: &str = "espgate";

/// Folders with something new in them that is not taken in yet. Dropped, there
/// is nothing of it.
#[derive(Debug)]
pub(super) struct Staged {
    /// The data directory first.
    folders: Vec<Folder>,
}

#[derive(Debug)]
struct Folder {
    /// As it was named.
    name: PathBuf,
    /// Without links on the way.
    path: PathBuf,
    was_made: bool,
    /// What was taken in.
    taken: Vec<PathBuf>,
}

impl Staged {
    /// Unpacks `entries` for `places`, with a note of it for the daemon.
    pub(super) fn unpack(
        archive: &mut ZipArchive<File>,
        entries: &[Entry],
        places: &Places,
        note: &Restored,
    ) -> anyhow::Result<Self> {
        let mut staged = Self {
            folders: Vec::new(),
        };
        for name in places.used(entries) {
            staged.folders.push(Folder::open(name)?);
        }
        for entry in entries {
            let (folder, rest) = places.split(&entry.place);
            let folder = staged.folders.iter().find(|known| known.name == folder);
            let folder = folder.context("an entry has no folder")?;
            unpack_one(archive, entry, &folder.staging(), rest)
                .with_context(|| format!("cannot unpack {}", entry.place.display()))?;
        }
        if let Some(root) = staged.folders.first() {
            note.write(&root.staging().join("state"))?;
        }
        staged.hand_over()?;
        for folder in &staged.folders {
            sync_folders(&folder.staging())?;
        }
        Ok(staged)
    }

    /// Gives everything new to whom the folder it goes into belongs, or to the
    /// service's user.
    fn hand_over(&self) -> anyhow::Result<()> {
        if !Uid::effective().is_root() {
            return Ok(());
        }
        let service = User::from_name(SERVICE_USER).ok().flatten();
        let service = service.map(|user| (user.uid, user.gid));
        let mut first = None;
        for folder in &self.folders {
            let about = fs::metadata(&folder.path)?;
            let owner = (Uid::from_raw(about.uid()), Gid::from_raw(about.gid()));
            let owner = match folder.was_made {
                true => first.or(service).unwrap_or(owner),
                // An empty disk is root's, whose it is not meant to be.
                false if owner.0.is_root() => service.unwrap_or(owner),
                false => owner,
            };
            first = first.or(Some(owner));
            if folder.was_made {
                give(&folder.path, owner)?;
            }
            give_all(&folder.staging(), owner)?;
        }
        Ok(())
    }

    /// The folders that were not there.
    pub(super) fn made(&self) -> Vec<PathBuf> {
        let made = self.folders.iter().filter(|folder| folder.was_made);
        made.map(|folder| folder.name.clone()).collect()
    }

    /// Takes everything in, the data directory's part last.
    pub(super) fn take_in(mut self) -> anyhow::Result<()> {
        self.mark()?;
        for folder in self.folders.iter_mut().rev() {
            folder.take_in()?;
        }
        for folder in self.folders.iter().skip(1) {
            remove_staging(folder)?;
        }
        // From here on there is nothing to be undone.
        let folders = std::mem::take(&mut self.folders);
        match folders.first() {
            Some(root) => {
                fs::remove_file(root.staging().join(MARKER))?;
                remove_staging(root)
            }
            None => Ok(()),
        }
    }

    /// Notes, for the case that this is cut off, what else is there from here on.
    fn mark(&self) -> anyhow::Result<()> {
        let mut paths = self.folders.iter().map(|folder| folder.path.as_path());
        match paths.next() {
            Some(root) => cut_off::mark(root, paths),
            None => Ok(()),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for folder in self.folders.iter().rev() {
            for path in &folder.taken {
                let _ = remove(path);
            }
            // The marker, last: what it tells of must be gone for good.
            let _ = sync_folder(&folder.path);
            let _ = fs::remove_dir_all(folder.staging());
            if folder.was_made {
                let _ = fs::remove_dir(&folder.path);
            }
        }
    }
}

impl Folder {
    fn open(name: PathBuf) -> anyhow::Result<Self> {
        let was_made = !name.exists();
        if was_made {
            make_folder(&name, FOLDER_MODE)?;
        }
        let path = fs::canonicalize(&name)
            .with_context(|| format!("cannot look into {}", name.display()))?;
        let folder = Self {
            name,
            path,
            was_made,
            taken: Vec::new(),
        };
        let staging = folder.staging();
        // Of a restore that was cut off; nothing else is left of that.
        let _ = fs::remove_dir_all(&staging);
        DirBuilder::new()
            .mode(SECRET_FOLDER_MODE)
            .create(&staging)
            .with_context(|| format!("cannot create {}", staging.display()))?;
        Ok(folder)
    }

    fn staging(&self) -> PathBuf {
        self.path.join(STAGING)
    }

    #[expect(clippy::disallowed_methods, reason = "moves what is synced already")]
    fn take_in(&mut self) -> anyhow::Result<()> {
        let entries = fs::read_dir(self.staging())?.collect::<io::Result<Vec<_>>>()?;
        for entry in entries {
            if entry.file_name() == MARKER {
                continue;
            }
            let target = self.path.join(entry.file_name());
            if target.symlink_metadata().is_ok() {
                return Err(anyhow!("{} is there already", target.display()));
            }
            fs::rename(entry.path(), &target)
                .with_context(|| format!("cannot make {}", target.display()))?;
            self.taken.push(target);
        }
        Ok(sync_folder(&self.path)?)
    }
}

fn remove_staging(folder: &Folder) -> anyhow::Result<()> {
    let staging = folder.staging();
    fs::remove_dir(&staging).with_context(|| format!("cannot remove {}", staging.display()))?;
    Ok(sync_folder(&folder.path)?)
}

/// Removes a file, or a folder with what is in it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata()?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn unpack_one(
    archive: &mut ZipArchive<File>,
    entry: &Entry,
    staging: &Path,
    rest: &Path,
) -> anyhow::Result<()> {
    let mode = match entry.is_secret {
        true => SECRET_MODE,
        false => FILE_MODE,
    };
    let folder_mode = match entry.place.starts_with("state") || entry.place.starts_with("tls") {
        true => SECRET_FOLDER_MODE,
        false => FOLDER_MODE,
    };
    let parents: Vec<&Path> = rest.ancestors().skip(1).collect();
    for parent in parents.iter().rev() {
        if !parent.as_os_str().is_empty() {
            make_folder(&staging.join(parent), folder_mode)?;
        }
    }
    let target = staging.join(rest);
    let mut file = Temporary::new(target.parent().unwrap_or(staging), mode)?;
    // The entry's checksum is compared at its end.
    let mut contents = archive.by_index(entry.index)?;
    io::copy(&mut contents, file.file())?;
    file.sync()?;
    Ok(file.rename_new(&target)?)
}

fn sync_folders(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    Ok(sync_folder(folder)?)
}

fn give_all(folder: &Path, owner: (Uid, Gid)) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        give(&path, owner)?;
        if path.is_dir() {
            give_all(&path, owner)?;
        }
    }
    Ok(())
}

fn give(path: &Path, (user, group): (Uid, Gid)) -> anyhow::Result<()> {
    chown(path, Some(user), Some(group))
        .map_err(|code| anyhow!("cannot give {} to its owner: {code}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::unused::Unused;
    use super::*;
    use crate::store::{DataDir, Error};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "as taking in does")]
    fn what_was_taken_in_before_a_restore_was_cut_off_is_removed_by_the_next() {
        for cut in 0..=5 {
            let folder = tempfile::tempdir().unwrap();
            let places = Places::below(&folder.path().join("data"));
            let other = places.root.join("coredumps");
            let staged = Staged {
                folders: vec![
                    Folder::open(places.root.clone()).unwrap(),
                    Folder::open(other.clone()).unwrap(),
                ],
            };
            let parts = [
                (&other, "k1"),
                (&other, "lock"),
                (&places.root, "FORMAT"),
                (&places.root, "state"),
                (&places.root, "tls"),
            ];
            for (folder, name) in parts {
                fs::create_dir(folder.join(STAGING).join(name)).unwrap();
            }
            File::create(places.root.join("lock")).unwrap();
            staged.mark().unwrap();
            for (folder, name) in parts.iter().take(cut) {
                fs::rename(folder.join(STAGING).join(name), folder.join(name)).unwrap();
            }
            std::mem::forget(staged);

            let refused = DataDir::open(&places.root, None, None);
            assert!(matches!(refused, Err(Error::RestoreCutOff { .. })), "{cut}");
            Unused::of(&places).unwrap();
            for (folder, name) in parts {
                assert!(!folder.join(name).exists(), "{cut}: {name}");
            }
            // Until everything is unpacked again.
            assert!(places.root.join(STAGING).join(MARKER).exists(), "{cut}");
            assert!(places.root.join("lock").exists(), "{cut}");
        }
    }

    #[test]
    fn what_is_not_taken_in_leaves_the_folder_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        DirBuilder::new().mode(0o751).create(&real).unwrap();
        File::create(real.join("FORMAT")).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let made = folder.path().join("made");
        let staged = Staged {
            folders: vec![
                Folder::open(link.clone()).unwrap(),
                Folder::open(made.clone()).unwrap(),
            ],
        };
        for (folder, name) in staged.folders.iter().zip(["FORMAT", "k1"]) {
            File::create(folder.staging().join(name)).unwrap();
        }
        let error = staged.take_in().unwrap_err().to_string();
        assert!(error.contains("FORMAT is there already"), "{error}");
        assert!(link.is_symlink() && !made.exists());
        assert_eq!(
            fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o751
        );
        let names: Vec<_> = fs::read_dir(&real).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
