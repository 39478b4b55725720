//! A counter that only increases, also over restarts and lost files: numbers are reserved on disk in blocks before they are used.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Result;
use super::publish::{SECRET_MODE, replace};

/// Numbers reserved at once; a crash wastes at most this many.
const BLOCK: u64 = 1000;
const FILE: &str = "sequence";

/// The data directory's count.
#[derive(Debug)]
pub struct Sequence {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u64,
    reserved: u64,
}

impl Sequence {
    /// Continues the count kept in `folder`.
    ///
    /// # Errors
    /// [`super::Error::Io`] or [`super::Error::Full`].
    pub fn open(folder: &Path) -> Result<Self> {
        let reserved = fs::read_to_string(folder.join(FILE))
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
            .unwrap_or(0);
        Ok(Self {
            folder: folder.to_owned(),
            state: Mutex::new(State {
                next: reserved + 1,
                reserved,
            }),
        })
    }

    /// Whether no number was ever taken (or the file that says so is lost).
    pub fn is_new(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reserved == 0
    }

    /// Never gives a number up to `used` again.
    pub fn skip_past(&self, used: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next = state.next.max(used + 1);
    }

    /// The newest number that may have been given: those that follow are larger.
    pub fn last(&self) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next.saturating_sub(1)
    }

    /// A number that was never given before.
    ///
    /// # Errors
    /// [`super::Error::Io`] or [`super::Error::Full`] while reserving.
    pub fn next(&self) -> Result<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.next > state.reserved {
            let reserved = state.next + BLOCK;
            replace(
                &self.folder,
                FILE,
                format!("{reserved}\n").as_bytes(),
                SECRET_MODE,
            )?;
            state.reserved = reserved;
        }
        let number = state.next;
        state.next += 1;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_up_over_restarts_and_are_never_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut last = 0;
        for _ in 0..3 {
            let sequence = Sequence::open(folder.path()).unwrap();
            assert!(sequence.last() >= last);
            for _ in 0..1500 {
                let newest = sequence.last();
                let number = sequence.next().unwrap();
                assert!(number > last && number > newest);
                assert_eq!(sequence.last(), number);
                last = number;
            }
        }
    }

    #[test]
    fn numbers_found_in_use_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let sequence = Sequence::open(folder.path()).unwrap();
        assert!(sequence.is_new());
        sequence.skip_past(70_000);
        assert_eq!(sequence.next().unwrap(), 70_001);
    }
}
