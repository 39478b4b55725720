//! `espgate rollouts show --watch`: the screen again and again, or a line for each change.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use super::fetch;
use super::show::{log_line, screen};
use crate::api::rollouts::Rollout;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_line};
use crate::clock::local_short;

/// Of a terminal that does not tell.
const LEAST_ROWS: usize = 24;
const INTERVAL: Duration = Duration::from_secs(2);
/// To the first line of the terminal, and nothing below it.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Shows it until it ends.
pub(super) fn run(client: &Client, id: &str, all: bool) -> Result<(), Failure> {
    let is_screen = io::stdout().is_terminal();
    let mut seen = Seen::default();
    loop {
        let rollout: Rollout = fetch(client, id)?.read()?;
        match is_screen {
            true => {
                let text = fitting(&screen(&rollout, all), rows());
                print(&format!("{CLEAR}{text}"))?;
            }
            false => {
                for line in seen.news(&rollout) {
                    print_line(&line)?;
                }
            }
        }
        if rollout.summary.ended_at.is_some() {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Lines of the terminal.
fn rows() -> usize {
    let screen = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let rows = screen.map_or(0, |size| usize::from(size.ws_row));
    if rows == 0 { LEAST_ROWS } else { rows }
}

/// The first lines: what comes first must not scroll away.
fn fitting(text: &str, rows: usize) -> String {
    let count = text.lines().count();
    // the cursor is in a line of its own
    if count < rows {
        return text.to_owned();
    }
    let shown = text.lines().take(rows.saturating_sub(2));
    let mut shown: String = shown.map(|line| format!("{line}\n")).collect();
    shown.push_str("…\n");
    shown
}

/// What was printed already.
#[derive(Debug, Default)]
struct Seen {
    state: String,
    decisions: usize,
    devices: HashMap<String, String>,
}

impl Seen {
    /// A line for each decision and each device whose state changed since the last time; at
    /// first only how the rollout is.
    fn news(&mut self, rollout: &Rollout) -> Vec<String> {
        let is_first = self.state.is_empty();
        let mut lines = Vec::new();
        let summary = &rollout.summary;
        for entry in rollout.log.iter().skip(self.decisions) {
            if !is_first {
                lines.push(log_line(entry));
            }
        }
        for member in &rollout.members {
            let state = self.devices.get(&member.device);
            if state.is_none_or(|state| *state != member.state) {
                // the release of a wave is a decision, which is printed already
                let is_news = !matches!(member.state.as_str(), "held" | "eligible");
                if is_news && !is_first {
                    let (at, device) = (local_short(&member.at), &member.device);
                    lines.push(format!(
                        "{at} {device} {}: {}",
                        member.state, member.evidence
                    ));
                }
                let state = member.state.clone();
                self.devices.insert(member.device.clone(), state);
            }
        }
        if self.state != summary.state {
            lines.push(format!(
                "{} {}: {}",
                summary.id, summary.state, summary.summary
            ));
        }
        self.state.clone_from(&summary.state);
        self.decisions = rollout.log.len();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::rollouts::{LogEntry, Member};

    #[test]
    fn the_first_lines_stay_on_the_screen() {
        for (text, rows, expected) in [
            ("a\nb\n", 3, "a\nb\n"),
            ("a\nb\nc\n", 3, "a\n…\n"),
            ("a\nb\nc\nd\n", 4, "a\nb\n…\n"),
            ("a\n", 1, "…\n"),
        ] {
            assert_eq!(fitting(text, rows), expected, "{text:?} {rows}");
        }
    }

    #[test]
    fn each_change_is_printed_once() {
        let mut rollout = Rollout::default();
        rollout.summary.id = String::from("r1");
        rollout.summary.state = String::from("canary");
        rollout.summary.summary = String::from("0 of 1 run 2.0.");
        rollout.members.push(Member {
            device: String::from("k1"),
            state: String::from("eligible"),
            ..Member::default()
        });
        rollout.log.push(LogEntry::default());
        let mut seen = Seen::default();
        assert_eq!(seen.news(&rollout), ["r1 canary: 0 of 1 run 2.0."]);
        assert!(seen.news(&rollout).is_empty());
        rollout.members[0].state = String::from("running");
        rollout.members[0].evidence = String::from("said so");
        rollout.log.push(LogEntry {
            by: String::from("rules"),
            what: String::from("soak begins"),
            ..LogEntry::default()
        });
        assert_eq!(
            seen.news(&rollout),
            [" rules: soak begins", " k1 running: said so"]
        );
        assert!(seen.news(&rollout).is_empty());
        rollout.summary.state = String::from("soaking");
        assert_eq!(seen.news(&rollout), ["r1 soaking: 0 of 1 run 2.0."]);
    }
}
