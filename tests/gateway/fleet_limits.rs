//! Who has a fleet's token invents boards: how many get registered, and what stays of the
//! others.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon, Start};
use crate::test_gateway::{TestGateway, dump, token};

fn version(daemon: &Daemon, token: &str, key: &str) -> Answer {
    let head = format!("GET /api/iot/firmware-version?device_key={key}");
    daemon.request(&format!("{head}\r\nAuthorization: Bearer {token}"), b"")
}

#[test]
fn the_configuration_says_how_many_boards_a_fleet_token_registers() {
    let site = TestGateway::with("[auth.fleet]\nmax_devices = 4\nburst = 3\nper_hour = 0\n");
    let daemon = &site.daemon;
    let fleet = token(daemon, "field", "fleet", Some("lamp"));
    let statuses = |prefix: &str| {
        [1, 2, 3, 4].map(|n| version(daemon, &fleet, &format!("{prefix}{n}")).status)
    };
    assert_eq!(statuses("a"), [200, 200, 200, 403]);
    let text = fs::read_to_string(daemon.folder.path().join("espgate.toml")).unwrap();
    let more = text.replace("burst = 3\nper_hour = 0", "burst = 9\nper_hour = 3600000");
    crate::daemon::write(&daemon.folder.path().join("espgate.toml"), more.as_bytes());
    daemon.signal("HUP");
    daemon.wait_for_event("ConfigurationReloaded", "auth.fleet");
    assert_eq!(statuses("b"), [200, 403, 403, 403], "four in all");
    assert_eq!(statuses("a"), [200, 200, 200, 403]);
}

#[test]
fn boards_that_are_invented_do_not_fill_the_journal_nor_the_register() {
    const INVENTED: usize = 40;
    let site = TestGateway::with("[auth.fleet]\nburst = 20\nper_hour = 0\n");
    let daemon = &site.daemon;
    let fleet = token(daemon, "field", "fleet", Some("lamp"));
    let mut stream = daemon.connect();
    for n in 0..INVENTED {
        let head = format!(
            "POST /api/iot/coredump?chip=esp32&firmware_version=1&device_key=x{n}\r\n\
             Authorization: Bearer {fleet}"
        );
        let answer = crate::daemon::exchange(&mut stream, &head, &dump(1));
        assert_eq!(answer.status, 201, "{n}");
    }
    // each token has a few entries a minute; the test may span two
    assert!(daemon.events("DeviceFirstSeen").len() <= 10);
    assert_eq!(daemon.events("FleetTokenLimited").len(), 1);
    let stored = daemon.events("CoredumpStored");
    let of_registered = |event: &&Value| {
        let key = event["device_key"].as_str().unwrap();
        key[1..].parse::<usize>().unwrap() < 20
    };
    let registered = stored.iter().filter(of_registered).count();
    assert_eq!(registered, 20, "of a registered board each");
    assert!(stored.len() - registered <= 10, "{}", stored.len());
    let devices = daemon.control("GET /api/devices", b"").json();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 21);
    let held = daemon.control("GET /api/coredumps", b"").json();
    assert_eq!(held["coredumps"].as_array().unwrap().len(), INVENTED);
}

#[test]
fn ten_thousand_devices_are_listed_and_changed_in_little_memory() {
    const DEVICES: usize = 10_000;
    /// What the register and its changes may take on top of what the daemon takes without.
    const MOST: u64 = 40 << 20;
    let site = TestGateway::new();
    let register = site.daemon.data().join("state/devices.json");
    let folder = Arc::clone(&site.daemon.folder);
    let without = resident(&site.daemon);
    site.daemon.stop();
    let mut devices: Value = serde_json::from_slice(&fs::read(&register).unwrap()).unwrap();
    for n in 0..DEVICES {
        let mac = format!("84f703{n:06x}");
        devices["devices"][&mac] = json!({
            "model": "lamp", "name": format!("Lamp {n}"), "mac": mac, "registered": true,
            "tokens": [{ "id": format!("t{n:07}"), "sha256": "0".repeat(64), "created_at": MADE }],
            "created_at": MADE, "last_seen": MADE, "running": {
                "build_id": "1".repeat(64), "version": "1.2.3",
                "app_elf_sha256": "2".repeat(64), "at": MADE, "from": "download",
            },
        });
    }
    crate::daemon::write(&register, devices.to_string().as_bytes());
    let daemon = Start::on(folder, "").start();
    for n in 0..5 {
        let list = daemon.control("GET /api/devices", b"");
        let devices = list.json()["devices"].as_array().unwrap().len();
        assert_eq!(devices, DEVICES + 1 + n);
        let new = json!({ "device_key": format!("new{n}"), "model": "lamp" });
        daemon.manage("POST /api/devices", &new);
    }
    let more = resident(&daemon) - without;
    assert!(more < MOST, "{} MB more", more >> 20);
}

const MADE: &str = "2026-01-01T00:00:00.000000Z";

/// Bytes of a daemon that are in memory.
fn resident(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.unwrap().trim().trim_end_matches(" kB");
    size.parse::<u64>().unwrap() * 1024
}
