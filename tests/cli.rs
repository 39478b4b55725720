//! What the commands promise: exit statuses, one line per error, tables of 80
//! columns, and a gateway managed from end to end over the control socket.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "common/daemon.rs"]
mod daemon;
#[path = "common/dumps.rs"]
mod dumps;
#[path = "common/firmware.rs"]
mod firmware;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use daemon::{Daemon, Start};
use serde_json::Value;

const OPEN: &str = "[auth]\ndevices = \"open\"\n";

/// The binary with a clean environment.
fn espgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_espgate"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap()
}

/// The binary, told of a daemon.
fn ask(daemon: &Daemon, arguments: &[&str]) -> Output {
    let data = daemon.data();
    let mut all = vec!["--data-dir", data.to_str().unwrap()];
    all.extend_from_slice(arguments);
    espgate(&all)
}

/// What a command that has to succeed prints.
fn done(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = ask(daemon, arguments);
    assert_eq!(status(&output), 0, "{arguments:?}: {}", errors(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn json(daemon: &Daemon, arguments: &[&str]) -> Value {
    let text = done(daemon, arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// The one line on stderr of a command that has to fail with `expected`.
fn refused(output: &Output, expected: i32) -> String {
    let text = errors(output);
    assert_eq!(status(output), expected, "{text}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("espgate: "), "{text}");
    text
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Posts a dump as a device does; its id.
fn post_dump(daemon: &Daemon, device: &str, version: &str, body: &[u8]) -> String {
    let head =
        format!("POST /api/iot/coredump?chip=esp32&firmware_version={version}&device_key={device}");
    let answer = daemon.control(&head, body);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["coredump_id"].as_str().unwrap().to_owned()
}

#[test]
fn every_command_has_help_that_fits_80_columns() {
    fn walk(command: &clap::Command, path: &[String], seen: &mut usize) {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let output = espgate(&arguments);
        assert_eq!(status(&output), 0, "{path:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Usage: "), "{path:?}: {text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{path:?}: {line}");
        }
        *seen += 1;
        for inner in command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let mut path = path.to_vec();
            path.push(inner.get_name().to_owned());
            walk(inner, &path, seen);
        }
    }
    let mut seen = 0;
    walk(&espgate::cli::command(), &[], &mut seen);
    assert!(seen > 50, "{seen}");
}

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
        &["coredumps", "redecode"],
        &["coredumps", "redecode", "x", "--all"],
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
fn a_configuration_is_checked_with_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("espgate.toml");
    let name = path.to_str().unwrap();
    for (text, expected, fault) in [
        ("", 0, "no faults"),
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
fn models_devices_and_tokens_are_managed_from_end_to_end() {
    let daemon = Start::new("").start();
    done(&daemon, &["models", "add", "lamp"]);
    let again = refused(&ask(&daemon, &["models", "add", "lamp"]), 1);
    assert!(again.contains("exists already"), "{again}");
    let unknown = refused(&ask(&daemon, &["models", "hold", "nope"]), 1);
    assert!(
        unknown.contains("DeviceModel nope was not found"),
        "{unknown}"
    );
    done(&daemon, &["models", "set", "lamp", "--activate", "manual"]);
    done(&daemon, &["models", "hold", "lamp"]);
    let models = json(&daemon, &["models", "list", "--json"]);
    assert_eq!(models["models"][0]["activate"], "manual");
    assert_eq!(models["models"][0]["held"], true);
    assert!(models["next_cursor"].is_null());

    let arguments = [
        "devices",
        "add",
        "Kitchen3",
        "--model",
        "lamp",
        "--mac",
        "AA:BB:CC:00:11:22",
    ];
    let added = json(&daemon, &[&arguments[..], &["--json"]].concat());
    assert_eq!(added["device_key"], "kitchen3");
    assert_eq!(added["model"], "lamp");
    let token = added["token"].as_str().unwrap();
    assert!(token.starts_with("eg1_"), "{token}");
    let other = refused(
        &ask(&daemon, &["devices", "add", "k2", "--model", "nope"]),
        1,
    );
    assert!(other.contains("DeviceModel nope was not found"), "{other}");
    done(&daemon, &["devices", "set", "kitchen3", "--name", "Küche"]);
    refused(
        &ask(&daemon, &["devices", "set", "kitchen4", "--name", "x"]),
        1,
    );
    let pin = refused(&ask(&daemon, &["devices", "pin", "kitchen3", "1.0"]), 1);
    assert!(pin.contains("Firmware 1.0 of lamp was not found"), "{pin}");

    // the token opens the device's door, until it is revoked
    let head = format!("GET /api/iot/firmware-version\r\nAuthorization: Bearer {token}");
    assert_eq!(daemon.request(&head, b"").status, 200);
    let second = done(&daemon, &["devices", "token", "kitchen3"]);
    assert!(second.trim().starts_with("eg1_") && second.trim() != token);
    done(&daemon, &["devices", "revoke", "kitchen3"]);
    assert_eq!(daemon.request(&head, b"").status, 401);

    let ci = json(
        &daemon,
        &[
            "tokens",
            "add",
            "ci",
            "--role",
            "pipeline",
            "--expires",
            "365d",
            "--json",
        ],
    );
    assert_eq!(ci["role"], "pipeline");
    let list = done(&daemon, &["tokens", "list", "--json"]);
    let secret = ci["token"].as_str().unwrap().rsplit('_').next().unwrap();
    assert!(!list.contains(secret) && !list.contains("sha256"), "{list}");
    done(&daemon, &["tokens", "revoke", "ci"]);
    refused(&ask(&daemon, &["tokens", "revoke", "ci"]), 1);
    done(&daemon, &["devices", "remove", "kitchen3"]);

    let journal = daemon.journal();
    assert!(
        !journal.contains(secret) && !journal.contains(token),
        "{journal}"
    );
    let events: String = fs::read_dir(daemon.data().join("events"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for event in ["ModelChanged", "DeviceChanged", "TokenMade", "TokenEnded"] {
        let line = events
            .lines()
            .find(|line| line.contains(event))
            .unwrap_or_default();
        let uid = nix::unistd::getuid();
        assert!(line.contains(&format!("uid {uid}")), "{event}: {line}");
    }
}

#[test]
fn what_devices_send_is_listed_shown_exported_and_deleted() {
    let daemon = Start::new(OPEN).start();
    done(&daemon, &["models", "add", "lamp"]);
    done(
        &daemon,
        &["devices", "add", "k1", "--model", "lamp", "--no-token"],
    );
    let dump = dumps::xtensa().image(0x0102, false);
    let id = post_dump(&daemon, "k1", "1.0%1b[31m", &dump);
    for number in 0..3 {
        post_dump(
            &daemon,
            "k1",
            "1.0",
            format!("not a dump {number}").as_bytes(),
        );
    }

    let table = done(&daemon, &["coredumps", "list"]);
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.contains(&id) && !table.contains('\u{1b}'), "{table}");
    for line in table.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let page = json(&daemon, &["coredumps", "list", "--limit", "2", "--json"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = json(
        &daemon,
        &["coredumps", "list", "--cursor", cursor, "--json"],
    );
    assert_eq!(rest["coredumps"].as_array().unwrap().len(), 2);

    let shown = done(&daemon, &["coredumps", "show", &id]);
    assert!(shown.contains("esp32"), "{shown}");
    let line = refused(&ask(&daemon, &["coredumps", "show", "0123456789ab"]), 1);
    assert!(line.contains("cannot show coredump 0123456789ab"), "{line}");

    let archive = daemon.folder.path().join("x.zip");
    let name = archive.to_str().unwrap();
    done(&daemon, &["coredumps", "export", &id, "-o", name]);
    let mut zip = zip::ZipArchive::new(fs::File::open(&archive).unwrap()).unwrap();
    let mut core = Vec::new();
    zip.by_name("core.elf")
        .unwrap()
        .read_to_end(&mut core)
        .unwrap();
    assert!(core == dumps::xtensa().elf());
    let mut readme = String::new();
    zip.by_name("README.txt")
        .unwrap()
        .read_to_string(&mut readme)
        .unwrap();
    assert!(
        readme.contains("xtensa-esp32-elf-gdb") && !readme.contains('\u{1b}'),
        "{readme}"
    );
    let again = refused(&ask(&daemon, &["coredumps", "export", &id, "-o", name]), 1);
    assert!(again.contains("exists already"), "{again}");

    done(&daemon, &["coredumps", "delete", &id]);
    refused(&ask(&daemon, &["coredumps", "delete", &id]), 1);
    let left = json(&daemon, &["coredumps", "list", "--json"]);
    assert_eq!(left["coredumps"].as_array().unwrap().len(), 3);
}

#[test]
fn firmware_is_added_activated_rolled_back_and_exported() {
    let daemon = Start::new("").start();
    done(&daemon, &["models", "add", "lamp"]);
    let file = daemon.folder.path().join("bundle.zip");
    let mut bundles = Vec::new();
    for (seed, version) in [(1, "1.0"), (2, "2.0")] {
        let build = firmware::Build {
            version,
            seed,
            ..firmware::Build::of("lamp")
        };
        bundles.push(build.zip());
        daemon::write(&file, bundles.last().unwrap());
        let name = file.to_str().unwrap();
        let added = json(
            &daemon,
            &["firmware", "add", name, "--model", "lamp", "--json"],
        );
        assert_eq!(added["firmware_version"], version);
        assert_eq!(added["active"], true);
    }
    let back = json(&daemon, &["firmware", "rollback", "lamp", "--json"]);
    assert_eq!(back["firmware_version"], "1.0");
    done(&daemon, &["firmware", "block", "lamp", "2.0"]);
    let blocked = refused(&ask(&daemon, &["firmware", "activate", "lamp", "2.0"]), 1);
    assert!(blocked.contains("blocked"), "{blocked}");
    done(&daemon, &["firmware", "unblock", "lamp", "2.0"]);
    let active = refused(&ask(&daemon, &["firmware", "delete", "lamp", "1.0"]), 1);
    assert!(active.contains("active"), "{active}");
    let table = done(&daemon, &["firmware", "list", "lamp"]);
    assert!(table.contains("1.0") && table.contains("active"), "{table}");
    let out = daemon.folder.path().join("out.zip");
    done(
        &daemon,
        &[
            "firmware",
            "export",
            "lamp",
            "1.0",
            "-o",
            out.to_str().unwrap(),
        ],
    );
    assert!(fs::read(&out).unwrap() == bundles[0]);
    done(&daemon, &["firmware", "delete", "lamp", "2.0"]);
}

#[test]
fn a_backup_brings_an_unchanged_device_back_on_another_machine() {
    let first = Start::new("").start();
    done(&first, &["models", "add", "lamp"]);
    let added = json(
        &first,
        &["devices", "add", "k1", "--model", "lamp", "--json"],
    );
    let bearer = format!("Authorization: Bearer {}", added["token"].as_str().unwrap());
    let head = format!("POST /api/iot/coredump?chip=esp32&firmware_version=1\r\n{bearer}");
    assert_eq!(first.request(&head, b"one").status, 201);
    let ca = fs::read(first.data().join("tls/ca.pem")).unwrap();
    let file = first.folder.path().join("backup.zip");
    done(&first, &["backup", file.to_str().unwrap(), "--with-dumps"]);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let _kept = std::sync::Arc::clone(&first.folder);
    first.kill();

    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    let arguments = [
        "--data-dir",
        data.to_str().unwrap(),
        "restore",
        file.to_str().unwrap(),
    ];
    let output = espgate(&arguments);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    for (name, mode) in [
        ("state", 0o700),
        ("tls", 0o700),
        ("coredumps", 0o750),
        ("tls/ca.pem", 0o600),
    ] {
        let found = fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    let line = refused(&espgate(&arguments), 1);
    assert!(line.contains("is not empty"), "{line}");

    let second = Start::on(folder, "").start();
    assert!(fs::read(second.data().join("tls/ca.pem")).unwrap() == ca);
    assert_eq!(second.request(&head, b"two").status, 201);
    let list = json(&second, &["coredumps", "list", "--json"]);
    assert_eq!(list["coredumps"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_no_backup_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.zip");
    let manifest = ("espgate-backup.json", r#"{"schema":1}"#);
    let newer = ("espgate-backup.json", r#"{"schema":99}"#);
    for (entries, why) in [
        (vec![("state/x.json", "{}")], "no manifest"),
        (vec![newer], "newer espgate"),
        (vec![manifest, ("../escape", "x")], "no file of a backup"),
        (
            vec![manifest, ("state/../../escape", "x")],
            "no file of a backup",
        ),
        (
            vec![manifest, ("run/control.sock", "x")],
            "no file of a backup",
        ),
    ] {
        daemon::write(&file, &firmware::zip(&entries));
        let data = folder.path().join("data");
        let arguments = [
            "--data-dir",
            data.to_str().unwrap(),
            "restore",
            file.to_str().unwrap(),
        ];
        let line = refused(&espgate(&arguments), 1);
        assert!(line.contains(why), "{line}");
        assert!(!data.exists(), "{line}");
    }
    daemon::write(&file, b"PK\x03\x04 cut off");
    let line = refused(&espgate(&["restore", file.to_str().unwrap()]), 1);
    assert!(line.contains("not a whole ZIP"), "{line}");
    assert!(!folder.path().join("escape").exists());
}

#[test]
fn the_doctor_works_without_a_daemon_and_says_so_first() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path());
    assert_eq!(status(&output), 1);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &shown["findings"][0];
    assert_eq!(first["about"], "daemon");
    assert_eq!(first["severity"], "error");
}

#[test]
fn the_doctor_names_dumps_whose_firmware_is_missing() {
    let daemon = Start::new(OPEN).start();
    done(&daemon, &["models", "add", "lamp"]);
    done(
        &daemon,
        &["devices", "add", "k1", "--model", "lamp", "--no-token"],
    );
    post_dump(&daemon, "k1", "1.0", &dumps::xtensa().image(0x0102, false));
    daemon.wait_for("decoded");
    let output = doctor(&daemon.data());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let missing = "1 dump from 1 device run builds we have no bundle for (lamp 1.0)";
    assert!(text.contains(missing), "{text}");
    assert_eq!(status(&output), 1);
}

fn doctor(data: &Path) -> Output {
    espgate(&["--data-dir", data.to_str().unwrap(), "doctor", "--json"])
}

#[test]
fn status_is_one_screen() {
    let daemon = Start::new("").start();
    let text = done(&daemon, &["status"]);
    assert!(text.lines().count() <= 24, "{text}");
    assert!(text.contains(&daemon.address.to_string()), "{text}");
    let value = json(&daemon, &["status", "--json"]);
    assert_eq!(value["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_ca_is_printed_without_a_daemon() {
    let daemon = Start::new("").start();
    let ca = fs::read_to_string(daemon.data().join("tls/ca.pem")).unwrap();
    let folder = std::sync::Arc::clone(&daemon.folder);
    let asked = json(&daemon, &["tls", "show", "--json"]);
    daemon.kill();
    let data = folder.path().join("data");
    let offline = |arguments: &[&str]| {
        let mut all = vec!["--data-dir", data.to_str().unwrap()];
        all.extend_from_slice(arguments);
        let output = espgate(&all);
        assert_eq!(status(&output), 0, "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(offline(&["tls", "ca"]), ca);
    let read: Value = serde_json::from_str(&offline(&["tls", "show", "--json"])).unwrap();
    for name in ["subject", "issuer", "names", "fingerprint_sha256"] {
        assert_eq!(read["server"][name], asked["server"][name], "{name}");
    }
}
