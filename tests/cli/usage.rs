//! Exit statuses, and errors of one line.

use super::*;

#[test]
fn the_version_is_told() {
    let output = espgate(&["--version"]);
    assert_eq!(status(&output), 0);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("espgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_status_2_and_one_line() {
    for arguments in [
        &["nonsense"][..],
        &["models", "add"],
        &["models", "set", "x", "--activate", "sometimes"],
        &["devices", "add", "k1"],
        &["tokens", "add", "n", "--role", "king"],
        &["tokens", "add", "n", "--role", "fleet"],
        &["coredumps", "list", "--limit", "0"],
        &["crashes", "list", "--state", "foo"],
        &["coredumps", "redecode"],
        &["coredumps", "redecode", "x", "--all"],
        &["firmware", "delete", "m"],
        &["firmware", "delete", "m", "1.0", "--all"],
        &["ports", "release", "p", "--for", "1y"],
        &["status", "--nonsense"],
    ] {
        let line = refused(&espgate(arguments), 2);
        assert!(line.contains("--help"), "{line}");
    }
}

#[test]
fn a_daemon_that_is_not_there_is_status_3() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    for arguments in [
        &["status"][..],
        &["coredumps", "list"],
        &["coredumps", "show", "x"],
        &["firmware", "list"],
        &["models", "list"],
        &["devices", "token", "k"],
        &["tokens", "list"],
        &["ports", "list"],
        &["tls", "renew"],
        &["backup", "/nonexistent/file"],
    ] {
        let mut all = vec!["--socket", socket.to_str().unwrap()];
        all.extend_from_slice(arguments);
        let line = refused(&espgate(&all), 3);
        assert!(line.contains(socket.to_str().unwrap()), "{line}");
    }
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let daemon = Start::new("").start();
    let mut command = daemon::binary();
    command.arg("status");
    command.env("ESPGATE_SOCKET", "").env("ESPGATE_CONFIG", "");
    command.env("ESPGATE_DATA_DIR", daemon.data());
    let output = command.output().unwrap();
    assert_eq!(status(&output), 0, "{}", errors(&output));
    // a flag goes before the environment
    let other = command.args(["--socket", "/nowhere"]).output().unwrap();
    let line = refused(&other, 3);
    assert!(line.contains("/nowhere"), "{line}");
}
