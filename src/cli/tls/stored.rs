//! The certificates as the files have them, for when no daemon runs.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::ca_path;
use crate::cli::args::Global;
use crate::cli::failure::Failure;
use crate::cli::places;
use crate::digest::Sha256;

/// What would be served, in the shape of `GET /api/tls`; `null` for what only
/// the daemon knows.
pub(in crate::cli) fn shown(global: &Global) -> Result<Value, Failure> {
    let configured = places::configuration(global).tls.cert;
    let folder = places::data_dir(global).join("tls");
    let (source, path) = match configured {
        Some(path) => ("configured", path),
        None if folder.join("installed.pem").exists() => {
            ("installed", folder.join("installed.pem"))
        }
        None => ("site-ca", folder.join("server.pem")),
    };
    let server = certificate(&path)?;
    let ca = certificate(&ca_path(global)).ok();
    let now = OffsetDateTime::now_utc();
    let moment = |name: &str| {
        let text = server.get(name).and_then(Value::as_str);
        text.and_then(crate::clock::parse)
    };
    let valid = moment("not_before").zip(moment("not_after"));
    Ok(json!({
        "source": source,
        "server": server,
        "ca": ca.filter(|_| source == "site-ca"),
        "flight_bytes": null,
        "fits_4096": null,
        "valid_now": valid.map(|(from, to)| from <= now && now < to),
    }))
}

/// The first certificate of a PEM file in words.
fn certificate(path: &Path) -> anyhow::Result<Value> {
    let cannot = || format!("cannot read {}", path.display());
    let pem = fs::read(path).with_context(cannot)?;
    let der = CertificateDer::from_pem_slice(&pem)
        .map_err(|error| anyhow!("{}: no certificate in it: {error:?}", cannot()))?;
    let (_, parsed) = X509Certificate::from_der(&der).with_context(cannot)?;
    let moment = |seconds| {
        let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
        moment.and_then(|moment| moment.format(&Rfc3339).ok())
    };
    let names: Vec<String> = parsed
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(list) => Some(&list.general_names),
            _ => None,
        })
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    Ok(json!({
        "subject": parsed.subject().to_string(),
        "issuer": parsed.issuer().to_string(),
        "names": names,
        "not_before": moment(parsed.validity().not_before.timestamp()),
        "not_after": moment(parsed.validity().not_after.timestamp()),
        "fingerprint_sha256": Sha256::of(&der).to_string(),
    }))
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(sixteen).to_string())
}
