//! `run/life.json`: whether the last daemon was stopped or ended uncleanly.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use super::Result;
use super::publish::{FILE_MODE, replace};
use crate::clock::{Moment, iso8601, parse};

const FILE: &str = "life.json";
/// Outages that are remembered.
const MAX_OUTAGES: usize = 20;

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

/// A time in which the gateway was not reachable.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outage {
    /// ISO 8601, UTC.
    pub from: String,
    pub to: String,
}

impl Outage {
    /// How long it was between two moments; `None` if it was not.
    pub fn within(&self, since: OffsetDateTime, until: OffsetDateTime) -> Option<Duration> {
        let (from, to) = (parse(&self.from)?.max(since), parse(&self.to)?.min(until));
        (to > from).then(|| to - from)
    }
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
    /// Since when a daemon that is stopping takes no requests.
    pub closed_at: Option<String>,
    /// The last times without a daemon, oldest first.
    pub outages: Vec<Outage>,
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
    /// ended uncleanly. `last_sign` is the last sign of life of that run.
    pub fn next(mut self, now: &Moment, last_sign: Option<&str>) -> (Self, bool) {
        let was_running = !self.started_at.is_empty() && self.stopped_at.is_none();
        let now_at = iso8601(now.wall);
        let stopped = self.closed_at.take().or(self.stopped_at);
        let sign = last_sign.filter(|sign| *sign > self.started_at.as_str());
        let running = sign.unwrap_or(&self.started_at).to_owned();
        if was_running || stopped.is_some() {
            self.outages.push(Outage {
                from: stopped.unwrap_or(running),
                to: now_at.clone(),
            });
            let surplus = self.outages.len().saturating_sub(MAX_OUTAGES);
            self.outages.drain(..surplus);
        }
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
            closed_at: None,
            outages: self.outages,
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
            let (life, bad) = RunRecord::read(run.path()).next(now, None);
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

    #[test]
    fn the_time_without_a_daemon_is_known_to_the_next_one() {
        let at = |minute: u8| Moment {
            wall: parse(&format!("2026-01-01T00:{minute:02}:00Z")).unwrap(),
            monotonic_us: 0,
            boot_id: String::from("a"),
            synced: true,
        };
        let text = |minute| iso8601(at(minute).wall);
        let (mut life, _) = RunRecord::default().next(&at(0), None);
        assert_eq!(life.outages, []);
        life.closed_at = Some(text(5));
        life.stopped_at = Some(text(6));
        let (life, _) = life.next(&at(7), Some(&text(1)));
        // killed: since its last sign of life
        let (life, _) = life.next(&at(20), Some(&text(15)));
        // killed without one, but its start
        let (life, _) = life.next(&at(30), Some(&text(15)));
        let outage = |from, to| Outage {
            from: text(from),
            to: text(to),
        };
        let outages = [outage(5, 7), outage(15, 20), outage(20, 30)];
        assert_eq!(life.outages, outages);
        let within = |outage: &Outage, since, until| {
            let within = outage.within(at(since).wall, at(until).wall);
            within.map(Duration::whole_minutes)
        };
        assert_eq!(within(&outages[0], 0, 59), Some(2));
        assert_eq!(within(&outages[0], 6, 59), Some(1));
        assert_eq!(within(&outages[0], 7, 59), None);
    }
}
