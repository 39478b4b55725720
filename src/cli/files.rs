//! Files that commands write where they are told.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::failure::Failure;

/// Writes a new file, readable by its owner alone; nothing is left of it if
/// `write` fails, and an existing one is left alone.
///
/// # Errors
/// What `write` or the filesystem says.
pub(super) fn write_new<R>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<R, Failure>,
) -> Result<R, anyhow::Error> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(anyhow!(
                "{} exists already; remove it or choose another name",
                path.display()
            ));
        }
        other => other.with_context(|| format!("cannot write {}", path.display()))?,
    };
    let outcome = write(&mut file).and_then(|answer| Ok(file.sync_all().map(|()| answer)?));
    outcome.map_err(|failure| {
        let _ = fs::remove_file(path);
        match failure {
            Failure::Failed(error) => error,
            Failure::Usage(message) | Failure::Unreachable(message) => anyhow!(message),
        }
    })
}
