//! What is unsuitable about where the data is kept, said once at the start.

use std::os::unix::fs::MetadataExt;

use nix::sys::statfs::{FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};

use crate::journal::Event;
use crate::store::Store;

const MSDOS_SUPER_MAGIC: FsType = FsType(0x4d44);

/// Looks at the filesystem below the data.
pub(super) fn look(store: &Store) {
    for folder in [store.data_dir.root(), store.coredumps.root()] {
        let me = nix::unistd::geteuid().as_raw();
        if let Ok(data) = folder.metadata()
            && data.uid() != me
        {
            Event::DataDirectoryUnsuitable.entry().say(format_args!(
                "{} belongs to user {} and espgate runs as user {me}: what is written now the \
                 other may not be able to read",
                folder.display(),
                data.uid()
            ));
        }
        let Ok(found) = statfs(folder) else { continue };
        let trouble = match found.filesystem_type() {
            TMPFS_MAGIC => "is on a tmpfs: everything is lost when the machine restarts",
            OVERLAYFS_SUPER_MAGIC => {
                "is on an overlay: what is kept may be lost when the machine restarts"
            }
            MSDOS_SUPER_MAGIC => {
                "is on a FAT filesystem, which keeps no permissions and survives no power cut"
            }
            _ => continue,
        };
        Event::DataDirectoryUnsuitable
            .entry()
            .say(format_args!("{} {trouble}", folder.display()));
    }
}
