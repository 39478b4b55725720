//! Tokens of CI, people and whole fleets.

use serde::{Deserialize, Serialize};

use super::OpenEnum;
use crate::device::ModelCode;
use crate::store::registry::Role;
use crate::store::registry::tokens::NamedToken;

/// All tokens except those of devices.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    pub tokens: Vec<Token>,
    /// Always `null`: the list is complete.
    pub next_cursor: Option<String>,
}

/// A token, without its secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Token {
    pub name: String,
    /// Eight characters, used in the journal.
    pub id: String,
    pub role: OpenEnum<Role>,
    /// The model it is limited to; `null`: all.
    pub model: Option<String>,
    pub created_at: String,
    /// `null`: never.
    pub expires_at: Option<String>,
}

impl Token {
    /// A token of the register as answers show it.
    pub fn of(name: &str, token: &NamedToken) -> Self {
        Self {
            name: name.to_owned(),
            id: token.credential.id.clone(),
            role: token.role.into(),
            model: token.model.as_ref().map(ToString::to_string),
            created_at: token.credential.created_at.clone(),
            expires_at: token.expires_at.clone(),
        }
    }
}

/// A token to create.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// 1 to 64 of `A-Z a-z 0-9 . _ @ -`.
    pub name: String,
    pub role: Role,
    /// The model it is limited to; required for a fleet token.
    #[serde(default)]
    pub model: Option<ModelCode>,
    /// Such as `365d`, `12h`, or a time in RFC 3339; `null` or absent: never.
    #[serde(default)]
    pub expires: Option<String>,
}

/// A created token.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Made {
    pub name: String,
    pub role: OpenEnum<Role>,
    pub model: Option<String>,
    pub expires_at: Option<String>,
    /// Only shown here.
    pub token: String,
}
