//! Files that commands write: complete or absent.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, anyhow};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;
use crate::store;
use crate::store::publish::{SECRET_MODE, Temporary, sync_folder};

/// Writes a new file, readable by its owner alone. It has its name once it is
/// complete; nothing is left of it if `write` fails or is interrupted, and an
/// existing one is left alone.
///
/// # Errors
/// What `write` or the filesystem says.
pub(super) fn write_new<R>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<R, Failure>,
) -> Result<R, anyhow::Error> {
    let cannot = || format!("cannot write {}", path.display());
    let exists = || {
        anyhow!(
            "{} already exists; remove it or choose another name",
            path.display()
        )
    };
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Err(exists()),
    };
    let interruption = Interruption::watch()?;
    let file = Temporary::new(folder, SECRET_MODE).map_err(|error| match error {
        // Its own name says nothing to anybody.
        store::Error::Io { source, .. } => anyhow::Error::new(source),
        other => other.into(),
    });
    let mut file = file.with_context(cannot)?;
    interruption.removes(file.path().to_owned());
    let answer = write(file.file()).map_err(|failure| match failure {
        Failure::Failed(error) => error,
        Failure::Usage(message) | Failure::Unreachable(message) => anyhow!(message),
    })?;
    file.sync().with_context(cannot)?;
    file.rename_new(path).map_err(|error| match error {
        store::Error::Exists { .. } => exists(),
        other => anyhow::Error::new(other).context(cannot()),
    })?;
    sync_folder(folder).with_context(cannot)?;
    Ok(answer)
}

/// The signals that end a command; a hangup may be one that `nohup` ignores.
struct Interruption {
    runtime: Runtime,
    signals: Vec<(SignalKind, Signal)>,
}

impl Interruption {
    /// From now on none of them ends the process by itself.
    fn watch() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let mut signals = Vec::new();
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            signals.push((kind, signal(kind)?));
        }
        drop(entered);
        Ok(Self { runtime, signals })
    }

    /// Removes the file and ends the process when one comes.
    fn removes(self, path: PathBuf) {
        let Self { runtime, signals } = self;
        std::thread::spawn(move || {
            let waiting = signals.into_iter().map(|(kind, mut signal)| {
                Box::pin(async move {
                    signal.recv().await;
                    kind.as_raw_value()
                })
            });
            let (number, ..) = runtime.block_on(futures_util::future::select_all(waiting));
            // Gone already if it was complete.
            let _ = fs::remove_file(&path);
            // The exit status that a shell gives a program ended by a signal.
            process::exit(128 + number);
        });
    }
}
