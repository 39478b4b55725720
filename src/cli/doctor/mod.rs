//! `espgate doctor`: what is wrong, and what to do about it.

mod certificate;
mod clock;
mod configuration;
mod data_dir;
mod finding;
mod journald;
mod serial;
mod service;
mod stored;

use std::process::ExitCode;

use serde_json::json;

use super::answer::{print, say};
use super::args::{Global, Json};
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::places;
use super::style::coloured;
use crate::printable::escaped;
use finding::{Finding, Severity};

/// Looks at everything that can be looked at; 1 if something needs a person.
pub(super) fn run(global: &Global, json: Json) -> Outcome {
    let config = places::configuration(global);
    let root = places::data_dir(global);
    let mut findings = Vec::new();
    let client = match Client::connect(global) {
        Ok(client) => Some(client),
        Err(failure) => {
            findings.push(service::unreachable(&failure));
            None
        }
    };
    findings.extend(service::look(client.as_ref(), &config));
    findings.extend(configuration::look(global));
    findings.extend(clock::look());
    findings.extend(data_dir::look(&root, &config));
    findings.extend(journald::look());
    findings.extend(certificate::look(global, client.as_ref()));
    findings.extend(serial::look(client.as_ref(), &root));
    if let Some(client) = &client {
        findings.extend(stored::look(client));
    }
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
    for finding in findings {
        let word = format!("{:8}", finding.severity.as_str());
        let word = finding.severity.style().paint(&word, coloured());
        let what = escaped(&finding.what);
        match finding.advice.as_str() {
            "" => print(&format!("{word} {what}\n"))?,
            advice => print(&format!("{word} {what}: {}\n", escaped(advice)))?,
        }
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
