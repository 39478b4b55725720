//! `espgate status`: one screen.

use serde_json::Value;

use super::answer::{self, bytes, duration, items, moment, print_facts, print_json, text};
use super::args::Global;
use super::client::Client;
use super::failure::Outcome;
use super::style::{Style, coloured};
use crate::printable::escaped;

/// Asks and shows.
pub(super) fn run(global: &Global, json: bool) -> Outcome {
    let client = Client::connect(global)?;
    let answer = client.get("/api/status").doing("show the status").send()?;
    if json {
        print_json(&answer)?;
    } else {
        let mut status = answer.value()?;
        let ports = client.get("/api/ports").doing("list the ports").send()?;
        if let (Some(status), Some(ports)) = (status.as_object_mut(), ports.value()?.get("ports")) {
            status.entry("ports").or_insert_with(|| ports.clone());
        }
        show(&status)?;
    }
    Ok(std::process::ExitCode::SUCCESS)
}

fn show(status: &Value) -> Result<(), super::failure::Failure> {
    let uptime = status.get("uptime_s").and_then(Value::as_u64);
    print_facts(&[
        ("espgate", text(status, "version")),
        ("gateway", text(status, "gateway_id")),
        ("up", uptime.map(duration).unwrap_or_default()),
        ("listening", text(status, "listeners")),
        ("data", text(status, "data_dir")),
        ("clock", text(status, "clock")),
        ("ports", ports(status)),
        ("last intake", last_intake(status)),
        ("stored", counts(status)),
        ("disk", disk(status)),
    ])?;
    let degraded = items(status, "degraded");
    if status.get("index_ready") == Some(&Value::Bool(false)) {
        answer::say("the stored dumps are still being read; intake works already")?;
    }
    for reason in degraded.iter().filter_map(Value::as_str) {
        let line = format!("degraded: {}", escaped(reason));
        answer::print(&format!("{}\n", Style::Bad.paint(&line, coloured())))?;
    }
    if !degraded.is_empty() {
        answer::say("`espgate doctor` says what to do")?;
    }
    Ok(())
}

fn ports(status: &Value) -> String {
    let ports = items(status, "ports");
    let names: Vec<String> = ports
        .iter()
        .map(|port| match port.as_str() {
            Some(name) => name.to_owned(),
            None => format!("{} ({})", text(port, "name"), text(port, "state")),
        })
        .collect();
    match (names.is_empty(), status.get("ports")) {
        (true, Some(_)) => String::from("none"),
        _ => names.join(", "),
    }
}

fn last_intake(status: &Value) -> String {
    match text(status, "last_intake/at").as_str() {
        "" => String::from("none since the start"),
        _ => format!(
            "{} UTC from {} ({} since the start)",
            moment(status, "last_intake/at"),
            text(status, "last_intake/device_key"),
            text(status, "received_since_start"),
        ),
    }
}

fn counts(status: &Value) -> String {
    let count = |what: &str, one: &str| {
        let figure = text(status, &format!("counts/{what}"));
        let ending = if figure == "1" { "" } else { "s" };
        format!("{figure} {one}{ending}")
    };
    [
        count("coredumps", "coredump"),
        count("devices", "device"),
        count("models", "model"),
        count("tokens", "token"),
    ]
    .join(", ")
}

fn disk(status: &Value) -> String {
    let figure = |place: &str| status.pointer(place).and_then(Value::as_u64);
    let Some((free, total)) = figure("/disk/free_bytes").zip(figure("/disk/total_bytes")) else {
        return String::new();
    };
    let percent = free.saturating_mul(100).checked_div(total).unwrap_or(0);
    format!(
        "{} free of {} ({percent}%); dumps take {}",
        bytes(free),
        bytes(total),
        bytes(figure("/disk/coredump_bytes").unwrap_or(0)),
    )
}
