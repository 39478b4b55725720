//! `run/life.json`: whether the last daemon was stopped or ended uncleanly.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Result;
use super::publish::{FILE_MODE, replace};
use crate::clock::{Moment, iso8601};

const FILE: &str = "life.json";

/// Cause of an unclean shutdown.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownCause {
    /// The machine went down too, usually by a power cut.
    WithMachine,
    /// The daemon crashed, was killed, or was ended by the watchdog.
    Alone,
}

/// An unclean shutdown.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UncleanShutdown {
    /// When the next start detected it. ISO 8601, UTC.
    pub found_at: String,
    /// When that daemon had started.
    pub started_at: String,
    pub how: ShutdownCause,
}

/// The file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct RunRecord {
    pub schema: u32,
    pub boot_id: String,
    pub started_at: String,
    /// Absent while the daemon runs, and after an unclean shutdown.
    pub stopped_at: Option<String>,
    pub last_bad_end: Option<UncleanShutdown>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl RunRecord {
    /// Reads the file in `run`. A missing or invalid file counts as empty: it is
    /// only used for advice.
    pub fn read(run: &Path) -> Self {
        let bytes = fs::read(run.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// The record of the run that starts now, and whether the previous run, `self`,
    /// ended uncleanly.
    pub fn next(self, now: &Moment) -> (Self, bool) {
        let was_running = !self.started_at.is_empty() && self.stopped_at.is_none();
        let now_at = iso8601(now.wall);
        let bad_end = was_running.then(|| UncleanShutdown {
            found_at: now_at.clone(),
            started_at: self.started_at,
            how: match self.boot_id == now.boot_id {
                true => ShutdownCause::Alone,
                false => ShutdownCause::WithMachine,
            },
        });
        let next = Self {
            schema: 1,
            boot_id: now.boot_id.clone(),
            started_at: now_at,
            stopped_at: None,
            last_bad_end: bad_end.or(self.last_bad_end),
            extra: self.extra,
        };
        (next, was_running)
    }

    /// Writes it to `run`.
    ///
    /// # Errors
    /// [`super::Error::Full`] or [`super::Error::Io`].
    pub fn write(&self, run: &Path) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| super::Error::io("write", &run.join(FILE), io::Error::other(error)))?;
        bytes.push(b'\n');
        replace(run, FILE, &bytes, FILE_MODE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse;

    #[test]
    fn an_end_that_nobody_asked_for_is_known_to_the_next_one() {
        let run = tempfile::tempdir().unwrap();
        let at = |boot: &str, minute: u8| Moment {
            wall: parse(&format!("2026-01-01T00:{minute:02}:00Z")).unwrap(),
            monotonic_us: 0,
            boot_id: boot.to_owned(),
            synced: true,
        };
        let begin = |now: &Moment| {
            let (life, bad) = RunRecord::read(run.path()).next(now);
            life.write(run.path()).unwrap();
            (bad, life.last_bad_end.map(|end| (end.how, end.found_at)))
        };
        let found = |how, minute| Some((how, iso8601(at("", minute).wall)));
        assert_eq!(begin(&at("a", 0)), (false, None));
        assert_eq!(begin(&at("a", 1)), (true, found(ShutdownCause::Alone, 1)));
        assert_eq!(
            begin(&at("b", 2)),
            (true, found(ShutdownCause::WithMachine, 2))
        );
        let mut life = RunRecord::read(run.path());
        life.stopped_at = Some(String::from("t"));
        life.write(run.path()).unwrap();
        assert_eq!(
            begin(&at("b", 3)),
            (false, found(ShutdownCause::WithMachine, 2))
        );
    }
}
