//! Checks `sdkconfig`: coredumps disabled, secrets included.

use std::collections::BTreeSet;

use super::Warning;

/// Looks at all `KEY=value` lines; what is no UTF-8 is read as far as it goes.
pub(super) fn warnings(sdkconfig: &[u8]) -> Vec<Warning> {
    let text = String::from_utf8_lossy(sdkconfig);
    let settings = || {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
    };
    let mut warnings = Vec::new();
    if !settings().any(|(key, value)| value == "y" && COREDUMPS_ON.contains(&key)) {
        warnings.push(Warning::CoredumpsOff);
    }
    let secrets: BTreeSet<&str> = settings()
        .filter(|(key, value)| holds_secret(key, value))
        .map(|(key, _)| key)
        .collect();
    if !secrets.is_empty() {
        let known = secrets.iter().take(MAX_NAMED).copied();
        warnings.push(Warning::Secrets(known.map(shown).collect()));
    }
    warnings
}

/// Whether a text setting is named like a secret, or is a URL with a password in it.
fn holds_secret(key: &str, value: &str) -> bool {
    let quoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let Some(text) = quoted.filter(|text| !text.is_empty()) else {
        return false;
    };
    let key = key.to_ascii_uppercase();
    let named = SECRET_NAMES.iter().any(|name| key.contains(name));
    let is_path = [".pem", ".bin", ".key", ".csv"]
        .iter()
        .any(|ending| text.ends_with(ending));
    let credentials = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .and_then(|authority| authority.rsplit_once('@'))
        .is_some_and(|(user, _)| user.contains(':'));
    (named && !is_path) || credentials
}

fn shown(key: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    key.chars().filter(plain).take(80).collect()
}

/// Since ESP-IDF 4.0, and before.
const COREDUMPS_ON: [&str; 6] = [
    "CONFIG_ESP_COREDUMP_ENABLE",
    "CONFIG_ESP_COREDUMP_ENABLE_TO_FLASH",
    "CONFIG_ESP_COREDUMP_ENABLE_TO_UART",
    "CONFIG_ESP32_ENABLE_COREDUMP",
    "CONFIG_ESP32_ENABLE_COREDUMP_TO_FLASH",
    "CONFIG_ESP32_ENABLE_COREDUMP_TO_UART",
];

const SECRET_NAMES: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PASSKEY",
    "PSK",
    "TOKEN",
    "SECRET",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
];

/// Maximum number of names listed.
const MAX_NAMED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coredumps_are_on_by_any_of_their_settings() {
        for key in COREDUMPS_ON {
            assert_eq!(warnings(format!("{key}=y\n").as_bytes()), [], "{key}");
        }
        for off in [
            "",
            "CONFIG_ESP_COREDUMP_ENABLE_TO_NONE=y",
            "# CONFIG_ESP_COREDUMP_ENABLE=y",
            "CONFIG_ESP_COREDUMP_ENABLE=n",
        ] {
            assert_eq!(warnings(off.as_bytes()), [Warning::CoredumpsOff], "{off}");
        }
    }

    #[test]
    fn secrets_are_named_without_their_values() {
        let sdkconfig = b"CONFIG_ESP_COREDUMP_ENABLE=y\r\n\
            CONFIG_WIFI_PASSWORD=\"hunter2\"\r\n\
            CONFIG_CLOUD_API_KEY=\"k\"\r\n\
            CONFIG_BROKER_URL=\"mqtts://user:pw@broker.example/x\"\r\n";
        let keys = [
            "CONFIG_BROKER_URL",
            "CONFIG_CLOUD_API_KEY",
            "CONFIG_WIFI_PASSWORD",
        ];
        let found = warnings(sdkconfig);
        assert_eq!(found, [Warning::Secrets(keys.map(str::to_owned).into())]);
        assert!(!format!("{}", found[0]).contains("hunter2"));
    }

    #[test]
    fn empty_values_switches_numbers_and_paths_are_no_secrets() {
        for line in [
            "CONFIG_WIFI_PASSWORD=\"\"",
            "CONFIG_MBEDTLS_PSK_MODES=y",
            "CONFIG_TOKEN_LENGTH=32",
            "# CONFIG_WIFI_PASSWORD=\"x\"",
            "CONFIG_PRIVATE_KEY_FILE=\"device.pem\"",
            "CONFIG_URL=\"https://example.com/a:b@c\"",
        ] {
            let text = format!("CONFIG_ESP_COREDUMP_ENABLE=y\n{line}\n");
            assert_eq!(warnings(text.as_bytes()), [], "{line}");
        }
    }
}
