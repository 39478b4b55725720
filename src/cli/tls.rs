//! `espgate tls`: the CA for firmware, and the server's certificate.

mod stored;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::Value;

use super::answer::{items, moment, print, print_facts, print_json, say, text};
use super::args::{Global, Json};
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::places;
pub(super) use stored::shown as stored_certificate;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the CA certificate to embed in firmware
    Ca,
    /// Names, dates and size of the certificate that is served
    Show(Json),
    /// Print a request for a certificate from a CA of your own
    Csr,
    /// Serve a chain that such a CA made: the server's certificate first
    Install {
        chain: PathBuf,
        #[command(flatten)]
        json: Json,
    },
    /// Make the certificate anew, with the same key
    Renew(Json),
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    match command {
        Command::Ca => {
            let path = ca_path(global);
            let cannot = || {
                format!(
                    "cannot read {}: start the daemon once, or run it as root (sudo)",
                    path.display()
                )
            };
            print(&fs::read_to_string(&path).with_context(cannot)?)?;
        }
        Command::Show(json) => show(global, json)?,
        Command::Csr => {
            let answer = Client::connect(global)?
                .get("/api/tls/csr")
                .doing("make a certificate request")
                .send()?;
            print(&answer.text())?;
        }
        Command::Install { chain, json } => install(global, &chain, json)?,
        Command::Renew(json) => {
            let answer = Client::connect(global)?
                .post("/api/tls/renew")
                .doing("renew the certificate")
                .send()?;
            match json.json {
                true => print_json(&answer)?,
                false => facts(&answer.value()?)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ca_path(global: &Global) -> PathBuf {
    let configured = places::configuration(global).tls.ca_cert;
    configured.unwrap_or_else(|| places::data_dir(global).join("tls/ca.pem"))
}

fn install(global: &Global, chain: &Path, json: Json) -> Result<(), Failure> {
    let answer = Client::connect(global)?
        .post("/api/tls/install")
        .doing(format!("install {}", chain.display()))
        .file(chain)?
        .send()?;
    if json.json {
        return print_json(&answer);
    }
    say(&format!("{} is served from now on", chain.display()))?;
    let value = answer.value()?;
    let mut warnings = items(&value, "warnings").iter().filter_map(Value::as_str);
    warnings.try_for_each(|warning| say(&format!("warning: {warning}")))
}

/// From the daemon if there is one; else from the files.
fn show(global: &Global, json: Json) -> Result<(), Failure> {
    match Client::connect(global) {
        Ok(client) => {
            let answer = client
                .get("/api/tls")
                .doing("show the certificate")
                .send()?;
            match json.json {
                true => print_json(&answer),
                false => facts(&answer.value()?),
            }
        }
        Err(_) => {
            let shown = stored::shown(global)?;
            if json.json {
                return print(&format!("{shown}\n"));
            }
            facts(&shown)?;
            say("read from the files: the daemon does not run")
        }
    }
}

fn facts(shown: &Value) -> Result<(), Failure> {
    let fits = match shown.get("fits_4096") {
        Some(Value::Bool(true)) => "fits one 4096-byte record",
        Some(Value::Bool(false)) => "TOO LARGE for devices with a 4 KiB buffer",
        _ => "",
    };
    let flight = text(shown, "flight_bytes");
    let valid = match shown.get("valid_now") {
        Some(Value::Bool(false)) => " (NOT VALID NOW: see the clock)",
        _ => "",
    };
    let dates = |place: &str| {
        format!(
            "{} to {}",
            moment(shown, &format!("{place}/not_before")),
            moment(shown, &format!("{place}/not_after"))
        )
    };
    let ca = shown.get("ca").filter(|ca| !ca.is_null());
    print_facts(&[
        ("source", text(shown, "source")),
        ("subject", text(shown, "server/subject")),
        ("issuer", text(shown, "server/issuer")),
        ("names", text(shown, "server/names")),
        ("valid", dates("server") + valid),
        ("sha256", text(shown, "server/fingerprint_sha256")),
        (
            "handshake",
            if flight.is_empty() {
                flight
            } else {
                format!("{flight} bytes, {fits}")
            },
        ),
        ("CA", text(shown, "ca/subject")),
        ("CA valid", ca.map(|_| dates("ca")).unwrap_or_default()),
        ("CA sha256", text(shown, "ca/fingerprint_sha256")),
    ])
}
