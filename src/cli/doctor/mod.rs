//! `espgate doctor`: finds problems and suggests fixes.

mod certificate;
mod clock;
mod configuration;
mod daemon_crashes;
mod data_dir;
mod device_config;
mod dumps_and_firmware;
mod dumps_and_firmware_offline;
mod finding;
mod firmware;
mod journald;
mod rollouts;
mod serial;
mod service;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use serde_json::json;

use super::args::{Global, Json};
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::output::{print, print_line};
use super::paths;
use super::style::coloured;
use super::table::{WIDTH, folded};
use crate::api::status::Status;
use crate::printable::escaped;
use finding::{Finding, Severity};

/// Runs all checks; exit status 1 if there are errors or warnings.
pub(super) fn run(global: &Global, json: Json) -> Outcome {
    let config = paths::configuration(global);
    let root = paths::data_dir(global);
    let coredumps = paths::coredumps(global, &config);
    let mut findings = Vec::new();
    let client = match Client::connect(global) {
        Ok(client) => Some(client),
        Err(failure) => {
            findings.push(service::unreachable(&failure));
            None
        }
    };
    let status: Option<Status> = client
        .as_ref()
        .and_then(|client| client.get("/api/status").send().ok()?.read().ok());
    findings.extend(service::findings(status.as_ref(), &config));
    findings.extend(daemon_crashes::findings(status.as_ref(), &root));
    findings.extend(configuration::findings(global));
    findings.extend(clock::findings());
    findings.extend(data_dir::findings(&root, &coredumps, &config));
    findings.extend(device_config::findings(&root));
    findings.extend(journald::findings());
    findings.extend(certificate::findings(global, client.as_ref()));
    findings.extend(serial::findings(client.as_ref(), &root));
    findings.extend(match &client {
        Some(client) => dumps_and_firmware::findings(client),
        None => {
            dumps_and_firmware_offline::findings(&root, &coredumps, &paths::assets(global, &config))
        }
    });
    // Errors first; a missing daemon stays at the top.
    findings.sort_by_key(|finding| finding.severity);
    match json.json {
        true => print(&format!("{}\n", json!({ "findings": findings })))?,
        false => show(&findings)?,
    }
    let needs_person = findings.iter().any(|f| f.severity != Severity::Note);
    Ok(ExitCode::from(u8::from(needs_person)))
}

fn show(findings: &[Finding]) -> Result<(), Failure> {
    // A line each; where a person reads them, broken between words.
    let columns = match io::stdout().is_terminal() {
        true => WIDTH,
        false => usize::MAX,
    };
    for finding in findings {
        let line = match finding.advice.as_str() {
            "" => escaped(&finding.what).into_owned(),
            advice => format!("{}: {}", escaped(&finding.what), escaped(advice)),
        };
        let word = format!("{:9}", finding.severity.as_str());
        let line = folded(&format!("{word}{line}"), columns, word.len());
        let line = line.strip_prefix(&word).unwrap_or_default();
        let word = finding.severity.style().paint(&word, coloured());
        print(&format!("{word}{line}\n"))?;
    }
    let count = findings
        .iter()
        .filter(|f| f.severity != Severity::Note)
        .count();
    match count {
        0 => print_line("no problems found"),
        1 => print_line("1 problem found"),
        count => print_line(&format!("{count} problems found")),
    }
}
