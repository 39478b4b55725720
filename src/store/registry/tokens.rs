//! Bearer tokens: `eg1_<id>_<secret>`. Only the secret's digest is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::device::ModelCode;
use crate::digest::Sha256;

const PREFIX: &str = "eg1_";
const ID_LENGTH: usize = 8;
const SECRET_LENGTH: usize = 32;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Role of a token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Uploads firmware.
    Pipeline,
    /// Reads and changes everything, except tokens and TLS.
    Technician,
    /// Reads.
    Viewer,
    /// Identifies devices of a model that have no token of their own.
    Fleet,
}

impl Role {
    /// The word on the command line and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Technician => "technician",
            Self::Viewer => "viewer",
            Self::Fleet => "fleet",
        }
    }
}

/// What is kept of a token.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Credential {
    /// May appear in logs.
    pub id: String,
    /// SHA-256 of the secret, in hex.
    pub sha256: String,
    pub created_at: String,
    #[serde(default)]
    pub first_used_at: Option<String>,
}

/// A token for CI, a person, or a fleet.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct NamedToken {
    pub role: Role,
    /// The only model it is for.
    #[serde(default)]
    pub model: Option<ModelCode>,
    /// ISO 8601, UTC.
    #[serde(default)]
    pub expires_at: Option<String>,
    #[serde(flatten)]
    pub credential: Credential,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `tokens.json`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Tokens {
    pub schema: u32,
    pub tokens: BTreeMap<String, NamedToken>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Tokens {
    /// The token with this id, and its name.
    pub fn by_id(&self, id: &str) -> Option<(&str, &NamedToken)> {
        self.tokens
            .iter()
            .find(|(_, token)| token.credential.id == id)
            .map(|(name, token)| (name.as_str(), token))
    }
}

impl Credential {
    /// The credential of a token that was made elsewhere, from its id and the digest of its
    /// secret; `None` if they do not have the form of such.
    pub fn of_parts(id: &str, sha256: &str, now: &str) -> Option<Self> {
        let is_id = id.len() == ID_LENGTH && id.bytes().all(|b| b.is_ascii_alphanumeric());
        let digest: Sha256 = sha256.parse().ok().filter(|_| is_id)?;
        Some(Self {
            id: id.to_owned(),
            sha256: digest.to_string(),
            created_at: now.to_owned(),
            first_used_at: None,
        })
    }
}

/// A token as its bearer shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Presented<'a> {
    pub id: &'a str,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// Takes `eg1_<8>_<32>` apart.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
        (id.len() == ID_LENGTH && secret.len() == SECRET_LENGTH && plain(id) && plain(secret))
            .then_some(Self { id, secret })
    }

    /// Whether this is the token that `credential` was kept of; takes the same
    /// time whatever the answer.
    pub fn matches(&self, credential: &Credential) -> bool {
        let digest = Sha256::of(self.secret.as_bytes()).to_string();
        digest.as_bytes().ct_eq(credential.sha256.as_bytes()).into()
    }
}

/// A new token: the text, shown once, and what is kept.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate(now: &str) -> Result<(String, Credential), getrandom::Error> {
    let mut random = [0u8; ID_LENGTH + SECRET_LENGTH];
    getrandom::fill(&mut random)?;
    let text: String = random
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
        .map(|letter| char::from(*letter))
        .collect();
    let (id, secret) = text.split_at(ID_LENGTH);
    let credential = Credential {
        id: id.to_owned(),
        sha256: Sha256::of(secret.as_bytes()).to_string(),
        created_at: now.to_owned(),
        first_used_at: None,
    };
    Ok((format!("{PREFIX}{id}_{secret}"), credential))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_its_credential_and_no_other() {
        let (text, credential) = generate("t").unwrap();
        let (_, other) = generate("t").unwrap();
        let presented = Presented::parse(&text).unwrap();
        assert_eq!(presented.id, credential.id);
        assert!(presented.matches(&credential));
        assert!(!presented.matches(&other));
        assert!(!credential.sha256.contains(presented.secret));
    }

    #[test]
    fn what_is_no_token_is_told() {
        let (text, _) = generate("t").unwrap();
        for bad in [
            "",
            "eg1_",
            "eg1_abc_def",
            &text[..44],
            &format!("{text}x"),
            &text.replace("eg1", "eg2"),
        ] {
            assert_eq!(Presented::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_kept_token_survives_its_file() {
        let (_, credential) = generate("t").unwrap();
        let mut tokens = Tokens::default();
        tokens.tokens.insert(
            String::from("ci"),
            NamedToken {
                role: Role::Pipeline,
                model: None,
                expires_at: None,
                credential,
                extra: Map::new(),
            },
        );
        let text = serde_json::to_string(&tokens).unwrap();
        assert_eq!(serde_json::from_str::<Tokens>(&text).unwrap(), tokens);
    }
}
