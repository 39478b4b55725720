//! Reads and checks certificate chains and keys from PEM files.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::handshake::provider;
use super::{Error, Result};
use crate::digest::Sha256;

/// Longest PEM file that is read.
const MAX_PEM_BYTES: u64 = 256 * 1024;
/// Most certificates in a chain.
const MAX_CERTIFICATES: usize = 8;

/// What one certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    /// SHA-256 of the whole certificate, lower-case hex.
    pub(super) fingerprint: String,
    pub(super) is_ca: bool,
    raw_subject: Vec<u8>,
    raw_issuer: Vec<u8>,
    key_identifier: Option<Vec<u8>>,
    authority_key_identifier: Option<Vec<u8>>,
}

impl Facts {
    /// Reads one certificate; `None` if it is not one.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let moment = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        let mut facts = Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: Vec::new(),
            not_before: moment(certificate.validity().not_before.timestamp())?,
            not_after: moment(certificate.validity().not_after.timestamp())?,
            fingerprint: Sha256::of(der).to_string(),
            is_ca: certificate.is_ca(),
            raw_subject: certificate.subject().as_raw().to_vec(),
            raw_issuer: certificate.issuer().as_raw().to_vec(),
            key_identifier: None,
            authority_key_identifier: None,
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(list) => {
                    facts.names = list.general_names.iter().filter_map(name).collect();
                }
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    facts.key_identifier = Some(id.0.to_vec());
                }
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    facts.authority_key_identifier =
                        id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Some(facts)
    }

    /// Whether the certificate is a root: clients have it already.
    pub(super) fn is_root(&self) -> bool {
        self.raw_subject == self.raw_issuer
    }

    /// Whether `self` names `issuer` as the one that made it.
    pub(super) fn is_issued_by(&self, issuer: &Self) -> bool {
        self.raw_issuer == issuer.raw_subject
            && match (&self.authority_key_identifier, &issuer.key_identifier) {
                (Some(named), Some(own)) => named == own,
                _ => true,
            }
    }
}

/// The certificates of a PEM text, the server's first.
///
/// # Errors
/// [`Error::Chain`] if there is none, one cannot be read, or they are not in
/// the order in which each is issued by the next.
pub(super) fn parse(pem: &[u8], place: &str) -> Result<Vec<(CertificateDer<'static>, Facts)>> {
    let fault = |why: String| Error::Chain {
        place: place.to_owned(),
        why,
    };
    let mut chain: Vec<(CertificateDer<'static>, Facts)> = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| fault(format!("not PEM: {error}")))?;
        let number = chain.len() + 1;
        let facts = Facts::of(&certificate)
            .ok_or_else(|| fault(format!("certificate {number} is invalid")))?;
        if let Some((_, previous)) = chain.last()
            && !previous.is_issued_by(&facts)
        {
            return Err(fault(format!(
                "wrong order: certificate {number} ({}) is not the issuer of the one before it \
                 ({}); put the server's certificate first, each issuer after it",
                facts.subject, previous.subject
            )));
        }
        if chain.len() == MAX_CERTIFICATES {
            return Err(fault(format!("more than {MAX_CERTIFICATES} certificates")));
        }
        chain.push((certificate, facts));
    }
    if chain.is_empty() {
        return Err(fault(String::from("no CERTIFICATE block found")));
    }
    Ok(chain)
}

/// Joins chain and key for the TLS library, which checks that they belong together.
///
/// # Errors
/// [`Error::Chain`] or [`Error::Key`], naming the file.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key_pem: &[u8],
    chain_place: &str,
    key_place: &str,
) -> Result<Arc<CertifiedKey>> {
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| Error::Key {
        place: key_place.to_owned(),
        why: format!("no private key found: {error}"),
    })?;
    let fault = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => Error::Key {
            place: key_place.to_owned(),
            why: format!("key does not match the certificate in {chain_place}"),
        },
        other => Error::Key {
            place: key_place.to_owned(),
            why: other.to_string(),
        },
    };
    CertifiedKey::from_der(chain, key, &provider())
        .map(Arc::new)
        .map_err(fault)
}

/// Reads a PEM file, bounded.
///
/// # Errors
/// [`Error::File`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    let outcome = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_PEM_BYTES + 1).read_to_end(&mut text));
    match outcome {
        Ok(_) if text.len() as u64 > MAX_PEM_BYTES => Err(Error::Chain {
            place: path.display().to_string(),
            why: String::from("larger than 256 KiB"),
        }),
        Ok(_) => Ok(text),
        Err(source) => Err(Error::File {
            path: path.to_owned(),
            source,
        }),
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                return Some(IpAddr::from(v4).to_string());
            }
            <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|v6| IpAddr::from(v6).to_string())
        }
        _ => None,
    }
}
