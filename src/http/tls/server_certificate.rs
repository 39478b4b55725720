//! The server certificate: when it has to be renewed, and how.

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use time::{Duration, OffsetDateTime};

use super::chain::Facts;
use super::names::{self, COMMON_NAME};
use super::site_ca::Authority;
use super::{Error, Result};

/// Longest validity that common TLS clients accept of a server's certificate.
const LIFETIME: Duration = Duration::days(825);
/// Renewed this long before it expires: an outage of the gateway's clock or
/// power for some weeks does not leave devices without a valid certificate.
const RENEW_BEFORE: Duration = Duration::days(30);
/// Clients whose clocks are behind the gateway's.
const BACKDATED: Duration = Duration::days(1);

/// Why a certificate is renewed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    Absent,
    Unreadable,
    NotValidNow,
    EndsSoon,
    OtherIssuer,
    NamesChanged,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "first start",
            Self::Unreadable => "existing certificate unreadable",
            Self::NotValidNow => "existing certificate not valid at this date",
            Self::EndsSoon => "existing certificate expires within 30 days",
            Self::OtherIssuer => "CA changed",
            Self::NamesChanged => "names changed",
        })
    }
}

/// Whether the certificate of these facts has to be replaced, and why.
pub(super) fn why_anew(
    facts: &Facts,
    authority: &Facts,
    wanted: &[String],
    now: OffsetDateTime,
) -> Option<Reason> {
    let now = believable(now);
    if !facts.is_issued_by(authority) {
        Some(Reason::OtherIssuer)
    } else if now < facts.not_before || now >= facts.not_after {
        Some(Reason::NotValidNow)
    } else if now >= facts.not_after - RENEW_BEFORE && facts.not_after < authority.not_after {
        Some(Reason::EndsSoon)
    } else if names::differ(&facts.names, wanted) {
        Some(Reason::NamesChanged)
    } else {
        None
    }
}

/// A server certificate as PEM, signed by `authority` for `key`.
///
/// # Errors
/// [`Error::Make`].
pub(super) fn make(
    authority: &Authority,
    key: &KeyPair,
    names: &[String],
    now: OffsetDateTime,
) -> Result<String> {
    let mut params = params(names)?;
    params.not_before = (believable(now) - BACKDATED)
        .max(authority.facts.not_before)
        .replace_nanosecond(0)
        .unwrap_or(now);
    params.not_after =
        (params.not_before + LIFETIME - Duration::seconds(1)).min(authority.facts.not_after);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params
        .signed_by(key, &authority.issuer)
        .map_err(Error::Make)?
        .pem())
}

/// A request (PKCS#10, PEM) to another CA for the same key and names.
///
/// # Errors
/// [`Error::Make`].
pub(super) fn request(key: &KeyPair, names: &[String]) -> Result<String> {
    params(names)?
        .serialize_request(key)
        .and_then(|request| request.pem())
        .map_err(Error::Make)
}

fn params(names: &[String]) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names.to_vec()).map_err(Error::Make)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, COMMON_NAME);
    Ok(params)
}

/// The wall clock as far as it can be true. A board without a battery wakes up
/// in 1970: a certificate of that day would be invalid the moment time is
/// synced, so this program's own age is the earliest "now".
fn believable(now: OffsetDateTime) -> OffsetDateTime {
    now.clamp(date_time_ymd(2026, 1, 1), date_time_ymd(2067, 1, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(now: OffsetDateTime) -> (Facts, Facts) {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::of_site(folder.path()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = [COMMON_NAME.to_owned(), String::from("10.0.0.1")];
        let pem = make(&authority, &key, &names, now).unwrap();
        let chain = super::super::chain::parse(pem.as_bytes(), "leaf").unwrap();
        (chain[0].1.clone(), authority.facts)
    }

    fn day(year: i32, month: u8, day: u8) -> OffsetDateTime {
        date_time_ymd(year, month, day)
    }

    #[test]
    fn a_certificate_is_replaced_when_it_is_not_valid_ends_soon_or_has_other_names() {
        let (leaf, authority) = made(day(2026, 7, 1));
        let same = leaf.names.clone();
        let more = [leaf.names.clone(), vec![String::from("gate")]].concat();
        let end = leaf.not_after;
        for (names, now, expected) in [
            (&same, day(2026, 7, 1), None),
            (&same, day(1970, 1, 1), Some(Reason::NotValidNow)),
            (&same, end - Duration::days(31), None),
            (&same, end - Duration::days(29), Some(Reason::EndsSoon)),
            (&same, end, Some(Reason::NotValidNow)),
            (&more, day(2026, 7, 1), Some(Reason::NamesChanged)),
        ] {
            assert_eq!(why_anew(&leaf, &authority, names, now), expected, "{now}");
        }
        let (_, other) = made(day(2026, 7, 1));
        assert_eq!(
            why_anew(&leaf, &other, &same, day(2026, 7, 1)),
            Some(Reason::OtherIssuer)
        );
    }

    #[test]
    fn whatever_the_clock_says_a_new_certificate_is_kept_and_lasts_at_most_825_days() {
        for year in [1970, 2024, 2026, 2031, 2066, 2106] {
            let now = day(year, 6, 1);
            let (leaf, authority) = made(now);
            assert_eq!(
                why_anew(&leaf, &authority, &leaf.names, now),
                None,
                "{year}"
            );
            assert!(leaf.not_after - leaf.not_before <= LIFETIME, "{year}");
            assert!(leaf.not_after <= authority.not_after, "{year}");
        }
        let (leaf, _) = made(day(1970, 1, 1));
        assert!(leaf.not_before <= day(2026, 1, 1) && leaf.not_after > day(2028, 1, 1));
    }
}
