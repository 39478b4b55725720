//! `espgate doctor`: what is wrong, and what to do about it.

mod certificate;
mod clock;
mod configuration;
mod data_dir;
mod endings;
mod finding;
mod firmware;
mod journald;
mod serial;
mod service;
mod stored;
mod stored_files;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use serde_json::json;

use super::args::{Global, Json};
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::output::{print, say};
use super::paths;
use super::style::coloured;
use super::table::{WIDTH, folded};
use crate::api::status::Status;
use crate::printable::escaped;
use finding::{Finding, Severity};

/// Looks at everything that can be looked at; 1 if something needs a person.
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
    findings.extend(service::look(status.as_ref(), &config));
    findings.extend(endings::look(status.as_ref(), &root));
    findings.extend(configuration::look(global));
    findings.extend(clock::look());
    findings.extend(data_dir::look(&root, &coredumps, &config));
    findings.extend(journald::look());
    findings.extend(certificate::look(global, client.as_ref()));
    findings.extend(serial::look(client.as_ref(), &root));
    findings.extend(match &client {
        Some(client) => stored::look(client),
        None => stored_files::look(&root, &coredumps, &paths::assets(global, &config)),
    });
    // What needs a person first; a missing daemon stays at the top.
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
        0 => say("nothing needs a person"),
        1 => say("1 thing needs a person"),
        count => say(&format!("{count} things need a person")),
    }
}
