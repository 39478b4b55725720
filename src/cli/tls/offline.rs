//! The certificates read from their files, if no daemon is running.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::api::tls::{Certificate, Shown, Source};
use crate::cli::args::Global;
use crate::cli::failure::Failure;
use crate::cli::paths;
use crate::clock::{parse, plausible};
use crate::digest::Sha256;

/// The CA that devices have to trust.
pub(super) fn ca_path(global: &Global) -> PathBuf {
    let configured = paths::configuration(global).tls.ca_cert;
    configured.unwrap_or_else(|| paths::data_dir(global).join("tls/ca.pem"))
}

/// The certificates that would be served, without what only the daemon knows.
pub(in crate::cli) fn certificates(global: &Global) -> Result<Shown, Failure> {
    let configured = paths::configuration(global).tls.cert;
    let folder = paths::data_dir(global).join("tls");
    let (source, path) = match configured {
        Some(path) => (Source::Configured, path),
        None if folder.join("installed.pem").exists() => {
            (Source::Installed, folder.join("installed.pem"))
        }
        None => (Source::SiteCa, folder.join("server.pem")),
    };
    let server = certificate(&path)?;
    let ca = certificate(&ca_path(global)).ok();
    let now = plausible();
    let valid = parse(&server.not_before).zip(parse(&server.not_after));
    Ok(Shown {
        source: source.into(),
        server,
        ca: ca.filter(|_| source == Source::SiteCa),
        valid_now: valid.map(|(from, to)| from <= now && now < to),
        ..Shown::default()
    })
}

/// The first certificate of a PEM file in words.
fn certificate(path: &Path) -> anyhow::Result<Certificate> {
    let cannot = || format!("cannot read {}", path.display());
    let pem = fs::read(path).with_context(cannot)?;
    let der = CertificateDer::from_pem_slice(&pem)
        .map_err(|error| anyhow!("{}: no certificate in it: {error:?}", cannot()))?;
    let (_, parsed) = X509Certificate::from_der(&der).with_context(cannot)?;
    let moment = |seconds| {
        let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
        let text = moment.and_then(|moment| moment.format(&Rfc3339).ok());
        text.unwrap_or_default()
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
    Ok(Certificate {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        names,
        not_before: moment(parsed.validity().not_before.timestamp()),
        not_after: moment(parsed.validity().not_after.timestamp()),
        fingerprint_sha256: Sha256::of(&der).to_string(),
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(sixteen).to_string())
}
