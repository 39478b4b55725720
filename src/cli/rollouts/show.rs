//! A rollout on one screen: what happened and what to do first, then waves, devices and
//! decisions.

use super::bar::{Counts, LEGEND};
use super::start::{counted, share};
use crate::api::rollouts::{LogEntry, Member, Rollout};
use crate::cli::style::coloured;
use crate::cli::table::{Table, WIDTH, columns, folded};
use crate::clock::local_short;
use crate::printable::escaped;

/// Devices on the screen, unless all are asked for.
const DEVICES: usize = 20;
/// Decisions on the screen, unless all are asked for.
const DECISIONS: usize = 10;

/// Its lines. Times are local, as in the sentence that the daemon writes.
pub(super) fn screen(rollout: &Rollout, all: bool) -> String {
    let parts = [
        heading(rollout),
        paragraph(&rollout.summary.summary),
        waves(rollout),
        devices(rollout, all),
        worth(rollout).map_or_else(String::new, |worth| paragraph(&worth)),
        log(rollout, all),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

fn paragraph(text: &str) -> String {
    format!("{}\n", folded(&escaped(text), WIDTH, 0))
}

fn heading(rollout: &Rollout) -> String {
    let summary = &rollout.summary;
    paragraph(&format!(
        "Rollout {} of {}: {} to {}, {}",
        summary.id, summary.model, summary.base_name, summary.target_name, summary.state
    ))
}

/// The waves as bars.
fn waves(rollout: &Rollout) -> String {
    let heading = ["WAVE", "SHARE", "DEVICES", "PROGRESS", "RELEASED", "STATE"];
    let mut table = Table::new(&heading, &[0, 3]);
    for (at, wave) in rollout.waves.iter().enumerate() {
        let number = at as u64 + 1;
        let members = rollout.members.iter();
        let members: Vec<&Member> = members.filter(|member| member.wave == number).collect();
        let name = match at {
            0 => String::from("canaries"),
            _ => number.to_string(),
        };
        let counts = Counts::of(&members);
        let state = match &wave.released_at {
            Some(_) => counts.in_words(is_over(rollout)),
            None => String::from("not released"),
        };
        let released = wave.released_at.as_deref();
        table.row([
            name,
            share(wave.share),
            members.len().to_string(),
            counts.bar(),
            released.map(local_short).unwrap_or_default(),
            state,
        ]);
    }
    format!("{}{LEGEND}\n", table.render(columns(), coloured()))
}

/// Whether nobody gets the build any more who has not got it.
fn is_over(rollout: &Rollout) -> bool {
    rollout.summary.ended_at.is_some() || rollout.summary.state == "stopped"
}

/// Devices that are concerned, worst first: those whose wave is released, and after the
/// end those that got the build.
fn devices(rollout: &Rollout, all: bool) -> String {
    let mut members: Vec<&Member> = rollout.members.iter().collect();
    let unconcerned: &[&str] = match is_over(rollout) {
        true => &["held", "eligible", "offered"],
        false => &["held"],
    };
    if !all {
        members.retain(|member| !unconcerned.contains(&member.state.as_str()));
    }
    let held = rollout.members.len() - members.len();
    members.sort_by_key(|member| severity(member));
    let shown = match all {
        true => members.len(),
        false => members.len().min(DEVICES),
    };
    let mut table = Table::new(&["DEVICE", "STATE", "SINCE", "EVIDENCE"], &[0, 1]);
    for member in members.iter().take(shown) {
        let name = match member.votes {
            true => member.device.clone(),
            false => format!("{} (no vote)", member.device),
        };
        let evidence = match &member.crash {
            Some(crash) if !member.evidence.contains(crash.as_str()) => {
                format!("{}; crash {crash}", member.evidence)
            }
            _ => member.evidence.clone(),
        };
        table.row([
            name,
            state(member).to_owned(),
            local_short(&member.at),
            evidence,
        ]);
    }
    let mut text = match members.is_empty() {
        true => String::new(),
        false => table.render(columns(), coloured()),
    };
    let more = members.len() - shown;
    match (more, held) {
        (0, 0) => {}
        (0, held) => {
            let which = match is_over(rollout) {
                true => "that did not get it",
                false => "in waves that are not released",
            };
            text.push_str(&format!(
                "{}{} {which}: --all\n",
                if members.is_empty() { "" } else { "and " },
                counted(held, "device")
            ));
        }
        (more, held) => text.push_str(&format!("and {} more: --all\n", more + held)),
    }
    for member in members.iter().take(shown) {
        if let Some(advice) = &member.advice {
            text.push_str(&steps(&format!("{}: {advice}", member.device)));
        }
    }
    let mut crashes: Vec<&str> = members
        .iter()
        .filter_map(|one| one.crash.as_deref())
        .collect();
    crashes.sort_unstable();
    crashes.dedup();
    for crash in crashes {
        text.push_str(&format!("`espgate crashes show {}`\n", escaped(crash)));
    }
    text
}

/// Text with commands in backticks: each command is in a line of its own, to be copied.
fn steps(advice: &str) -> String {
    let mut text = String::new();
    for (number, piece) in advice.split('`').enumerate() {
        let is_command = number % 2 == 1;
        let words = piece.trim_start_matches(['.', ',', ' ']).trim_end();
        match is_command {
            true => text.push_str(&format!("    {}\n", escaped(piece))),
            false if words.is_empty() => {}
            false => text.push_str(&paragraph(words)),
        }
    }
    text
}

/// The state, and for a soaked device how sure it is.
fn state(member: &Member) -> &str {
    match member.state.as_str() {
        "soaked" if member.confirmed => "confirmed",
        "soaked" => "presumed",
        state => state,
    }
}

fn severity(member: &Member) -> usize {
    const WORST_FIRST: [&str; 18] = [
        "crashed",
        "looping",
        "stranded",
        "reverted",
        "lost",
        "refused",
        "downloaded",
        "downloading",
        "offered",
        "running",
        "eligible",
        "presumed",
        "confirmed",
        "back",
        "incompatible",
        "pinned",
        "has-it",
        "retired",
    ];
    let place = WORST_FIRST.iter().position(|word| *word == state(member));
    place.unwrap_or(WORST_FIRST.len())
}

/// What the figures prove; `None` after an end without any.
fn worth(rollout: &Rollout) -> Option<String> {
    let summary = &rollout.summary;
    let good = summary.confirmed + summary.presumed;
    if good == 0 {
        return match summary.failed {
            0 if is_over(rollout) => None,
            0 => Some(String::from("No device is soaked yet: nothing is proved.")),
            failed => Some(format!("{failed} failed, none is soaked.")),
        };
    }
    let mut text = format!(
        "{} confirmed (heard again after the soak), {} presumed (seen once, no crash and no \
         boot since), {} failed.",
        summary.confirmed, summary.presumed, summary.failed
    );
    let votes = |member: &&Member| member.state == "soaked" && member.votes;
    let counted_in = rollout.members.iter().filter(votes).count();
    if summary.failed == 0 && counted_in > 0 {
        text.push_str(&format!(
            " No failure among {} leaves a true rate of bad ones of up to {:.0} %.",
            counted(counted_in, "device"),
            summary.true_rate_up_to
        ));
    }
    Some(text)
}

fn log(rollout: &Rollout, all: bool) -> String {
    let skipped = match all {
        true => 0,
        false => rollout.log.len().saturating_sub(DECISIONS),
    };
    let mut text = match skipped {
        0 => String::new(),
        skipped => format!("({} before: --all)\n", counted(skipped, "decision")),
    };
    for entry in rollout.log.iter().skip(skipped) {
        text.push_str(&folded(&escaped(&log_line(entry)), WIDTH, 4));
        text.push('\n');
    }
    text
}

/// `11-27 14:02 rules: kitchen1: new crash`
pub(super) fn log_line(entry: &LogEntry) -> String {
    let (at, by, what) = (local_short(&entry.at), &entry.by, &entry.what);
    match &entry.device {
        Some(device) if !what.contains(device.as_str()) => format!("{at} {by}: {device}: {what}"),
        _ => format!("{at} {by}: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::rollouts::{Summary, Wave};

    fn member(device: &str, state: &str, wave: u64) -> Member {
        Member {
            device: device.to_owned(),
            state: state.to_owned(),
            wave,
            votes: true,
            ..Member::default()
        }
    }

    #[test]
    fn the_worst_devices_come_first_and_the_rest_is_counted() {
        let mut rollout = Rollout {
            waves: vec![Wave::default()],
            members: (0..30)
                .map(|number| member(&format!("ok{number}"), "running", 1))
                .collect(),
            summary: Summary::default(),
            ..Rollout::default()
        };
        rollout.members.push(member("bad", "crashed", 1));
        rollout.members.push(member("later", "held", 2));
        let text = devices(&rollout, false);
        let second = text.lines().nth(1).unwrap();
        assert!(second.starts_with("bad "), "{text}");
        assert!(text.contains("and 12 more: --all"), "{text}");
        assert!(!text.contains("later"), "{text}");
        let text = devices(&rollout, true);
        assert!(text.contains("later") && !text.contains("--all"), "{text}");
    }

    #[test]
    fn commands_of_an_advice_are_lines_of_their_own() {
        let advice = "k1: power-cycle it. If that does not help: `a b`, `c`. Then: `d`";
        assert_eq!(
            steps(advice),
            "k1: power-cycle it. If that does not help:\n    a b\n    c\nThen:\n    d\n"
        );
        assert_eq!(steps("k1: power-cycle it"), "k1: power-cycle it\n");
    }

    #[test]
    fn lines_fit_80_columns() {
        let mut rollout = Rollout {
            waves: vec![Wave {
                share: 4.0,
                released_at: Some(String::from("2026-11-26T10:00:00Z")),
                ..Wave::default()
            }],
            ..Rollout::default()
        };
        rollout.summary.summary = "word ".repeat(40);
        let mut failed = member("kitchen1", "crashed", 1);
        failed.evidence = "new crash ".repeat(20);
        failed.advice = Some("power-cycle it ".repeat(10));
        rollout.members.push(failed);
        rollout.log.push(LogEntry {
            what: "long ".repeat(40),
            ..LogEntry::default()
        });
        for line in screen(&rollout, false).lines() {
            // a table is cut to the terminal, which a test has none of
            assert!(
                line.len() <= WIDTH || line.starts_with("kitchen1 "),
                "{line}"
            );
        }
    }
}
