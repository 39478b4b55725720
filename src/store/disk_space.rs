//! Free disk space, and filesystems that are unsuitable for data.

use std::path::Path;

use nix::sys::statfs::{FsType, MSDOS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::publish::{FILE_MODE, Temporary};
use super::{Error, Result};

/// A filesystem's size, as far as ordinary users may use it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Space {
    pub total: u64,
    pub free: u64,
    /// Files that can be made; `None` if that has no limit of its own.
    pub free_files: Option<u64>,
    /// It is mounted read-only. An error of the disk may make it so without this saying it.
    pub read_only: bool,
}

impl Space {
    /// The filesystem that holds `path`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(path: &Path) -> Result<Self> {
        let data =
            statvfs(path).map_err(|code| Error::io("get the free space of", path, code.into()))?;
        let block = data.fragment_size();
        Ok(Self {
            total: data.blocks().saturating_mul(block),
            free: data.blocks_available().saturating_mul(block),
            free_files: (data.files() > 0).then(|| data.files_available()),
            read_only: data.flags().contains(FsFlags::ST_RDONLY),
        })
    }
}

/// Writes so many bytes to a file in `folder`, which is removed again: free room
/// as the filesystem tells it may be out of reach for a quota or an error.
///
/// # Errors
/// [`Error::Full`] or [`Error::Io`].
pub fn try_write(folder: &Path, bytes: usize) -> Result<()> {
    static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut file = Temporary::new(folder, FILE_MODE)?;
    for _ in 0..bytes.div_ceil(PIECE.len()) {
        file.write(&PIECE)?;
    }
    file.sync()
}

/// Why the filesystem that holds `path` is unsuitable for data, as the end of a
/// sentence; `None` if it is suitable.
pub fn unsuitable(path: &Path) -> Option<&'static str> {
    trouble_with(statfs(path).ok()?.filesystem_type())
}

fn trouble_with(kind: FsType) -> Option<&'static str> {
    match kind {
        TMPFS_MAGIC => Some("is on a tmpfs: all data is lost at a reboot"),
        OVERLAYFS_SUPER_MAGIC => Some("is on an overlay: data may be lost at a reboot"),
        MSDOS_SUPER_MAGIC | EXFAT_SUPER_MAGIC => {
            Some("is on a FAT filesystem: no permissions, no protection against power loss")
        }
        _ => None,
    }
}

/// `EXFAT_SUPER_MAGIC` of linux/magic.h.
const EXFAT_SUPER_MAGIC: FsType = FsType(0x2011_bab0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_leaves_no_file_and_fails_where_nothing_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        try_write(folder.path(), 100_000).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        try_write(&folder.path().join("missing"), 1).unwrap_err();
    }

    #[test]
    fn memory_overlays_and_fat_are_no_place_for_data() {
        for kind in [
            TMPFS_MAGIC,
            OVERLAYFS_SUPER_MAGIC,
            MSDOS_SUPER_MAGIC,
            EXFAT_SUPER_MAGIC,
        ] {
            assert!(trouble_with(kind).is_some());
        }
        assert_eq!(trouble_with(nix::sys::statfs::EXT4_SUPER_MAGIC), None);
    }
}
