//! What a client shows to say who it is.

use espgate::clock::parse;
use espgate::device::DeviceKey;
use espgate::digest::Sha256;
use espgate::identity::{Caller, identify, presented_id, presented_user};
use espgate::store::registry::tokens::{NamedToken, Presented};
use espgate::store::registry::{Credential, Devices, Role, Tokens};

/// Of the board `k1`, and of the token `anna`.
const BOARD: &str = "eg1_aaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const ANNA: &str = "eg1_cccccccc_dddddddddddddddddddddddddddddddd";
const EXPIRED: &str = "eg1_eeeeeeee_ffffffffffffffffffffffffffffffff";

/// An `Authorization` header's value.
pub fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(presented) = Presented::parse(&text) {
        assert!(text.starts_with(&format!("eg1_{}_", presented.id)));
        assert_eq!(text.len(), BOARD.len());
        assert!(text.is_ascii());
    }
    let (devices, tokens) = registers();
    let now = parse("2026-06-01T00:00:00Z").expect("a time");
    let who = identify(Some(&text), &devices, &tokens, now);
    let id = presented_id(&text);
    assert!(
        id.as_ref()
            .is_none_or(|id| id.len() == 8 && id.bytes().all(|b| b.is_ascii_alphanumeric()))
    );
    assert_ne!(who, Ok(Caller::Anonymous));
    match who {
        Ok(Caller::Device { .. }) => opened_by(&text, BOARD),
        Ok(Caller::Token { .. }) => opened_by(&text, ANNA),
        Ok(_) => panic!("{text:?} opens what no header opens"),
        Err(_) => {}
    }
}

/// The header holds this very token, in one of the two schemes.
fn opened_by(text: &str, token: &str) {
    let (scheme, value) = text.split_once(' ').expect("a scheme");
    match presented_user(text) {
        None => {
            assert!(scheme.eq_ignore_ascii_case("bearer"));
            assert_eq!(value.trim(), token);
        }
        Some(user) => {
            assert!(scheme.eq_ignore_ascii_case("basic"));
            assert!(user.is_empty() || user == "k1" || token == ANNA, "{user:?}");
        }
    }
    assert_eq!(presented_id(text).as_deref(), token.get(4..12));
}

fn registers() -> (Devices, Tokens) {
    let mut devices = Devices::default();
    let key: DeviceKey = "k1".parse().expect("a device key");
    devices.ensure(&key, "t").tokens.push(credential(BOARD));
    let mut tokens = Tokens::default();
    for (name, text, expires_at) in [
        ("anna", ANNA, None),
        ("old", EXPIRED, Some(String::from("2026-05-01T00:00:00Z"))),
    ] {
        let token = NamedToken {
            role: Role::Viewer,
            model: None,
            expires_at,
            credential: credential(text),
            extra: serde_json::Map::new(),
        };
        tokens.tokens.insert(name.to_owned(), token);
    }
    (devices, tokens)
}

fn credential(text: &str) -> Credential {
    let (id, secret) = (text.get(4..12), text.get(13..));
    Credential {
        id: id.unwrap_or_default().to_owned(),
        sha256: Sha256::of(secret.unwrap_or_default().as_bytes()).to_string(),
        created_at: String::from("t"),
        first_used_at: None,
    }
}
