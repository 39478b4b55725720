//! Files whose contents are known by digest, hashed again only when they changed.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::digest::{HashingWriter, Sha256};

/// Remembers which files had which contents; one that was not touched since is not read again.
#[derive(Debug, Default)]
pub(super) struct CheckedFiles {
    known: Mutex<HashMap<PathBuf, (Stamp, Sha256)>>,
}

/// What changes whenever a file does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        Self {
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}

impl CheckedFiles {
    /// Opens a file that must have these contents; other contents are `InvalidData`.
    pub(super) fn open(&self, path: &Path, expected: Sha256) -> io::Result<File> {
        let mut file = File::open(path)?;
        let stamp = Stamp::of(&file.metadata()?);
        let known = self.lock().get(path).copied();
        if known == Some((stamp, expected)) {
            return Ok(file);
        }
        let found = digest(&mut file)?;
        if found != expected {
            let text = "contents changed since the upload";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.lock().insert(path.to_owned(), (stamp, found));
        Ok(file)
    }

    /// Takes it that a file has these contents as it is now.
    pub(super) fn trust(&self, path: &Path, contents: Sha256) -> io::Result<()> {
        let stamp = Stamp::of(&path.metadata()?);
        self.lock().insert(path.to_owned(), (stamp, contents));
        Ok(())
    }

    /// Forgets a file that is going away.
    pub(super) fn forget(&self, path: &Path) {
        self.lock().remove(path);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, Sha256)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The digest of a file, which is then at its beginning.
pub(super) fn digest(file: &mut File) -> io::Result<Sha256> {
    file.rewind()?;
    let mut hash = HashingWriter::new(io::sink());
    io::copy(file, &mut hash)?;
    file.rewind()?;
    Ok(hash.finish().1)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_changed_file_is_noticed_and_a_restored_one_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let put = |bytes: &[u8]| File::create(&path).unwrap().write_all(bytes).unwrap();
        let files = CheckedFiles::default();
        let expected = Sha256::of(b"abc");
        put(b"abc");
        assert!(files.open(&path, expected).is_ok());
        put(b"abcd");
        let error = files.open(&path, expected).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        put(b"abc");
        assert!(files.open(&path, expected).is_ok());
    }
}
