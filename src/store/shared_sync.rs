//! One sync of a whole filesystem in place of many, where that is right.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, XFS_SUPER_MAGIC, fstatfs,
};
use nix::sys::utsname::uname;
use nix::unistd::syncfs;

/// Where `syncfs` puts data and names onto the disk, in one go. (The number of
/// ext4 is that of ext2 and ext3 too.) Elsewhere (FAT, network, FUSE, overlays)
/// it does less, or hides what failed below.
const KNOWN: [FsType; 4] = [
    EXT4_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
];
/// Before Linux 5.8 `syncfs` hides errors of files, before 5.17 those of the
/// filesystem's own commit.
const LINUX: (u32, u32) = (5, 17);
/// A filesystem that may be synced as a whole.
pub(super) struct SharedSync {
    device: u64,
    sync: Box<dyn Fn() -> io::Result<()> + Send + Sync>,
}

impl fmt::Debug for SharedSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSync").finish_non_exhaustive()
    }
}

impl SharedSync {
    /// The filesystem that `root` is on; `None` if it must not be relied on.
    pub(super) fn of(root: &Path) -> Option<Self> {
        let release = uname().ok()?.release().to_str()?.to_owned();
        // Stays open: errors are reported once to each open file, those since it
        // was opened or last synced.
        let file = File::open(root).ok()?;
        let kind = fstatfs(&file).ok()?.filesystem_type();
        if !KNOWN.contains(&kind) || version(&release)? < LINUX {
            return None;
        }
        Some(Self {
            device: file.metadata().ok()?.dev(),
            sync: Box::new(move || Ok(syncfs(&file)?)),
        })
    }

    /// A stand-in for a filesystem.
    #[cfg(test)]
    pub(super) fn with(
        root: &Path,
        sync: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            device: fs::metadata(root).map_or(0, |data| data.dev()),
            sync: Box::new(sync),
        }
    }

    /// Whether `folder` is on this filesystem: it may be a link to another.
    pub(super) fn covers(&self, folder: &Path) -> bool {
        fs::metadata(folder).is_ok_and(|data| data.dev() == self.device)
    }

    /// Puts onto the disk what was written and named before this call, other
    /// programs' data included. What is added meanwhile does not prolong it.
    pub(super) fn sync(&self) -> io::Result<()> {
        (self.sync)()
    }
}

/// `6.1` of `6.1.0-rpi7-rpi-v8`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_hide_errors_are_told_by_their_release() {
        for (release, may) in [
            ("6.12.25+rpt-rpi-v8", true),
            ("5.17.0", true),
            ("5.15.84-v7+", false),
            ("4.19.118", false),
        ] {
            assert_eq!(version(release).unwrap() >= LINUX, may, "{release}");
        }
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn a_folder_on_another_filesystem_is_not_covered() {
        let root = tempfile::tempdir().unwrap();
        let shared = SharedSync::with(root.path(), || Ok(()));
        assert!(shared.covers(root.path()));
        assert!(!shared.covers(Path::new("/proc")));
        assert!(!shared.covers(&root.path().join("missing")));
    }
}
