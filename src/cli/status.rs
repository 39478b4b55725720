//! `espgate status`: one screen.

use super::args::Global;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::output::{self, bytes, duration, known, moment, print_facts, print_json};
use super::style::{Style, coloured};
use crate::api::ports::PortStatus;
use crate::api::status::{Counts, Disk, Status};
use crate::printable::escaped;

/// Asks and shows.
pub(super) fn run(global: &Global, json: bool) -> Outcome {
    let client = Client::connect(global)?;
    let answer = client.get("/api/status").doing("show the status").send()?;
    match json {
        true => print_json(&answer)?,
        false => show(&answer.read()?)?,
    }
    Ok(std::process::ExitCode::SUCCESS)
}

fn show(status: &Status) -> Result<(), Failure> {
    print_facts(&[
        ("espgate", status.version.clone()),
        ("gateway", status.gateway_id.clone()),
        ("up", known(&status.uptime_s.map(duration))),
        ("listening", status.listeners.join(", ")),
        ("data", status.data_dir.display().to_string()),
        ("clock", status.clock.clone()),
        ("ports", ports(&status.ports)),
        ("rollouts", status.rollouts.join(", ")),
        ("last dump", last_intake(status)),
        ("stored", counts(status.counts)),
        ("disk", disk(status.disk).unwrap_or_default()),
    ])?;
    if !status.index_ready {
        output::print_line("still indexing stored dumps; new dumps are accepted")?;
    }
    for reason in &status.degraded {
        let line = format!("degraded: {}", escaped(reason));
        output::print(&format!("{}\n", Style::Bad.paint(&line, coloured())))?;
    }
    if !status.degraded.is_empty() {
        output::print_line("see `espgate doctor`")?;
    }
    Ok(())
}

fn ports(ports: &[PortStatus]) -> String {
    if ports.is_empty() {
        return String::from("none");
    }
    let shown: Vec<String> = ports
        .iter()
        .map(|port| format!("{} ({})", port.name, port.state))
        .collect();
    shown.join(", ")
}

fn last_intake(status: &Status) -> String {
    match &status.last_intake {
        None => String::from("none since start"),
        Some(last) => format!(
            "{} UTC from {} ({} since start)",
            moment(&last.at),
            last.device_key,
            status.received_since_start,
        ),
    }
}

fn counts(counts: Counts) -> String {
    let count = |count: u64, one: &str| {
        let ending = if count == 1 { "" } else { "s" };
        format!("{count} {one}{ending}")
    };
    [
        count(counts.coredumps, "coredump"),
        count(counts.devices, "device"),
        count(counts.models, "model"),
        count(counts.tokens, "token"),
    ]
    .join(", ")
}

fn disk(disk: Disk) -> Option<String> {
    let (free, total) = disk.free_bytes.zip(disk.total_bytes)?;
    let percent = free.saturating_mul(100).checked_div(total).unwrap_or(0);
    Some(format!(
        "{} free of {} ({percent}%); dumps take {}",
        bytes(free),
        bytes(total),
        bytes(disk.coredump_bytes),
    ))
}
