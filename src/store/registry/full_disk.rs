//! Changes a register on a full disk, where no new file can be made: what is removed or
//! revoked then must stay so. The new contents are written over the register's copy, which
//! takes the register's place.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};

use super::super::publish::{Fill, SECRET_MODE, exchange, replace_by, sync_folder};
use super::super::{Error, Result};
use crate::journal::chain;

/// Whether the room that the file takes already is enough for these contents.
pub(super) fn fits(path: &Path, fill: Fill<'_>) -> bool {
    room_of(path).is_some_and(|room| length(fill) <= room)
}

/// How many bytes are written.
fn length(fill: Fill<'_>) -> u64 {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match fill(&mut count) {
        Ok(()) => count.0,
        Err(_) => u64::MAX,
    }
}

/// Has the file take room for so many bytes, if there is any, without changing it.
pub(super) fn reserve(path: &Path, bytes: u64) {
    let is_enough = room_of(path).is_none_or(|room| room >= bytes);
    let (Ok(bytes), false) = (i64::try_from(bytes), is_enough) else {
        return;
    };
    // some filesystems cannot, and the disk may be full by now
    if let Ok(file) = OpenOptions::new().write(true).open(path) {
        let _ = fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes);
    }
}

/// Writes `folder/name` durably in place of what was there, and `folder/copy` as well, in
/// the room that both take.
///
/// # Errors
/// [`Error::Full`] or [`Error::Io`]; the old contents are then still there.
pub(super) fn replace(folder: &Path, name: &str, copy: &str, fill: Fill<'_>) -> Result<()> {
    let path = folder.join(copy);
    let exchanged = overwrite(&path, fill).and_then(|()| exchange(folder, copy, name));
    if let Err(error) = exchanged {
        log::debug!("cannot write over {}: {}", path.display(), chain(&error));
        // A filesystem that does not write in place, or cannot exchange: without the copy
        // there is room.
        let _ = fs::remove_file(&path);
        return replace_by(folder, name, SECRET_MODE, fill);
    }
    sync_folder(folder)?;
    // The copy is what the register was.
    if let Err(error) = overwrite(&path, fill) {
        log::warn!("cannot write the copy of {name}: {}", chain(&error));
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// Writes a JSON text over the contents of a file that has room for it, and blanks over the
/// rest: the file keeps its room.
///
/// # Errors
/// [`Error::Full`] or [`Error::Io`]; then the contents are neither the old nor the new ones.
pub(super) fn overwrite(path: &Path, fill: Fill<'_>) -> Result<()> {
    let written = || {
        let file = OpenOptions::new().write(true).open(path)?;
        let rest = file.metadata()?.len().saturating_sub(length(fill));
        let mut out = BufWriter::with_capacity(64 * 1024, &file);
        fill(&mut out)?;
        io::copy(&mut io::repeat(b' ').take(rest), &mut out)?;
        out.flush()?;
        file.sync_all()
    };
    written().map_err(|source| Error::io("write", path, source))
}

/// What the file takes on the disk.
fn room_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|about| about.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use super::super::super::publish;
    use super::*;

    fn put(folder: &Path, name: &str, text: &str) {
        publish::replace(folder, name, text.as_bytes(), SECRET_MODE).unwrap();
    }

    #[test]
    fn the_copy_takes_the_registers_place_and_no_new_file_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        put(path, "x", r#"{"old":"and longer"}"#);
        put(path, "copy", r#"{"older":"and still longer"}"#);
        let inodes = || {
            let inode = |name: &str| fs::metadata(path.join(name)).unwrap().ino();
            [inode("x"), inode("copy")]
        };
        let [register, copy] = inodes();
        replace(path, "x", "copy", &|out| out.write_all(b"{}")).unwrap();
        assert_eq!(inodes(), [copy, register]);
        for name in ["x", "copy"] {
            let text = fs::read_to_string(path.join(name)).unwrap();
            assert_eq!(text.trim_end_matches(' '), "{}", "{name}");
        }
    }

    #[test]
    fn a_copy_that_is_too_small_or_missing_is_of_no_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let large: Fill<'_> = &|out| out.write_all(&[b'x'; 100_000]);
        assert!(!fits(&path, large));
        put(folder.path(), "copy", "{}");
        assert!(!fits(&path, large));
        reserve(&path, 100_000);
        assert!(fits(&path, large));
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }
}
