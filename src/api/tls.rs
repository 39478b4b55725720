//! The server's certificate.

use serde::{Deserialize, Serialize};

use super::OpenEnum;

/// What is served.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Shown {
    pub source: OpenEnum<Source>,
    pub server: Certificate,
    /// The CA that devices have to trust; `null` if a foreign chain is served.
    pub ca: Option<Certificate>,
    /// Bytes that the server sends first in a TLS 1.2 handshake.
    pub flight_bytes: Option<usize>,
    /// Whether that fits one record of a device with a 4 KiB receive buffer.
    pub fits_4096: Option<bool>,
    /// Whether the certificate's dates cover the present moment.
    pub valid_now: Option<bool>,
}

/// Where the certificate that is served comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Made here, signed by the site's own CA.
    SiteCa,
    /// Made here, signed by the CA in the configuration.
    ConfiguredCa,
    /// Signed elsewhere and installed.
    Installed,
    /// From the files in the configuration.
    Configured,
}

/// A certificate in words.
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
    /// What devices may have trouble with, a sentence each.
    pub warnings: Vec<String>,
}
