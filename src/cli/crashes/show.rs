//! `espgate crashes show`: one bug on one screen.

use super::group;
use crate::api::crashes::{BuildCount, Detail};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{known, moment, print, print_facts, print_json, print_line, print_table};
use crate::cli::table::{Table, WIDTH, folded};
use crate::printable::escaped;
use crate::store::crashes::State;

/// Rows of a table on the screen; `--json` has all.
const MOST: usize = 10;

pub(super) fn run(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let answer = group(client, id)?;
    if json {
        return print_json(&answer);
    }
    let group: Detail = answer.read()?;
    if group.id != id {
        print_line(&format!("{id} was merged into {}", group.id))?;
    }
    let heading = format!("Crash {}: {}", group.id, group.signature);
    print(&format!("{}\n\n", folded(&escaped(&heading), WIDTH, 2)))?;
    print_facts(&facts(&group))?;
    print_line("")?;
    builds(&group.builds)?;
    devices(&group)?;
    dumps(&group)?;
    let next = folded(&escaped(&next_step(&group)), WIDTH, 0);
    print(&format!("{next}\n"))
}

fn facts(group: &Detail) -> Vec<(&'static str, String)> {
    let decided = known(&group.decided_at);
    let by = known(&group.decided_by);
    let state = match (&group.regression, decided.is_empty()) {
        (Some(seen), _) => format!(
            "{}: seen on {} in build {} at {}",
            group.state,
            seen.device_key,
            short(&seen.build_id),
            moment(&seen.at)
        ),
        (None, false) => format!("{} since {} by {by}", group.state, moment(&decided)),
        (None, true) => group.state.to_string(),
    };
    let similar: Vec<String> = group
        .similar
        .iter()
        .map(|other| format!("{} ({})", other.id, other.signature))
        .collect();
    let notes: Vec<&str> = group
        .signatures
        .iter()
        .flat_map(|signature| signature.notes.iter().map(String::as_str))
        .collect();
    let tasks = group
        .signatures
        .iter()
        .find_map(|signature| signature.task.clone());
    vec![
        ("Model", known(&group.model)),
        ("State", state),
        ("Until", known(&group.until.as_deref().map(in_short))),
        ("Task", known(&tasks)),
        ("Occurrences", group.occurrences.to_string()),
        ("By the gateway", by_the_gateway(group)),
        ("First seen", moment(&group.first_seen)),
        ("Last seen", moment(&group.last_seen)),
        ("Rollouts", group.rollouts.join(", ")),
        ("Remarks", notes.join("; ")),
        ("Note", known(&group.note)),
        ("Similar", similar.join(", ")),
        ("Split from", known(&group.split_from)),
    ]
}

/// Occurrences that the gateway caused, if any.
fn by_the_gateway(group: &Detail) -> String {
    match group.gateway_induced {
        0 => String::new(),
        count => format!(
            "{count} of {}: the gateway was not reachable, and code that talks to it crashed",
            group.occurrences
        ),
    }
}

fn builds(builds: &[BuildCount]) -> Result<(), Failure> {
    let mut table = Table::new(
        &[
            "BUILD",
            "VERSION",
            "DEVICES",
            "COUNT",
            "FIRST SEEN",
            "LAST SEEN",
        ],
        &[0],
    );
    for build in builds.iter().take(MOST) {
        let id = match (&build.build_id, &build.app_elf_sha256) {
            (Some(id), _) => short(id).to_owned(),
            (None, Some(elf)) => format!("ELF {}", short(elf)),
            (None, None) => String::new(),
        };
        table.row([
            id,
            known(&build.version),
            build.devices.to_string(),
            build.occurrences.to_string(),
            moment(&build.first_seen),
            moment(&build.last_seen),
        ]);
    }
    print_table(&table, builds.is_empty(), "no builds")?;
    more(builds.len(), "builds")?;
    print_line("")
}

fn devices(group: &Detail) -> Result<(), Failure> {
    let mut table = Table::new(&["DEVICE", "COUNT", "FIRST SEEN", "LAST SEEN"], &[0]);
    for device in group.devices.iter().take(MOST) {
        table.row([
            device.device_key.clone(),
            device.occurrences.to_string(),
            moment(&device.first_seen),
            moment(&device.last_seen),
        ]);
    }
    print_table(&table, group.devices.is_empty(), "no devices")?;
    more(group.devices.len(), "devices")?;
    print_line("")
}

fn dumps(group: &Detail) -> Result<(), Failure> {
    let mut table = Table::new(&["DUMP", "DEVICE", "VERSION", "WHEN", "VERDICT"], &[0, 1]);
    for dump in group.coredumps.iter().take(MOST) {
        table.row([
            dump.id.clone(),
            dump.device_key.clone(),
            known(&dump.firmware_version),
            moment(&dump.uploaded_at),
            dump.verdict.clone(),
        ]);
    }
    print_table(&table, group.coredumps.is_empty(), "no stored dumps")?;
    more(usize::try_from(group.dumps).unwrap_or(0), "dumps")?;
    print_line("")
}

fn more(count: usize, what: &str) -> Result<(), Failure> {
    match count.checked_sub(MOST) {
        Some(more @ 1..) => print_line(&format!("and {more} more {what}")),
        _ => Ok(()),
    }
}

fn next_step(group: &Detail) -> String {
    let id = &group.id;
    let show = group
        .coredumps
        .first()
        .map(|dump| format!("espgate coredumps show {}", dump.id));
    let show = show.map_or(String::new(), |show| {
        format!("Where it crashed: `{show}`. ")
    });
    let then = match group.state.known() {
        Some(State::Open | State::Regressed) => {
            format!("Once it is fixed: `espgate crashes resolve {id}`.")
        }
        Some(State::Resolved | State::Ignored) => {
            format!("To open it again: `espgate crashes reopen {id}`.")
        }
        None => String::new(),
    };
    format!("{show}{then}").trim_end().to_owned()
}

/// A build's id in short; `100x` and `10d` as they are.
pub(super) fn in_short(until: &str) -> &str {
    match until.len() {
        64 => short(until),
        _ => until,
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
