//! Detects that ports were plugged in or unplugged: inotify on the folders of
//! the device nodes, no polling.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// Watches folders for nodes that are made, removed or change their mode (udev
/// sets the group after it made the node).
pub struct HotplugWatcher {
    inotify: Inotify,
    /// The same queue, read as bytes: only that there are events matters.
    queue: Receiver,
    watched: BTreeMap<PathBuf, WatchDescriptor>,
}

impl HotplugWatcher {
    /// A watcher without folders. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The kernel's, if there are too many watchers already.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let queue = inotify.as_fd().try_clone_to_owned()?;
        Ok(Self {
            inotify,
            queue: Receiver::from_owned_fd_unchecked(queue)?,
            watched: BTreeMap::new(),
        })
    }

    /// Watches the folders of these paths, or the nearest that exist, and no
    /// others. What cannot be watched is found by the regular scan.
    pub fn watch<'a>(&mut self, paths: impl IntoIterator<Item = &'a Path>) {
        let folders: BTreeSet<PathBuf> = paths
            .into_iter()
            .filter_map(|path| path.ancestors().skip(1).find(|folder| folder.is_dir()))
            .map(Path::to_owned)
            .collect();
        let inotify = &self.inotify;
        self.watched.retain(|folder, descriptor| {
            let keep = folders.contains(folder);
            if !keep {
                // fails if the folder is gone, and the watch with it
                let _ = inotify.rm_watch(*descriptor);
            }
            keep
        });
        for folder in folders {
            // also for known ones: the folder may have been made again
            let flags = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVE
                | AddWatchFlags::IN_ATTRIB
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_ONLYDIR;
            if let Ok(descriptor) = inotify.add_watch(&folder, flags) {
                self.watched.insert(folder, descriptor);
            }
        }
    }

    /// Waits until something changed in a watched folder.
    ///
    /// # Errors
    /// The kernel's; the watcher does not work any more then.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut events = [0; 4096];
        self.queue.read(&mut events).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_node_that_comes_or_goes_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ttyUSB0");
        let mut watcher = HotplugWatcher::new().unwrap();
        watcher.watch([path.as_path()]);
        fs::File::create(&path).unwrap();
        watcher.changed().await.unwrap();
        fs::remove_file(&path).unwrap();
        watcher.changed().await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_does_not_exist_yet_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("by-id/board");
        let mut watcher = HotplugWatcher::new().unwrap();
        watcher.watch([path.as_path()]);
        fs::create_dir(path.parent().unwrap()).unwrap();
        watcher.changed().await.unwrap();
        watcher.watch([path.as_path()]);
        fs::File::create(&path).unwrap();
        tokio::time::timeout(Duration::from_secs(30), watcher.changed())
            .await
            .unwrap()
            .unwrap();
    }
}
