//! Checks names for the certificate.

use std::net::IpAddr;

/// Whether `name` is an address or a DNS name, which may begin with `*.`.
pub fn is_certificate_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || is_dns_name(name.strip_prefix("*.").unwrap_or(name))
}

/// Whether `name` is a DNS name without a wildcard.
pub fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}
