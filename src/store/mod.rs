//! The data directory: its files are complete or absent.

pub mod backup;
pub mod compact;
mod complete_sidecars;
pub mod coredumps;
pub mod crashes;
pub mod data_dir;
pub mod disk_space;
pub mod dump_removal;
pub mod firmware;
pub mod group_commit;
pub mod last_shutdown;
mod migrate;
pub mod open_enum;
mod open_store;
pub mod publish;
mod rebuild_registry;
pub mod registry;
pub mod restored;
pub mod retention;
pub mod rollouts;
pub mod sequence;
pub mod shared;
mod shared_sync;

pub use data_dir::DataDir;
pub use open_store::Store;

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::journal::Event;

/// Errors of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No space (or quota) left on the filesystem.
    #[error("no space left on the disk to {action} {}", .path.display())]
    Full {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The filesystem became read-only, as after an error of the disk.
    #[error("cannot {action} {}", .path.display())]
    ReadOnly {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot {action} {}", .path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Invalid contents; an unreadable file is [`Self::Io`].
    #[error("invalid contents in {}", .path.display())]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// Something with this name is there already.
    #[error("{} already exists", .path.display())]
    Exists { path: PathBuf },
    #[error("{} is in use by another espgate ({holder})", .path.display())]
    Locked { path: PathBuf, holder: String },
    /// No permission to write to the data directory.
    #[error("cannot use the data directory {}: {why}", .path.display())]
    NotWritable { path: PathBuf, why: String },
    #[error(
        "{} was written by a newer espgate (format {found}, supported {known}): \
         install that version or newer",
        .path.display()
    )]
    NewerFormat {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error("{} is not a data directory: {why}", .path.display())]
    Format { path: PathBuf, why: String },
    /// An incomplete gateway: a daemon would create the missing parts again.
    #[error("incomplete restore in {}: run `espgate restore FILE` again", .path.display())]
    RestoreCutOff { path: PathBuf },
}

impl Error {
    /// Wraps an I/O error with what was being done, telling full and read-only disks apart.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let full = [Errno::ENOSPC, Errno::EDQUOT]
            .iter()
            .any(|code| source.raw_os_error() == Some(*code as i32));
        if full {
            return Self::Full {
                action,
                path,
                source,
            };
        }
        match source.kind() {
            io::ErrorKind::AlreadyExists => return Self::Exists { path },
            io::ErrorKind::ReadOnlyFilesystem => {
                return Self::ReadOnly {
                    action,
                    path,
                    source,
                };
            }
            _ => {}
        }
        Self::Io {
            action,
            path,
            source,
        }
    }

    /// The event that reports this error outside of a request.
    pub fn event(&self) -> Event {
        match self {
            Self::Full { .. } => Event::DiskFull,
            Self::ReadOnly { .. } => Event::DiskReadOnly,
            _ => Event::DiskFailed,
        }
    }
}

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;
