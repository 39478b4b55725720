//! When the daemon last ended without being stopped: crash, watchdog, power cut.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use super::finding::{Finding, since};
use super::service::unit_property;
use crate::api::status::{Status, UncleanShutdown};
use crate::store::last_shutdown::{RunRecord, ShutdownCause};

/// An older crash is a note, not a warning.
const RECENT: Duration = Duration::days(1);

/// `status` is the daemon's, if there is one; else the file tells.
pub(super) fn findings(status: Option<&Status>, root: &Path) -> Vec<Finding> {
    let now = crate::clock::wall();
    let mut findings = Vec::new();
    match status {
        Some(status) => findings.push(last(status.last_bad_end.as_ref(), now)),
        None => {
            let life = RunRecord::read(&root.join("run"));
            // A file that there is and that may be read.
            if !life.started_at.is_empty() {
                let end = life.last_bad_end.map(UncleanShutdown::from);
                findings.push(last(end.as_ref(), now));
            }
        }
    }
    findings.extend(watchdog().and_then(|entry| hung(&entry, now)));
    let unit = unit_property("espgate.service", "NRestarts");
    findings.extend(unit.and_then(|properties| restarted(&properties)));
    findings
}

fn last(end: Option<&UncleanShutdown>, now: OffsetDateTime) -> Finding {
    let known = end.and_then(|end| Some((crate::clock::parse(&end.found_at)?, end)));
    let Some((at, end)) = known else {
        return Finding::note("daemon", "no crash, hang or power cut recorded");
    };
    let ago = since(at, now);
    if end.how == ShutdownCause::WithMachine {
        let what = format!("machine went down without stopping the daemon {ago}");
        return Finding::note("daemon", what);
    }
    let what = format!("daemon crashed, was killed or hung {ago}");
    trouble(what, at, now)
}

fn trouble(what: String, at: OffsetDateTime, now: OffsetDateTime) -> Finding {
    match now - at < RECENT {
        true => Finding::warning("daemon", what, "see `journalctl -u espgate -p warning`"),
        false => Finding::note("daemon", what),
    }
}

/// An entry of the journal, as `journalctl --output=json` prints it.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    micros: String,
}

/// systemd's last journal entry about the watchdog, if the journal can be read.
fn watchdog() -> Option<Entry> {
    let output = Command::new("journalctl")
        .args(["--quiet", "--no-pager", "--unit=espgate.service"])
        // No further back: a journal on a card is slow to search.
        .args(["--since=-30d", "--grep=Watchdog timeout"])
        .args(["--reverse", "--lines=1", "--output=json"])
        .output()
        .ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

fn hung(entry: &Entry, now: OffsetDateTime) -> Option<Finding> {
    let micros: i128 = entry.micros.parse().ok()?;
    let at = OffsetDateTime::from_unix_timestamp_nanos(micros.checked_mul(1000)?).ok()?;
    let what = format!("systemd watchdog killed the daemon {}", since(at, now));
    Some(trouble(what, at, now))
}

fn restarted(properties: &str) -> Option<Finding> {
    let count: u32 = properties
        .lines()
        .find_map(|line| line.trim().parse().ok())?;
    (count > 0).then(|| {
        let what = format!("systemd restarted the daemon {count} times since it was started");
        let advice = "see `journalctl -u espgate -p err`";
        Finding::warning("daemon", what, advice)
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;
    use crate::clock::parse;

    #[test]
    fn a_bad_end_is_a_warning_for_a_day_and_told_for_ever() {
        let now = parse("2026-03-01T12:00:00Z").unwrap();
        let told = |at: &str, how: &str| {
            let end = format!(r#"{{"found_at": "{at}", "how": "{how}"}}"#);
            let end: UncleanShutdown = serde_json::from_str(&end).unwrap();
            let finding = last(Some(&end), now);
            (finding.severity, finding.what)
        };
        let (severity, what) = told("2026-03-01T09:58:00Z", "alone");
        assert_eq!(severity, Severity::Warning);
        assert!(what.ends_with("hung 2h 2m ago"), "{what}");
        assert_eq!(told("2026-02-01T10:00:00Z", "alone").0, Severity::Note);
        assert_eq!(
            told("2026-03-01T10:00:00Z", "with-machine").0,
            Severity::Note
        );
        // another release's word
        assert_eq!(told("2026-03-01T10:00:00Z", "melted").0, Severity::Warning);
        let none = last(None, now);
        assert_eq!(none.severity, Severity::Note);
        assert_eq!(told("", ""), (Severity::Note, none.what));
    }

    #[test]
    fn the_watchdogs_last_word_is_read_from_the_journal() {
        let now = parse("2026-03-01T12:00:00Z").unwrap();
        let micros = (now.unix_timestamp() - 60) * 1_000_000;
        let entry = format!(r#"{{"__REALTIME_TIMESTAMP": "{micros}", "PRIORITY": "3"}}"#);
        let entry: Entry = serde_json::from_str(&entry).unwrap();
        let finding = hung(&entry, now).unwrap();
        assert_eq!(finding.severity, Severity::Warning);
        assert!(
            finding.what.ends_with("daemon 1m 0s ago"),
            "{}",
            finding.what
        );
        let odd = Entry {
            micros: String::from("now"),
        };
        assert_eq!(hung(&odd, now), None);
    }

    #[test]
    fn restarts_are_counted() {
        assert_eq!(restarted("loaded\n0\n"), None);
        assert!(restarted("3\nloaded\n").unwrap().what.contains("3 times"));
    }
}
