//! What is shown of a gateway that runs, and of what it leaves.

use std::sync::Arc;

use super::*;
use crate::board::Board;

/// Lines that tell of the machine that the tests run on.
const OF_THE_MACHINE: &[(&str, &str)] = &[
    (r"(?m)^(up +).*$", "${1}[DURATION]"),
    (r"(?m)^(clock +)\w+$", "${1}[CLOCK]"),
    (r"(?m)^(disk +).*$", "${1}[DISK]"),
    (r"(?m)^(names +).*(\n {11}.*)*", "${1}[NAMES]"),
    (r"espgate site CA [0-9a-f]{8}", "espgate site CA [ID]"),
    (
        r"(last dump +)~?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
        "${1}[TIME]",
    ),
    (r"handshake  \d+ bytes", "handshake  [N] bytes"),
    (r"\(\d+(\.\d+)? KiB\)", "([SIZE])"),
    (r"\(pid \d+\)", "(pid [N])"),
];

#[test]
fn registers() {
    let folder = Arc::new(folder());
    let _daemon = Start::on(Arc::clone(&folder), "").start();
    let mut screens = Screens::of(folder.path());
    screens
        .show(&["models", "list"])
        .show(&["models", "add", "lamp"])
        .show(&["models", "add", "lamp"])
        .show(&["models", "add", "Lamp No 1"])
        .show(&["models", "add", "lock", "--activate", "manual"])
        .show(&["models", "set", "lamp", "--activate", "manual"])
        .show(&["models", "hold", "lamp"])
        .show(&["models", "list"])
        .show(&["models", "unhold", "lamp"])
        .show(&["models", "hold", "nope"])
        .are("models");
    screens
        .show(&["devices", "list"])
        .show(&[
            "devices",
            "add",
            "kitchen3",
            "--model",
            "lamp",
            "--name",
            "Küche 写真",
        ])
        .show(&["devices", "add", "kitchen3", "--model", "lamp"])
        .show(&["devices", "add", "k2", "--model", "nope"])
        .show(&["devices", "add", "k 2", "--model", "lamp"])
        .show(&["devices", "add", "k2", "--model", "lamp", "--no-token"])
        .show(&["devices", "set", "k2", "--mac", "AA:BB:CC:00:11:22"])
        .show(&["devices", "set", "k2", "--mac", "AA:BB"])
        .show(&["devices", "set", "k2"])
        .show(&["devices", "pin", "k2", "1.0"])
        .show(&["devices", "token", "k2"])
        .show(&["devices", "list"])
        .show(&["devices", "revoke", "k2"])
        .show(&["devices", "unpin", "k2"])
        .show(&["devices", "remove", "k2"])
        .show(&["devices", "remove", "k2"])
        .are("devices");
    screens
        .show(&["tokens", "list"])
        .show(&["tokens", "add", "ci", "--role", "pipeline"])
        .show(&["tokens", "add", "ci", "--role", "pipeline"])
        .show(&[
            "tokens", "add", "fleet", "--role", "fleet", "--model", "lamp",
        ])
        .show(&[
            "tokens",
            "add",
            "v",
            "--role",
            "viewer",
            "--expires",
            "tomorrow",
        ])
        .show(&["tokens", "add", "v", "--role", "viewer", "--model", "nope"])
        .show(&["tokens", "list"])
        .show(&["tokens", "revoke", "ci"])
        .show(&["tokens", "revoke", "ci"])
        .are("tokens");
    machine(|| {
        screens
            .show(&["tls", "show"])
            .show(&["tls", "renew"])
            .show(&["tls", "install", "nowhere.pem"]);
        daemon::write(&folder.path().join("chain.pem"), b"no certificate");
        screens.show(&["tls", "install", "chain.pem"]).are("tls");
    });
}

#[test]
fn coredumps_and_doctor() {
    let folder = Arc::new(folder());
    let daemon = Start::on(Arc::clone(&folder), OPEN).start();
    let mut screens = Screens::of(folder.path());
    // until then the status says so
    while daemon.control("GET /api/status", b"").json()["index_ready"] != true {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    machine(|| screens.show(&["status"]).are("status-of-a-new-gateway"));
    screens.show(&["coredumps", "list"]);
    done(&daemon, &["models", "add", "lamp"]);
    let add = ["devices", "add", "k1", "--model", "lamp", "--no-token"];
    done(&daemon, &add);
    let dump = dumps::xtensa().image(0x0102, false);
    let first = post_dump(&daemon, "k1", "1.0", &dump);
    let second = post_dump(&daemon, "k1", "1%1b[m", b"no dump");
    ports::until("both are decoded", || {
        json(&daemon, &["status", "--json"])["counts"]["not_decoded_yet"] == 0
    });
    screens
        .show(&["coredumps", "list"])
        .show(&["coredumps", "list", "--limit", "1", "--device", "k1"])
        .show(&["coredumps", "list", "--device", "k2"]);
    list(|| screens.are("coredumps-list"));
    screens
        .show(&["coredumps", "show", &first])
        .show(&["coredumps", "show", &second])
        .show(&["coredumps", "show", "0123456789ab"])
        .show(&["coredumps", "export", &first, "-o", "x.zip"])
        .show(&["coredumps", "export", &first, "-o", "x.zip"])
        .show(&["coredumps", "export", &first, "-o", "/nowhere/x.zip"])
        .show(&["coredumps", "redecode", &first])
        .show(&["coredumps", "delete", &second])
        .show(&["coredumps", "delete", &second])
        .are("coredumps");
    machine(|| screens.show(&["status"]).are("status"));
    ports::until("it is decoded again", || {
        json(&daemon, &["status", "--json"])["counts"]["not_decoded_yet"] == 0
    });
    findings(&mut screens);
    screens.are("doctor");
    daemon.stop();
    findings(&mut screens);
    screens.are("doctor-without-daemon");
}

/// What the doctor finds, but for what it says of the machine.
fn findings(screens: &mut Screens<'_>) {
    let mut doctor = daemon::binary();
    doctor.args(["--data-dir", "data", "--socket", SOCKET, "doctor", "--json"]);
    let output = doctor.current_dir(screens.folder).output().unwrap();
    assert_eq!(status(&output), 1, "{}", errors(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for finding in told["findings"].as_array().unwrap() {
        let word = |name: &str| finding[name].as_str().unwrap();
        if !["clock", "data", "disk", "journal", "ports"].contains(&word("about")) {
            let (severity, about) = (word("severity"), word("about"));
            let (what, advice) = (word("what"), word("advice"));
            let lines = [format!("{severity} {about}"), what.into(), advice.into()];
            screens.shown.push_str(lines.join("\n  ").trim_end());
            screens.shown.push('\n');
        }
    }
}

#[test]
fn firmware() {
    let folder = Arc::new(folder());
    let daemon = Start::on(Arc::clone(&folder), "").start();
    done(&daemon, &["models", "add", "lamp"]);
    for (seed, version) in [(1, "1.0"), (2, "2.0")] {
        let build = firmware::Build {
            version,
            seed,
            ..firmware::Build::of("lamp")
        };
        daemon::write(&folder.path().join(format!("{version}.zip")), &build.zip());
    }
    daemon::write(&folder.path().join("notes.txt"), b"no firmware");
    Screens::of(folder.path())
        .show(&["firmware", "list"])
        .show(&["firmware", "add", "1.0.zip", "--model", "lamp"])
        .show(&["firmware", "add", "2.0.zip", "--model", "lamp"])
        .show(&["firmware", "add", "2.0.zip", "--model", "nope"])
        .show(&["firmware", "add", "notes.txt", "--model", "lamp"])
        .show(&["firmware", "add", "absent.zip", "--model", "lamp"])
        .show(&["firmware", "add", ".", "--model", "lamp"])
        .show(&["firmware", "list", "lamp"])
        .show(&["firmware", "rollback", "lamp"])
        .show(&["firmware", "activate", "lamp", "3.0"])
        .show(&["firmware", "block", "lamp", "2.0"])
        .show(&["firmware", "activate", "lamp", "2.0"])
        .show(&["firmware", "unblock", "lamp", "2.0"])
        .show(&["firmware", "activate", "lamp", "2.0"])
        .show(&["firmware", "delete", "lamp", "2.0"])
        .show(&["firmware", "export", "lamp", "1.0"])
        .show(&["firmware", "export", "lamp", "1.0"])
        .show(&["firmware", "block", "lamp", "1.0", "--why", "boots twice"])
        .show(&["builds", "list"])
        .show(&["builds", "show", "1.0"])
        .show(&["builds", "show", "00000000"])
        .show(&["firmware", "block", "lamp", "2.0"])
        .show(&["models", "list"])
        .show(&["firmware", "list"])
        .show(&["firmware", "delete", "lamp", "1.0"])
        .show(&["firmware", "delete", "lamp", "--all"])
        .show(&["firmware", "delete", "lamp", "--all"])
        .are("firmware");
}

#[test]
fn serial_ports() {
    let folder = Arc::new(folder());
    let link = folder.path().join("kitchen");
    let mut board = Board::at(&link);
    board.plug();
    let link = link.display();
    let config = format!("[[serial.port]]\npath = \"{link}\"\ndevice_key = \"k1\"\n");
    let daemon = Start::on(Arc::clone(&folder), &config).start();
    let reaches = |state: &str| ports::until(state, || ports::state(&daemon) == state);
    reaches("listening");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(board.print("I (9) main: \x1b[31mon\r\n"));
    let port = || json(&daemon, &["ports", "list", "--json"])["ports"][0].clone();
    ports::until("the line came", || port()["last_line"].is_string());
    let name = port()["name"].as_str().unwrap().to_owned();
    let mut screens = Screens::of(folder.path());
    screens
        .show(&["ports", "list"])
        .show(&["ports", "log", &name])
        .show(&["ports", "log", "nowhere"])
        .show(&["ports", "read", &name])
        .show(&["ports", "run", &name, "--", "no-such-program"]);
    reaches("listening");
    screens.show(&["ports", "run", &name, "--", "echo", "{port}"]);
    reaches("listening");
    screens.show(&["ports", "release", &name, "--for", "10m"]);
    reaches("released");
    screens
        .show(&["ports", "list"])
        .show(&["ports", "claim", &name]);
    list(|| screens.are("ports"));
}

#[test]
fn backup_and_restore() {
    let folder = Arc::new(folder());
    let config = folder.path().join("espgate.toml");
    let daemon = Start::on(Arc::clone(&folder), "").start();
    done(&daemon, &["models", "add", "lamp"]);
    let mut screens = Screens::of(folder.path());
    screens
        .show(&["backup", "gateway.backup"])
        .show(&["backup", "gateway.backup"])
        .show(&["backup", "/nowhere/gateway.backup"])
        .show(&["restore", "gateway.backup"]);
    daemon.stop();
    daemon::write(&folder.path().join("notes.txt"), b"no backup");
    daemon::write(
        &folder.path().join("empty.zip"),
        &firmware::zip(&[("x", "x")]),
    );
    let newer = [("espgate-backup.json", r#"{"schema":99}"#)];
    daemon::write(&folder.path().join("newer.backup"), &firmware::zip(&newer));
    let other = folder.path().join("other.toml");
    daemon::write(&other, b"[http]\nmax_connections = 3\n");
    screens
        .show(&["restore", "absent.backup"])
        .show(&["restore", "notes.txt"])
        .show(&["restore", "empty.zip"])
        .show(&["restore", "newer.backup"])
        .show(&["restore", "gateway.backup"])
        .show(&["--data-dir", "new", "restore", "gateway.backup"])
        .show(&[
            "--data-dir",
            "more",
            "--config",
            "other.toml",
            "restore",
            "gateway.backup",
        ]);
    fs::remove_file(config).unwrap();
    screens.show(&[
        "--data-dir",
        "last",
        "--config",
        "espgate.toml",
        "restore",
        "gateway.backup",
    ]);
    machine(|| screens.are("backup-and-restore"));
}

fn machine<R>(show: impl FnOnce() -> R) -> R {
    let mut settings = insta::Settings::clone_current();
    for (pattern, shown) in OF_THE_MACHINE {
        settings.add_filter(pattern, *shown);
    }
    settings.bind(show)
}

/// What a list has room for depends on a mark before its times.
fn list<R>(show: impl FnOnce() -> R) -> R {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"~?\d\d-\d\d \d\d:\d\d", "[TIME]");
    settings.add_filter(r"\S+( \S+)*…", "…");
    settings.add_filter(r" {2,}", "  ");
    settings.bind(show)
}
