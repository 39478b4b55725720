//! That the data comes from a backup, until a daemon has run with it.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::publish::{SECRET_MODE, replace};
use super::{Error, Result};
use crate::journal::Event;

/// `state/restored.json`: the data comes from a backup, and no daemon has run
/// with it since.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Restored {
    pub schema: u32,
    /// The backup's file.
    pub from: String,
    /// When the backup was made. ISO 8601, UTC, as the next one.
    pub made_at: String,
    pub restored_at: String,
}

const RESTORED: &str = "restored.json";

impl Restored {
    /// Notes it, in a folder that becomes `state`.
    ///
    /// # Errors
    /// As [`replace`].
    pub fn write(&self, state: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        replace(state, RESTORED, &bytes, SECRET_MODE)
    }

    /// What is noted, if no daemon has announced it yet.
    pub fn read(state: &Path) -> Option<Self> {
        let bytes = fs::read(state.join(RESTORED)).ok()?;
        Some(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Journals what is noted, once.
    ///
    /// # Errors
    /// [`Error::Io`]; it will be journalled again.
    pub fn announce(state: &Path) -> Result<()> {
        let path = state.join(RESTORED);
        let Some(note) = Self::read(state) else {
            return Ok(());
        };
        Event::Restored.entry().say(format_args!(
            "first start with restored data: {}, a backup of {}, restored at {}",
            note.from, note.made_at, note.restored_at
        ));
        fs::remove_file(&path).map_err(|source| Error::io("remove", &path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_is_announced_once() {
        let state = tempfile::tempdir().unwrap();
        Restored::announce(state.path()).unwrap();
        Restored::default().write(state.path()).unwrap();
        assert!(state.path().join(RESTORED).exists());
        Restored::announce(state.path()).unwrap();
        assert!(!state.path().join(RESTORED).exists());
    }
}
