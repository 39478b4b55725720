//! `espgate config`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::*;

#[test]
fn a_configuration_whose_name_is_no_text_is_checked_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(OsStr::from_bytes(b"x\xff.toml"));
    daemon::write(&path, b"[http\n");
    let mut check = daemon::binary();
    let output = check.args(["config", "check", "--json"]).arg(path).output();
    let output = output.unwrap();
    assert_eq!(status(&output), 1, "{}", errors(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["faults"][0]["line"], 1, "{told}");
}

#[test]
fn a_configuration_is_checked_with_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("espgate.toml");
    let name = path.to_str().unwrap();
    for (text, expected, fault) in [
        ("", 0, ""),
        (
            "[http]\n\nlistenn = 1\n",
            1,
            "line 3: http.listenn: unknown key",
        ),
        (
            "[firmware]\nkeep_versions = 0\n",
            1,
            "line 2: firmware.keep_versions: ",
        ),
        ("[http\n", 1, "line 1: "),
        (
            "[tls]\ncert = \"/dev/null\"\nkey = \"/nope/key.pem\"\n",
            1,
            "line 3: tls.key: cannot read /nope/key.pem",
        ),
    ] {
        daemon::write(&path, text.as_bytes());
        let output = espgate(&["config", "check", name]);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(status(&output), expected, "{text}: {shown}");
        assert!(shown.starts_with(&format!("{name}: {fault}")), "{shown}");
    }
    refused(
        &espgate(&["config", "check", "/nonexistent/espgate.toml"]),
        1,
    );
}

#[test]
fn the_printed_default_passes_its_own_check_and_is_what_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("espgate.toml");
    let default = espgate(&["config", "default"]);
    daemon::write(&path, &default.stdout);
    assert_eq!(
        status(&espgate(&["config", "check", path.to_str().unwrap()])),
        0
    );
    let shown = espgate(&["--config", path.to_str().unwrap(), "config", "show"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let loaded = espgate::config::parse(&shown).unwrap();
    assert_eq!(loaded.unknown, []);
    assert_eq!(loaded.config.http, espgate::config::Http::default());
}

#[test]
fn what_is_in_force_is_the_file_over_the_defaults_without_what_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("espgate.toml");
    let text = "[http]\nmax_connections = 3\nmax_connection = 4\n[typo]\nx = 1\n\
                [[serial.port]]\npath = \"/dev/x\"\n";
    daemon::write(&path, text.as_bytes());
    let shown = |more: &[&str]| {
        let arguments = [
            &["--config", path.to_str().unwrap(), "config", "show"],
            more,
        ]
        .concat();
        let output = espgate(&arguments);
        assert_eq!(status(&output), 0, "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let loaded = espgate::config::parse(&shown(&[])).unwrap();
    assert_eq!(loaded.unknown, []);
    let given = espgate::config::parse(text).unwrap().config;
    assert_eq!(loaded.config.http, given.http);
    assert_eq!(loaded.config.serial, given.serial);
    let shown: Value = serde_json::from_str(&shown(&["--json"])).unwrap();
    assert_eq!(shown["http"]["max_connections"], 3);
    assert_eq!(shown["coredumps"]["max_total"], "25%");
    assert_eq!(shown["typo"], Value::Null);
}
