//! Images and .elf files taken out of bundles once, by their digest.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::checked_files::CheckedFiles;
use crate::digest::Sha256;
use crate::store::Error;
use crate::store::publish::{FILE_MODE, FOLDER_MODE, Temporary, make_folder};

/// A folder of files named by their digest. Each can be made again, so none is synced, and
/// each is checked before it is used.
#[derive(Debug)]
pub(super) struct Cache {
    /// Where unfinished files are: the start-up looks for them there.
    root: PathBuf,
    folder: PathBuf,
    extension: &'static str,
    max_bytes: u64,
    files: CheckedFiles,
}

impl Cache {
    /// `root/<folder>/<digest>.<extension>`, of at most `max_bytes` in all.
    pub(super) fn new(root: &Path, folder: &str, extension: &'static str, max_bytes: u64) -> Self {
        Self {
            root: root.to_owned(),
            folder: root.join(folder),
            extension,
            max_bytes,
            files: CheckedFiles::default(),
        }
    }

    /// The file with this digest, if it is there and whole.
    pub(super) fn get(&self, digest: Sha256) -> Option<(PathBuf, File)> {
        let path = self.path(digest);
        let file = self.files.open(&path, digest).ok()?;
        Some((path, file))
    }

    /// The file with this digest, made by `make` if it is not there.
    pub(super) fn get_or_make<E: From<Error>>(
        &self,
        digest: Sha256,
        make: impl FnOnce(&mut File) -> Result<Sha256, E>,
    ) -> Result<(PathBuf, File), E> {
        if let Some(found) = self.get(digest) {
            return Ok(found);
        }
        make_folder(&self.folder, FOLDER_MODE)?;
        let mut temporary = Temporary::new(&self.root, FILE_MODE)?;
        let path = self.path(digest);
        let made = make(temporary.file())?;
        temporary.rename_over(&path)?;
        if made == digest {
            self.files
                .trust(&path, digest)
                .map_err(|source| Error::io("look at", &path, source))?;
        }
        self.shrink(&path);
        let file = self.files.open(&path, digest);
        let file = file.map_err(|source| Error::io("open", &path, source))?;
        Ok((path, file))
    }

    /// Forgets the file with this digest.
    pub(super) fn remove(&self, digest: Sha256) {
        self.drop_file(&self.path(digest));
    }

    fn path(&self, digest: Sha256) -> PathBuf {
        self.folder.join(format!("{digest}.{}", self.extension))
    }

    fn drop_file(&self, path: &Path) {
        self.files.forget(path);
        // it may not be there
        let _ = fs::remove_file(path);
    }

    /// Removes what was made longest ago until the rest fits; never `but`.
    fn shrink(&self, but: &Path) {
        let Ok(mut held) = self.list() else {
            return;
        };
        held.sort();
        let mut total: u64 = held.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in held {
            if total <= self.max_bytes {
                return;
            }
            if path != but {
                self.drop_file(&path);
                total -= size;
            }
        }
    }

    fn list(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        fs::read_dir(&self.folder)?
            .map(|entry| {
                let entry = entry?;
                let data = entry.metadata()?;
                Ok((data.modified()?, data.len(), entry.path()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn made(cache: &Cache, bytes: &[u8]) -> Result<String, Error> {
        let (_, mut file) = cache.get_or_make(Sha256::of(bytes), |file| {
            file.write_all(bytes).unwrap();
            Ok::<_, Error>(Sha256::of(bytes))
        })?;
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn a_file_is_made_once_and_again_when_it_was_damaged() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::new(root.path(), "images", "bin", 100);
        assert_eq!(made(&cache, b"abc").unwrap(), "abc");
        let (path, _) = cache.get(Sha256::of(b"abc")).unwrap();
        File::create(&path).unwrap().write_all(b"x").unwrap();
        assert!(cache.get(Sha256::of(b"abc")).is_none());
        assert_eq!(made(&cache, b"abc").unwrap(), "abc");
        let again = cache.get_or_make(Sha256::of(b"abc"), |_| {
            Err(Error::Exists {
                path: PathBuf::new(),
            })
        });
        assert!(again.is_ok(), "nothing was made");
    }

    #[test]
    fn the_oldest_go_when_there_is_too_much_but_never_the_one_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::new(root.path(), "images", "bin", 7);
        made(&cache, b"1234").unwrap();
        made(&cache, b"5678").unwrap();
        assert!(cache.get(Sha256::of(b"1234")).is_none());
        assert!(cache.get(Sha256::of(b"5678")).is_some());
        assert_eq!(made(&cache, b"larger than all").unwrap(), "larger than all");
        assert!(cache.get(Sha256::of(b"5678")).is_none());
    }

    #[test]
    fn what_was_made_wrongly_is_not_given_out() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::new(root.path(), "images", "bin", 100);
        let outcome = cache.get_or_make(Sha256::of(b"abc"), |file| {
            file.write_all(b"abd").unwrap();
            Ok::<_, Error>(Sha256::of(b"abd"))
        });
        assert!(outcome.is_err());
        assert!(cache.get(Sha256::of(b"abc")).is_none());
    }
}
