//! The server's certificate.

use serde::{Deserialize, Serialize};

use super::OpenEnum;

/// The served certificate.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Shown {
    pub source: OpenEnum<Source>,
    pub server: Certificate,
    /// The CA that devices must trust; `null` for a certificate of another CA.
    pub ca: Option<Certificate>,
    /// Size of the server's first flight in a TLS 1.2 handshake.
    pub flight_bytes: Option<usize>,
    /// Whether the flight fits the 4 KiB receive buffer of small devices.
    pub fits_4096: Option<bool>,
    /// Whether the certificate is valid now.
    pub valid_now: Option<bool>,
}

/// Origin of the served certificate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Created by espgate, issued by the site CA.
    SiteCa,
    /// Created by espgate, issued by the configured CA.
    ConfiguredCa,
    /// Issued by another CA and installed.
    Installed,
    /// From the configured files.
    Configured,
}

/// A certificate's contents.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint_sha256: String,
}

/// A chain was installed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Installed {
    /// Possible problems for devices, a sentence each.
    pub warnings: Vec<String>,
}
