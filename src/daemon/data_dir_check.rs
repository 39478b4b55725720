//! Warns at the start if the data directory is on an unsuitable filesystem.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::journal::Event;
use crate::store::{Store, disk_space};

/// Checks filesystem and owner of the data directory.
pub(super) fn look(store: &Store) {
    for folder in [store.data_dir.root(), store.coredumps.root()] {
        let me = nix::unistd::geteuid().as_raw();
        if let Ok(data) = folder.metadata()
            && data.uid() != me
        {
            Event::DataDirectoryUnsuitable.entry().say(format_args!(
                "{} is owned by user {}, but espgate runs as user {me}: that user may not be \
                 able to read new files",
                folder.display(),
                data.uid()
            ));
        }
        let Some(trouble) = disk_space::unsuitable(folder) else {
            continue;
        };
        Event::DataDirectoryUnsuitable
            .entry()
            .say(format_args!("{} {trouble}", folder.display()));
    }
}

/// Warns about configured folders that had to be created.
pub(super) fn made(folders: &[&PathBuf]) {
    for folder in folders {
        Event::DataDirectoryUnsuitable.entry().say(format_args!(
            "created missing directory {}: if it belongs to a separate disk, that disk is \
             not mounted",
            folder.display()
        ));
    }
}
