//! Tokens of CI, people and fleets: create, revoke.

use serde_json::Map;
use time::{Duration, OffsetDateTime};

use super::{Error, Result, must_exist};
use crate::api::tokens::NewToken;
use crate::clock::{iso8601, parse, plausible, wall};
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::registry::tokens::{NamedToken, generate};
use crate::store::registry::{Registry, Role};

/// Maximum lifetime of a token.
const MAX_DAYS: i64 = 36500;

/// When the token that is asked for ends, if it does.
///
/// # Errors
/// [`Error::Invalid`] for invalid values.
fn checked(wanted: &NewToken, now: OffsetDateTime) -> Result<Option<String>> {
    check_name(&wanted.name)?;
    if wanted.role == Role::Fleet && wanted.model.is_none() {
        return Err(Error::Invalid(String::from(
            "Invalid model: a fleet token needs the model of its devices",
        )));
    }
    let expires = wanted.expires.as_deref();
    expires
        .map(|text| expiry(text, now).map(iso8601))
        .transpose()
}

/// Makes a token, which is on the disk then: what is kept of it, and its text.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Missing`] for the model, [`Error::Conflict`]
/// for a name that is taken, [`Error::Store`].
pub fn mint(
    registry: &Registry,
    wanted: &NewToken,
    actor: &Caller,
) -> Result<(NamedToken, String)> {
    let now = wall();
    let expires_at = checked(wanted, plausible())?;
    must_exist(&registry.models.read(), wanted.model.as_ref())?;
    let (text, credential) = generate(&iso8601(now)).map_err(Error::Random)?;
    let name = &wanted.name;
    let token = NamedToken {
        role: wanted.role,
        model: wanted.model.clone(),
        expires_at,
        credential,
        extra: Map::new(),
    };
    registry.tokens.change(|tokens| {
        tokens.schema = 1;
        if tokens.tokens.contains_key(name) {
            return Err(Error::Conflict(format!("Token {name} already exists")));
        }
        tokens.tokens.insert(name.clone(), token.clone());
        Ok(())
    })??;
    Event::TokenMade
        .entry()
        .maybe("MODEL_CODE", token.model.as_ref())
        .actor(actor)
        .say(format_args!(
            "{actor} created token {name} ({}) with role {}",
            token.credential.id,
            token.role.as_str()
        ));
    Ok((token, text))
}

/// Revokes a token.
///
/// # Errors
/// [`Error::Missing`], [`Error::Store`].
pub fn revoke(registry: &Registry, name: &str, actor: &Caller) -> Result<()> {
    let token = registry.tokens.change(|tokens| {
        let gone = tokens.tokens.remove(name);
        gone.ok_or_else(|| Error::Missing(format!("Token {name}")))
    })??;
    Event::TokenEnded.entry().actor(actor).say(format_args!(
        "{actor} revoked token {name} ({})",
        token.credential.id
    ));
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if matches!(name.len(), 1..=64) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::Invalid(String::from(
        "Invalid name: 1 to 64 of A-Z, a-z, 0-9 and ._@-",
    )))
}

/// When a token ends: `90m`, `12h`, `365d`, `4w` from now, or a moment.
fn expiry(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime> {
    let invalid = |why: &str| Error::Invalid(format!("Invalid expires: {why}"));
    let end = match parse(text) {
        Some(end) => end,
        None => {
            let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
            let number: i64 = number.parse().map_err(|_| {
                invalid("must be a duration (365d, 12h) or a time, as in 2027-01-31T00:00:00Z")
            })?;
            let seconds = match text.bytes().last() {
                Some(b'm') => 60,
                Some(b'h') => 3600,
                Some(b'd') => 86400,
                Some(b'w') => 7 * 86400,
                _ => return Err(invalid("unit must be m, h, d or w")),
            };
            let length = number
                .checked_mul(seconds)
                .filter(|seconds| (1..=MAX_DAYS * 86400).contains(seconds))
                .ok_or_else(|| invalid("must be in the future, at most 100 years"))?;
            now.saturating_add(Duration::seconds(length))
        }
    };
    if end <= now {
        return Err(invalid("time is in the past"));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_as_long_as_asked_for() {
        let now = parse("2026-01-01T00:00:00Z").unwrap();
        for (text, end) in [
            ("365d", Some("2027-01-01T00:00:00.000000Z")),
            ("90m", Some("2026-01-01T01:30:00.000000Z")),
            ("2w", Some("2026-01-15T00:00:00.000000Z")),
            (
                "2026-03-01T00:00:00+01:00",
                Some("2026-02-28T23:00:00.000000Z"),
            ),
            ("2025-01-01T00:00:00Z", None),
            ("0d", None),
            ("-1d", None),
            ("9223372036854775807w", None),
            ("d", None),
            ("", None),
            ("12", None),
            ("1ü", None),
        ] {
            let found = expiry(text, now).ok().map(iso8601);
            assert_eq!(found.as_deref(), end, "{text}");
        }
    }

    #[test]
    fn what_no_token_can_be_is_refused() {
        let now = parse("2026-01-01T00:00:00Z").unwrap();
        let check = |text: &str| {
            let wanted: NewToken = serde_json::from_str(text).unwrap();
            checked(&wanted, now)
        };
        for text in [
            r#"{"name":"","role":"viewer"}"#,
            r#"{"name":"a b","role":"viewer"}"#,
            r#"{"name":"field","role":"fleet"}"#,
            r#"{"name":"ci","role":"pipeline","expires":"0d"}"#,
        ] {
            assert!(matches!(check(text), Err(Error::Invalid(_))), "{text}");
        }
        assert_eq!(
            check(r#"{"name":"field","role":"fleet","model":"lamp"}"#).unwrap(),
            None
        );
    }
}
