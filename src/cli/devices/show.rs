//! `espgate devices show`: one board, what it runs, what it gets and why.

use crate::api::devices::{BuildSeen, Device};
use crate::cli::args::Json;
use crate::cli::client::{Client, segment};
use crate::cli::failure::Failure;
use crate::cli::output::{
    duration, known, moment, print, print_facts, print_json, print_line, print_table,
};
use crate::cli::table::{Table, WIDTH, folded};
use crate::printable::escaped;

use super::{SEE_LIST, list};

pub(super) fn run(client: &Client, key: &str, json: Json) -> Result<(), Failure> {
    let answer = client
        .get(format!("/api/devices/{}", segment(key)))
        .doing(format!("show device {key}"))
        .advice(SEE_LIST)
        .send()?;
    if json.json {
        return print_json(&answer);
    }
    let device: Device = answer.read()?;
    let heading = match &device.name {
        Some(name) => format!("Device {} ({name})", device.device_key),
        None => format!("Device {}", device.device_key),
    };
    print(&format!("{}\n\n", folded(&escaped(&heading), WIDTH, 2)))?;
    print_facts(&facts(&device))?;
    if device.builds.is_empty() {
        return Ok(());
    }
    print_line("")?;
    let mut table = Table::new(
        &["BUILD", "VERSION", "RAN", "SINCE", "LAST", "EVIDENCE"],
        &[0],
    );
    for seen in &device.builds {
        table.row([
            known(&seen.build_id.as_deref().map(short)),
            known(&seen.version),
            ran(seen),
            moment(&seen.first),
            moment(&seen.last),
            seen.evidence.clone(),
        ]);
    }
    print_table(&table, false, "")
}

fn facts(device: &Device) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Model", known(&device.model))];
    let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    fact("Hardware", device.hw.clone());
    fact("MAC", device.mac.clone());
    fact("Runs", Some(list::runs(device)));
    let gets = device.gets.as_ref();
    fact(
        "Gets",
        gets.map(|gets| match (&gets.name, gets.why.is_empty()) {
            (Some(name), true) => name.clone(),
            (Some(name), false) => format!("{name} ({})", gets.why.join("; ")),
            (None, _) => format!("nothing ({})", gets.why.join("; ")),
        }),
    );
    fact("Last contact", device.last_seen.as_deref().map(moment));
    fact("Usually heard every", device.usual_interval_s.map(duration));
    fact("State", device.state.clone());
    fact("Boots today", Some(device.boots_today.to_string()));
    fact(
        "Last crash",
        device
            .last_crash
            .as_ref()
            .map(|crash| format!("{} {}", moment(&crash.at), crash.crash)),
    );
    let tokens: Vec<&str> = device
        .tokens
        .iter()
        .map(|token| token.id.as_str())
        .collect();
    fact(
        "Tokens",
        Some(match (&device.fleet_token, tokens.is_empty()) {
            (Some(fleet), true) => format!("none of its own; fleet token {fleet}"),
            (_, true) => String::from("none"),
            (_, false) => tokens.join(", "),
        }),
    );
    facts
}

fn ran(seen: &BuildSeen) -> String {
    match &seen.certainty {
        Some(certainty) => format!("{certainty}, {}", duration(seen.seconds)),
        None if seen.crashed_at.is_some() => String::from("crashed"),
        None => String::from("has it"),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
