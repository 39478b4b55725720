//! What a fleet's token does for boards, and what is known of a device's contact.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon, Start, write};
use crate::test_gateway::{TestGateway, dump, token};

fn ask(daemon: &Daemon, token: &str, head: &str, body: &[u8]) -> Answer {
    daemon.request(&format!("{head}\r\nAuthorization: Bearer {token}"), body)
}

fn post(daemon: &Daemon, token: &str, key: &str, salt: u8) -> Answer {
    let head = format!("POST /api/iot/coredump?chip=esp32&firmware_version=1&device_key={key}");
    ask(daemon, token, &head, &dump(salt))
}

fn version(daemon: &Daemon, token: &str, key: &str) -> Answer {
    let head = format!("GET /api/iot/firmware-version?device_key={key}");
    ask(daemon, token, &head, b"")
}

fn dumps_of(daemon: &Daemon, key: &str) -> Vec<Value> {
    let head = format!("GET /api/coredumps?device={key}");
    let list = daemon.control(&head, b"").json();
    list["coredumps"].as_array().unwrap().clone()
}

/// The dumps that came in the name of a board and are not put with its own.
fn dumps_claimed_for(daemon: &Daemon, key: &str) -> Vec<Value> {
    let list = daemon.control("GET /api/coredumps", b"").json();
    let all = list["coredumps"].as_array().unwrap().iter();
    let claimed = all.filter(|dump| dump["claimed_device_key"] == key);
    claimed.cloned().collect()
}

/// The devices in the register's file; `None` while it has not got `key`.
fn written(daemon: &Daemon, key: &str) -> Option<Value> {
    let bytes = std::fs::read(daemon.data().join("state/devices.json")).unwrap();
    let register: Value = serde_json::from_slice(&bytes).unwrap();
    register["devices"].get(key).cloned()
}

#[test]
fn boards_that_a_fleet_token_registers_are_on_the_disk_soon() {
    let site = TestGateway::new();
    let fleet = token(&site.daemon, "field", "fleet", Some("lamp"));
    let copy = site.daemon.data().join("state/devices.json.copy");
    let before = std::fs::read(&copy).unwrap();
    for n in 0..5 {
        assert_eq!(version(&site.daemon, &fleet, &format!("b{n}")).status, 200);
    }
    let until = Instant::now() + Duration::from_secs(30);
    while written(&site.daemon, "b4").is_none() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = fleet.split('_').nth(1).unwrap();
    let device = written(&site.daemon, "b0").unwrap();
    assert_eq!(device["fleet_token"], id);
    assert_eq!(std::fs::read(&copy).unwrap(), before, "the copy can wait");
    site.daemon.kill();
}

#[test]
fn registrations_that_cannot_be_written_are_told_by_what_the_disk_did() {
    let site = TestGateway::new();
    let fleet = token(&site.daemon, "field", "fleet", Some("lamp"));
    // no file can take the place of a folder that is not empty
    let register = site.daemon.data().join("state/devices.json");
    std::fs::remove_file(&register).unwrap();
    std::fs::create_dir(&register).unwrap();
    write(&register.join("something"), b"");
    assert_eq!(version(&site.daemon, &fleet, "b1").status, 200);
    site.daemon.wait_for_event("DiskFailed", "devices.json");
    assert!(site.daemon.events("DiskFull").is_empty());
}

#[test]
fn a_board_beyond_the_limit_of_its_fleet_token_gets_nothing_but_its_dump_is_kept() {
    let site = TestGateway::new();
    let fleet = token(&site.daemon, "field", "fleet", Some("lamp"));
    let register = site.daemon.data().join("state/devices.json");
    let folder = Arc::clone(&site.daemon.folder);
    site.daemon.stop();
    let mut devices: Value = serde_json::from_slice(&std::fs::read(&register).unwrap()).unwrap();
    let id = fleet.split('_').nth(1).unwrap();
    for n in 0..1000 {
        devices["devices"][format!("b{n}")] =
            json!({ "model": "lamp", "registered": true, "fleet_token": id });
    }
    write(&register, devices.to_string().as_bytes());
    let daemon = Start::on(folder, "").start();
    assert_eq!(version(&daemon, &fleet, "b7").status, 200);
    let told = || daemon.events("FleetTokenLimited").len();
    for salt in 1..4 {
        let refused = version(&daemon, &fleet, "new1");
        assert_eq!(refused.status, 403);
        assert_eq!(refused.json()["code"], "AUTHORIZATION_FAILED");
        let kept = post(&daemon, &fleet, "new1", salt);
        assert_eq!(kept.status, 201);
    }
    assert_eq!(told(), 1);
    let dumps = dumps_of(&daemon, "new1");
    assert!(!dumps.is_empty());
    assert_eq!(dumps[0]["identity"], "fleet-token");
    assert_eq!(dumps[0]["claimed_device_key"], "new1");
    assert_eq!(daemon.control("GET /api/devices/new1", b"").status, 404);
    // a person makes room
    daemon.manage("PUT /api/devices/b7", &json!({ "name": "Hall" }));
    assert_eq!(version(&daemon, &fleet, "new1").status, 200);
    let device = daemon.control("GET /api/devices/new1", b"").json();
    assert_eq!(device["registered"], true);
}

#[test]
fn a_fleet_token_does_nothing_for_a_board_that_uses_a_token_of_its_own() {
    let site = TestGateway::new();
    let daemon = &site.daemon;
    let fleet = token(daemon, "field", "fleet", Some("lamp"));
    assert_eq!(version(daemon, &fleet, "k1").status, 200, "not used yet");
    let own = site.device("GET /api/iot/firmware-version", b"");
    assert_eq!(own.status, 200);
    assert_eq!(version(daemon, &fleet, "k1").status, 403);
    assert_eq!(post(daemon, &fleet, "k1", 1).status, 201);
    assert_eq!(dumps_of(daemon, "k1"), Vec::<Value>::new());
    assert_eq!(dumps_claimed_for(daemon, "k1").len(), 1);
    // also when that token is revoked
    daemon.control("DELETE /api/devices/k1/tokens", b"");
    assert_eq!(version(daemon, &fleet, "k1").status, 403);
}

#[test]
fn equal_dumps_of_two_boards_that_a_fleet_token_does_not_speak_for_are_two() {
    let site = TestGateway::new();
    let daemon = &site.daemon;
    let fleet = token(daemon, "field", "fleet", Some("lamp"));
    daemon.manage("PUT /api/models/pump", &json!({}));
    daemon.manage("PUT /api/devices/k2", &json!({ "model": "pump" }));
    let own = site.device("GET /api/iot/firmware-version", b"");
    assert_eq!(own.status, 200);
    for key in ["k1", "k2"] {
        assert_eq!(version(daemon, &fleet, key).status, 403, "{key}");
        assert_eq!(post(daemon, &fleet, key, 1).status, 201, "{key}");
        assert_eq!(dumps_of(daemon, key), Vec::<Value>::new());
    }
    let [first, second] = ["k1", "k2"].map(|key| dumps_claimed_for(daemon, key));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first[0]["device_key"], second[0]["device_key"]);
    assert_ne!(first[0]["id"], second[0]["id"]);
    // kept, and nobody is registered for it
    let head = format!(
        "GET /api/devices/{}",
        first[0]["device_key"].as_str().unwrap()
    );
    assert_eq!(daemon.control(&head, b"").status, 404);
}

#[test]
fn a_fleet_token_reads_the_configuration_of_its_model_alone() {
    let site = TestGateway::new();
    let daemon = &site.daemon;
    daemon.manage("PUT /api/models/pump", &json!({}));
    let fleet = token(daemon, "field", "fleet", Some("lamp"));
    let folder = daemon.data().join("config");
    let config = |token: &str, key: &str| {
        let head = format!("GET /api/iot/config?device_key={key}");
        ask(daemon, token, &head, b"")
    };
    // the names of a board with a token of its own, of another board, of another model
    for name in ["k1", "b1", "pump"] {
        for place in [
            format!("devices/{name}.json"),
            format!("models/{name}.json"),
            format!("{name}.json"),
        ] {
            write(&folder.join(place), b"{\"for\":\"another\"}");
        }
        assert_eq!(config(&fleet, name).status, 404, "{name}");
    }
    for (place, whom) in [
        ("lamp.json", "all, flat"),
        ("models/lamp.json", "all of the model"),
    ] {
        write(
            &folder.join(place),
            json!({ "for": whom }).to_string().as_bytes(),
        );
        for name in ["b1", "pump"] {
            assert_eq!(config(&fleet, name).json()["for"], whom, "{name}");
        }
    }
}

#[test]
fn a_devices_configuration_is_its_own_file_else_its_models() {
    let site = TestGateway::new();
    let folder = site.daemon.data().join("config");
    let config = || {
        let answer = site.device("GET /api/iot/config", b"");
        let whom = |answer: &Answer| answer.json()["for"].as_str().map(str::to_owned);
        (answer.status == 200).then(|| whom(&answer)).flatten()
    };
    assert_eq!(config(), None);
    // the least first
    for place in [
        "lamp.json",
        "models/lamp.json",
        "k1.json",
        "devices/k1.json",
    ] {
        let text = json!({ "for": place }).to_string();
        write(&folder.join(place), text.as_bytes());
        assert_eq!(config().as_deref(), Some(place));
    }
    // a model of the same name takes the flat file
    std::fs::remove_file(folder.join("devices/k1.json")).unwrap();
    assert_eq!(config().as_deref(), Some("k1.json"));
    site.daemon.manage("PUT /api/models/k1", &json!({}));
    assert_eq!(config().as_deref(), Some("models/lamp.json"));
}

#[test]
fn any_request_of_a_device_is_a_contact() {
    let site = TestGateway::new();
    let seen = || {
        let device = site.daemon.control("GET /api/devices/k1", b"").json();
        device["last_seen"].as_str().map(str::to_owned)
    };
    assert_eq!(seen(), None);
    site.device("GET /api/iot/firmware-version", b"");
    let first = seen();
    assert!(first.is_some());
    assert_eq!(site.device("GET /api/iot/firmware", b"").status, 404);
    assert!(seen() > first);
}
