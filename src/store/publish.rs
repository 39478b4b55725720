//! Publishes files, the only place that does: temporary name in the same folder,
//! sync, rename, sync the folder. A reader sees all of a file or none of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{Error, Result};

/// Mode of ordinary files.
pub const FILE_MODE: u32 = 0o640;
/// Mode of files with secrets.
pub const SECRET_MODE: u32 = 0o600;
/// Mode of ordinary folders.
pub const FOLDER_MODE: u32 = 0o750;
/// Mode of folders with secrets.
pub const SECRET_FOLDER_MODE: u32 = 0o700;

/// Written at once.
const PIECE: usize = 64 * 1024;

/// A file under a temporary name (it begins with `.`). Dropped, it is removed;
/// published, it is there for good.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    file: File,
    armed: bool,
}

impl Temporary {
    /// Makes an empty file in `folder`, which is where it will be published.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    pub fn new(folder: &Path, mode: u32) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let path = folder.join(format!(
            ".tmp-{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        ));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(|source| Error::io("create", &path, source))?;
        let temporary = Self {
            path,
            file,
            armed: true,
        };
        // whatever the umask says
        temporary
            .file
            .set_permissions(fs::Permissions::from_mode(mode))
            .map_err(|source| Error::io("set the mode of", &temporary.path, source))?;
        Ok(temporary)
    }

    /// The file, for writing it and reading it back.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where the file is until it is published.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|source| Error::io("write", &self.path, source))
    }

    /// Puts what was written onto the disk.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]; after an error the contents are not to be trusted.
    pub fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|source| Error::io("sync", &self.path, source))
    }

    /// Gives the synced file its name, replacing nothing. The folder is not
    /// synced yet.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken, else [`Error::Full`] or [`Error::Io`].
    pub fn rename_new(mut self, target: &Path) -> Result<()> {
        match renameat2(
            AT_FDCWD,
            &self.path,
            AT_FDCWD,
            target,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => {
                self.armed = false;
                Ok(())
            }
            // Filesystems without the flag (some network and FAT drivers).
            Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS) => {
                if target.exists() {
                    return Err(Error::Exists {
                        path: target.to_owned(),
                    });
                }
                self.rename_over(target)
            }
            Err(code) => Err(Error::io("publish", target, code.into())),
        }
    }

    /// Gives the synced file its name in place of what had it. The folder is
    /// not synced yet.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`].
    #[expect(clippy::disallowed_methods, reason = "the one place that renames")]
    pub fn rename_over(mut self, target: &Path) -> Result<()> {
        fs::rename(&self.path, target).map_err(|source| Error::io("publish", target, source))?;
        self.armed = false;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.armed {
            // A leftover is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Puts a folder's entries onto the disk.
///
/// # Errors
/// [`Error::Io`] or [`Error::Full`].
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| Error::io("sync", folder, source))
}

/// Writes `folder/name` durably in place of what was there.
///
/// # Errors
/// [`Error::Full`] or [`Error::Io`]; the old contents are then still there.
pub fn replace(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    replace_by(folder, name, mode, &|out| out.write_all(bytes))
}

/// What writes a file's contents, as often as it is asked to.
pub type Fill<'a> = &'a dyn Fn(&mut dyn Write) -> io::Result<()>;

/// As [`replace`], with contents that are written piece by piece.
///
/// # Errors
/// As [`replace`].
pub fn replace_by(folder: &Path, name: &str, mode: u32, fill: Fill<'_>) -> Result<()> {
    let mut temporary = Temporary::new(folder, mode)?;
    let mut out = BufWriter::with_capacity(PIECE, temporary.file());
    let written = fill(&mut out).and_then(|()| out.flush());
    // after an error it would try once more
    let _ = out.into_parts();
    written.map_err(|source| Error::io("write", temporary.path(), source))?;
    temporary.sync()?;
    temporary.rename_over(&folder.join(name))?;
    sync_folder(folder)
}

/// Has two files of one folder change their names. The folder is not synced yet.
///
/// # Errors
/// [`Error::Io`], also where the filesystem cannot do that.
pub fn exchange(folder: &Path, one: &str, other: &str) -> Result<()> {
    let (one, other) = (folder.join(one), folder.join(other));
    let flags = RenameFlags::RENAME_EXCHANGE;
    renameat2(AT_FDCWD, &one, AT_FDCWD, &other, flags)
        .map_err(|code| Error::io("publish", &other, code.into()))
}

/// Writes several files of one folder durably, in the given order and replacing
/// nothing: whoever sees the last one sees all. The folder is synced once.
///
/// # Errors
/// [`Error::Exists`], [`Error::Full`] or [`Error::Io`]; none of the files is there then.
pub fn publish_together(folder: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    let prepared = Prepared::write(folder, files)?;
    prepared.sync()?;
    prepared.make_visible()?.sync(folder)
}

/// Files of one folder that are written under temporary names.
#[derive(Debug)]
pub(super) struct Prepared(Vec<(Temporary, PathBuf)>);

impl Prepared {
    /// Writes the files; nothing is synced yet.
    pub(super) fn write(folder: &Path, files: &[(&str, &[u8])]) -> Result<Self> {
        let mut temporaries = Vec::with_capacity(files.len());
        for (name, bytes) in files {
            let mut temporary = Temporary::new(folder, FILE_MODE)?;
            temporary.write(bytes)?;
            temporaries.push((temporary, folder.join(name)));
        }
        Ok(Self(temporaries))
    }

    /// Puts each file onto the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.0
            .iter()
            .try_for_each(|(temporary, _)| temporary.sync())
    }

    /// Gives the synced files their names, in their order and replacing nothing.
    /// The folder is not synced yet. After an error none of them is visible.
    pub(super) fn make_visible(self) -> Result<Visible> {
        let mut visible = Visible(Vec::with_capacity(self.0.len()));
        for (temporary, target) in self.0 {
            if let Err(error) = temporary.rename_new(&target) {
                visible.withdraw();
                return Err(error);
            }
            visible.0.push(target);
        }
        Ok(visible)
    }
}

/// Files that have their names, in a folder that is not synced yet.
#[derive(Debug)]
pub(super) struct Visible(Vec<PathBuf>);

impl Visible {
    /// Puts the folder's entries onto the disk. After an error none of the files
    /// is visible any more.
    pub(super) fn sync(self, folder: &Path) -> Result<()> {
        sync_folder(folder).inspect_err(|_| self.withdraw())
    }

    /// Removes the files, the last one first: it is what makes the others count.
    pub(super) fn withdraw(&self) {
        for target in self.0.iter().rev() {
            let _ = fs::remove_file(target);
        }
    }
}

/// Makes a folder (and its parents) with `mode`, whatever the umask says.
///
/// # Errors
/// [`Error::Full`] or [`Error::Io`].
pub fn make_folder(folder: &Path, mode: u32) -> Result<()> {
    if !folder.is_dir() {
        create_synced(folder)?;
    }
    let current = fs::metadata(folder)
        .map_err(|source| Error::io("look at", folder, source))?
        .permissions()
        .mode();
    if current & 0o7777 != mode {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode))
            .map_err(|source| Error::io("set the mode of", folder, source))?;
    }
    Ok(())
}

fn create_synced(folder: &Path) -> Result<()> {
    let parent = match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if !parent.is_dir() {
        create_synced(parent)?;
    }
    match fs::create_dir(folder) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("create", folder, source));
        }
        _ => {}
    }
    sync_folder(parent).inspect_err(|_| {
        // So that the next one to ask syncs again, and does not find it there.
        let _ = fs::remove_dir(folder);
    })
}

/// Makes a folder as [`make_folder`] does, if it is not there, but leaves its
/// own entry to be synced with what is put into it; whether it was made.
///
/// # Errors
/// [`Error::Full`] or [`Error::Io`].
pub(super) fn make_folder_unsynced(folder: &Path, mode: u32) -> Result<bool> {
    // Its parent may not be there either, or something else is in the way: then
    // the next line makes it, or says why not.
    let is_new = !folder.is_dir() && fs::create_dir(folder).is_ok();
    make_folder(folder, mode)?;
    Ok(is_new)
}

/// Renames an invalid file to `<name>.damaged`
/// (replacing an older one), and gives the new path.
///
/// # Errors
/// [`Error::Io`].
#[expect(
    clippy::disallowed_methods,
    reason = "renames a damaged file, publishes nothing"
)]
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    let aside = PathBuf::from(name);
    fs::rename(path, &aside).map_err(|source| Error::io("rename", path, source))?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_publish_of_the_same_name_leaves_the_first_alone() {
        let folder = tempfile::tempdir().unwrap();
        publish_together(folder.path(), &[("a", b"1"), ("b", b"2")]).unwrap();
        let again = publish_together(folder.path(), &[("c", b"3"), ("b", b"4")]);
        assert!(matches!(again, Err(Error::Exists { .. })));
        assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"2");
        assert!(
            !folder.path().join("c").exists(),
            "the first of a failed pair"
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no temp files"
        );
    }

    #[test]
    fn replacing_keeps_one_file_with_the_mode_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        replace(folder.path(), "s", b"old", SECRET_MODE).unwrap();
        replace(folder.path(), "s", b"new", SECRET_MODE).unwrap();
        let path = folder.path().join("s");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            SECRET_MODE
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_temporary_that_is_dropped_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        drop(Temporary::new(folder.path(), FILE_MODE).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_set_aside_under_a_telling_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        replace(folder.path(), "x.json", b"{", FILE_MODE).unwrap();
        assert_eq!(
            set_aside(&path).unwrap(),
            folder.path().join("x.json.damaged")
        );
        assert!(!path.exists());
    }
}
