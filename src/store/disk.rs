//! How much room the filesystem has.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::{Error, Result};

/// A filesystem's size, as far as ordinary users may use it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

impl Space {
    /// The filesystem that holds `path`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(path: &Path) -> Result<Self> {
        let data = statvfs(path)
            .map_err(|code| Error::io("ask for the free room of", path, code.into()))?;
        let block = data.fragment_size();
        Ok(Self {
            total: data.blocks().saturating_mul(block),
            free: data.blocks_available().saturating_mul(block),
        })
    }
}
