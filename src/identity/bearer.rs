//! Identifies the caller from a token or the control socket.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use time::OffsetDateTime;

use crate::clock::parse;
use crate::device::{DeviceKey, ModelCode};
use crate::store::registry::tokens::Presented;
use crate::store::registry::{Devices, Role, Tokens};

/// Who is asking.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Caller {
    /// No credential.
    Anonymous,
    /// A board with a token of its own.
    Device {
        key: DeviceKey,
        model: Option<ModelCode>,
        token_id: String,
        /// The token is used for the first time: the older one ends.
        first_use: bool,
    },
    /// A token of CI, a person or a fleet.
    Token {
        name: String,
        token_id: String,
        role: Role,
        model: Option<ModelCode>,
    },
    /// A user at the control socket.
    Local {
        uid: u32,
        /// Root, or the daemon's own user.
        privileged: bool,
    },
}

impl fmt::Display for Caller {
    /// What the journal calls the caller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Device { key, .. } => write!(f, "device {key}"),
            Self::Token { name, token_id, .. } => write!(f, "token {name} ({token_id})"),
            Self::Local { uid, .. } => write!(f, "uid {uid}"),
        }
    }
}

/// Why authentication failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthError {
    #[error("No valid token provided")]
    Missing,
    #[error("Malformed token")]
    Malformed,
    #[error("Unknown or revoked token")]
    Unknown,
    #[error("Token has expired")]
    Expired,
}

/// The id of the token in an `Authorization` header's value, known or not: it
/// may be logged.
pub fn presented_id(authorization: &str) -> Option<String> {
    let shown = Shown::read(authorization).ok()?;
    Presented::parse(&shown.token).map(|presented| presented.id.to_owned())
}

/// The user name of an `Authorization` header of the scheme Basic.
pub fn presented_user(authorization: &str) -> Option<String> {
    Shown::read(authorization).ok()?.user
}

/// What an `Authorization` header shows.
struct Shown {
    /// Of the scheme Basic: clients that know no Bearer give a device's key here, and its
    /// token as the password.
    user: Option<String>,
    token: String,
}

impl Shown {
    fn read(authorization: &str) -> Result<Self, AuthError> {
        let (scheme, value) = authorization.split_once(' ').ok_or(AuthError::Missing)?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            let (user, token) = (None, value.to_owned());
            return Ok(Self { user, token });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(AuthError::Missing);
        }
        let bytes = BASE64.decode(value).map_err(|_| AuthError::Missing)?;
        let text = String::from_utf8(bytes).map_err(|_| AuthError::Missing)?;
        let (user, token) = text.split_once(':').ok_or(AuthError::Missing)?;
        Ok(Self {
            user: Some(user.to_ascii_lowercase()),
            token: token.to_owned(),
        })
    }
}

/// Tells who shows an `Authorization` header's value, Bearer or Basic; no header is
/// [`Caller::Anonymous`].
///
/// # Errors
/// [`AuthError`] if there is a header that opens nothing.
pub fn identify(
    authorization: Option<&str>,
    devices: &Devices,
    tokens: &Tokens,
    now: OffsetDateTime,
) -> Result<Caller, AuthError> {
    let Some(value) = authorization else {
        return Ok(Caller::Anonymous);
    };
    let shown = Shown::read(value)?;
    let presented = Presented::parse(&shown.token).ok_or(AuthError::Malformed)?;
    if let Some((key, device, credential)) = devices.by_token(presented.id) {
        let is_other = |user: &String| !user.is_empty() && user != key.as_str();
        if !presented.matches(credential) || shown.user.as_ref().is_some_and(is_other) {
            return Err(AuthError::Unknown);
        }
        return Ok(Caller::Device {
            key: key.clone(),
            model: device.model.clone(),
            token_id: presented.id.to_owned(),
            first_use: credential.first_used_at.is_none(),
        });
    }
    let (name, token) = tokens.by_id(presented.id).ok_or(AuthError::Unknown)?;
    if !presented.matches(&token.credential) {
        return Err(AuthError::Unknown);
    }
    if let Some(expires) = &token.expires_at
        && parse(expires).is_none_or(|expires| expires <= now)
    {
        return Err(AuthError::Expired);
    }
    Ok(Caller::Token {
        name: name.to_owned(),
        token_id: presented.id.to_owned(),
        role: token.role,
        model: token.model.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::store::registry::tokens::{NamedToken, generate};

    fn named(role: Role, expires_at: Option<&str>) -> (String, NamedToken) {
        let (text, credential) = generate("t").unwrap();
        let token = NamedToken {
            role,
            model: None,
            expires_at: expires_at.map(str::to_owned),
            credential,
            extra: Map::new(),
        };
        (format!("Bearer {text}"), token)
    }

    #[test]
    fn a_bearer_is_told_by_the_token() {
        let now = parse("2026-06-01T00:00:00Z").unwrap();
        let mut tokens = Tokens::default();
        let mut devices = Devices::default();
        let (ci, token) = named(Role::Pipeline, Some("2026-07-01T00:00:00Z"));
        tokens.tokens.insert(String::from("ci"), token);
        let (old, token) = named(Role::Viewer, Some("2026-05-01T00:00:00Z"));
        tokens.tokens.insert(String::from("old"), token);
        let (board, credential) = generate("t").unwrap();
        let key: DeviceKey = "k1".parse().unwrap();
        devices.ensure(&key, "t").tokens.push(credential);

        let ask = |value: Option<&str>| identify(value, &devices, &tokens, now);
        assert_eq!(ask(None), Ok(Caller::Anonymous));
        assert!(matches!(
            ask(Some(&ci)),
            Ok(Caller::Token {
                role: Role::Pipeline,
                ..
            })
        ));
        assert_eq!(ask(Some(&old)), Err(AuthError::Expired));
        let board = format!("bearer {board}");
        assert!(
            matches!(ask(Some(&board)), Ok(Caller::Device { key: k, first_use: true, .. }) if k == key)
        );
        let (stranger, _) = generate("t").unwrap();
        let wrong_secret = format!("{}{}", &ci[..19], &stranger[12..]);
        for (value, refused) in [
            ("Bearer", AuthError::Missing),
            ("Basic abc", AuthError::Missing),
            ("Bearer abc", AuthError::Malformed),
            (&format!("Bearer {stranger}"), AuthError::Unknown),
            (&wrong_secret, AuthError::Unknown),
        ] {
            assert_eq!(ask(Some(value)), Err(refused), "{value}");
        }
    }
}
