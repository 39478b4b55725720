//! `espgate tls`: the CA for firmware, and the server's certificate.

mod offline;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Subcommand;

use super::args::{Global, Json};
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::output::{moment, print, print_facts, print_json, print_line};
use crate::api::tls::{Certificate, Installed, Shown};
pub(super) use offline::certificates as offline_certificates;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the CA certificate to embed in firmware
    Ca,
    /// Show names, dates and size of the served certificate
    Show(Json),
    /// Print a certificate request for your own CA
    Csr,
    /// Install a certificate chain from your own CA
    Install {
        /// PEM file, the server certificate first
        chain: PathBuf,
        #[command(flatten)]
        json: Json,
    },
    /// Renew the certificate, keeping its key
    Renew(Json),
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    match command {
        Command::Ca => {
            let path = offline::ca_path(global);
            let ca = fs::read_to_string(&path).map_err(|error| {
                let advice = match error.kind() {
                    ErrorKind::PermissionDenied => "; use sudo",
                    ErrorKind::NotFound => "; start the daemon once: it creates the CA",
                    _ => "",
                };
                anyhow!("cannot read {}: {error}{advice}", path.display())
            })?;
            print(&ca)?;
        }
        Command::Show(json) => show(global, json)?,
        Command::Csr => {
            let answer = Client::connect(global)?
                .get("/api/tls/csr")
                .doing("create a certificate request")
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
                false => facts(&answer.read()?)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
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
    print_line(&format!("installed {}", chain.display()))?;
    let Installed { warnings } = answer.read()?;
    let mut warnings = warnings.iter();
    warnings.try_for_each(|warning| print_line(&format!("warning: {warning}")))
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
                false => facts(&answer.read()?),
            }
        }
        Err(_) => {
            let served = offline::certificates(global)?;
            if json.json {
                return print(&format!("{}\n", serde_json::to_string(&served)?));
            }
            facts(&served)?;
            print_line("daemon not running: read from its files")
        }
    }
}

fn facts(served: &Shown) -> Result<(), Failure> {
    let fits = match served.fits_4096 {
        Some(true) => "fits one 4096-byte record",
        Some(false) => "too large for devices with a 4 KiB buffer",
        None => "",
    };
    let flight = served.flight_bytes;
    let handshake = flight.map(|bytes| format!("{bytes} bytes, {fits}"));
    let valid = match served.valid_now {
        Some(false) => " (not valid now: check the clock)",
        _ => "",
    };
    let dates = |certificate: &Certificate| {
        format!(
            "{} to {}",
            moment(&certificate.not_before),
            moment(&certificate.not_after)
        )
    };
    let (server, ca) = (&served.server, served.ca.as_ref());
    let of_ca = |what: fn(&Certificate) -> &String| ca.map(what).cloned().unwrap_or_default();
    print_facts(&[
        ("source", served.source.to_string()),
        ("subject", server.subject.clone()),
        ("issuer", server.issuer.clone()),
        ("names", server.names.join(", ")),
        ("valid", dates(server) + valid),
        ("sha256", server.fingerprint_sha256.clone()),
        ("handshake", handshake.unwrap_or_default()),
        ("CA", of_ca(|ca| &ca.subject)),
        ("CA valid", ca.map(dates).unwrap_or_default()),
        ("CA sha256", of_ca(|ca| &ca.fingerprint_sha256)),
    ])
}
