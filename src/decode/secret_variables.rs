//! Values that should not travel with a crash report.

use super::report::Variable;

/// Whether something called `name` may be a password, key or token.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|word| name.contains(word))
}

/// Takes away what a variable is worth.
pub(super) fn mask(variable: &mut Variable) {
    for worth in [
        &mut variable.value,
        &mut variable.text,
        &mut variable.symbol,
    ] {
        if worth.is_some() {
            *worth = Some(MASKED.to_owned());
        }
    }
}

/// Whether [`mask`] was here.
pub(super) fn is_masked(variable: &Variable) -> bool {
    variable.value.as_deref() == Some(MASKED)
}

const SECRET: [&str; 6] = ["pass", "pwd", "psk", "secret", "token", "key"];
/// What is shown instead.
const MASKED: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_recognised_in_any_spelling() {
        for name in [
            "password",
            "wifi_psk",
            "authToken",
            "API_KEY",
            "clientSecret",
            "pwd2",
        ] {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["details", "len", "path", "ssid"] {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn a_masked_value_tells_only_that_there_is_one() {
        let mut variable = Variable {
            name: "psk".to_owned(),
            value: Some("0x3ffb0000".to_owned()),
            text: Some("hunter2".to_owned()),
            symbol: None,
        };
        mask(&mut variable);
        assert_eq!(variable.value.as_deref(), Some("***"));
        assert_eq!(variable.text.as_deref(), Some("***"));
        assert_eq!(variable.symbol, None);
    }
}
