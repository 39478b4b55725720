//! Whether devices accept the server certificate, and when it expires.

use time::OffsetDateTime;

use super::finding::Finding;
use crate::api::tls::{Shown, Source};
use crate::cli::args::Global;
use crate::cli::client::Client;
use crate::cli::output::bytes;
use crate::cli::tls;
use crate::http::tls::COMMON_NAME;

/// Every board has to get firmware with another CA before the old one ends.
const CA_DAYS_AHEAD: i64 = 365;
/// A certificate of one's own has to be renewed by hand in time.
const DAYS_AHEAD: i64 = 30;

pub(super) fn findings(global: &Global, client: Option<&Client>) -> Vec<Finding> {
    let served = match client {
        Some(client) => client
            .get("/api/tls")
            .send()
            .and_then(|answer| answer.read()),
        None => tls::offline_certificates(global),
    };
    // No certificate yet, or not ours to read: the daemon's state tells that.
    served
        .map(|served| check(&served, crate::clock::plausible()))
        .unwrap_or_default()
}

fn check(served: &Shown, now: OffsetDateTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = served.source == Source::Installed || served.source == Source::Configured;
    let renew = match own {
        true => "install a new one with `espgate tls install CHAIN`",
        false => "renew it with `espgate tls renew`",
    };
    let end = crate::clock::parse(&served.server.not_after);
    if served.valid_now == Some(false) {
        let what = "server certificate is not valid now";
        findings.push(Finding::error(
            "tls",
            what,
            &format!("check the clock; {renew}"),
        ));
    } else if let Some(end) = end.filter(|end| (*end - now).whole_days() < DAYS_AHEAD) {
        let what = format!("server certificate expires on {}", end.date());
        findings.push(Finding::warning("tls", what, renew));
    }
    let ca = served.ca.as_ref();
    let ca_end = ca.and_then(|ca| crate::clock::parse(&ca.not_after));
    if let Some(end) = ca_end.filter(|end| (*end - now).whole_days() < CA_DAYS_AHEAD) {
        let what = format!("site CA expires on {}", end.date());
        let advice =
            "build firmware with the old CA and a new one, and update every board before that";
        findings.push(Finding::warning("tls", what, advice));
    }
    let mut names = served.server.names.iter();
    if !names.any(|name| name == COMMON_NAME) {
        let what = format!("server certificate lacks the name {COMMON_NAME}");
        let advice =
            "firmware that expects this name rejects it: add it to the certificate request";
        findings.push(Finding::warning("tls", what, advice));
    }
    if served.fits_4096 == Some(false) {
        let what = format!(
            "TLS handshake sends {} at once",
            bytes(served.flight_bytes.unwrap_or(0) as u64)
        );
        let advice =
            "devices with a 4 KiB receive buffer fail: use an ECDSA chain without the root";
        findings.push(Finding::warning("tls", what, advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tls::Certificate;

    #[test]
    fn a_certificate_that_devices_refuse_is_found() {
        let now = crate::clock::parse("2026-01-01T00:00:00Z").unwrap();
        let shown = |end: &str, name: &str, fits: bool| Shown {
            source: Source::Installed.into(),
            valid_now: Some(end > "2026"),
            fits_4096: Some(fits),
            server: Certificate {
                not_after: end.to_owned(),
                names: vec![name.to_owned()],
                ..Certificate::default()
            },
            ..Shown::default()
        };
        let count = |shown: &Shown| check(shown, now).len();
        assert_eq!(count(&shown("2027-01-01T00:00:00Z", COMMON_NAME, true)), 0);
        assert_eq!(count(&shown("2026-01-20T00:00:00Z", COMMON_NAME, true)), 1);
        assert_eq!(count(&shown("2025-01-20T00:00:00Z", COMMON_NAME, true)), 1);
        assert_eq!(count(&shown("2027-01-01T00:00:00Z", "x", false)), 2);
        let mut old_ca = shown("2027-01-01T00:00:00Z", COMMON_NAME, true);
        old_ca.ca = Some(Certificate {
            not_after: String::from("2026-08-01T00:00:00Z"),
            ..Certificate::default()
        });
        assert_eq!(count(&old_ca), 1);
    }
}
