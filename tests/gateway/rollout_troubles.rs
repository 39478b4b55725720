//! Rollouts and what goes wrong beside them: disks that take nothing, dumps of earlier
//! trials, many devices at once, pins, and boards that somebody else registered.

use std::fs;
use std::sync::{Arc, Barrier};

use serde_json::{Value, json};

use crate::builds;
use crate::daemon::{Start, write};
use crate::dumps::crash_of_app;
use crate::preload::library;
use crate::reload::until;
use crate::rollouts::{Site, build};
use crate::test_gateway::{TestGateway, salted, token};

fn member(site: &Site, id: &str, key: &str) -> Value {
    let rollout = site.show(id);
    let mut members = rollout["members"].as_array().unwrap().iter();
    members.find(|one| one["device"] == key).unwrap().clone()
}

#[test]
fn what_cannot_be_saved_promises_nothing_and_says_so() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let gate = folder.path().join("read-only");
    let shim = library("read_only", folder.path());
    let rollouts = folder.path().join("data/rollouts");
    let start = Start::on(Arc::clone(&folder), "")
        .environment("LD_PRELOAD", shim.to_str().unwrap())
        .environment("READ_ONLY", gate.to_str().unwrap())
        .environment("READ_ONLY_BELOW", rollouts.to_str().unwrap());
    let site = Site::of(TestGateway::on(start.start()));
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    write(&gate, b"");
    let image = |number| {
        let answer = site.device(number, "firmware");
        assert_eq!(answer.status, 200);
        answer.header("ETag").unwrap().to_owned()
    };
    let base = image(3);
    assert_eq!(image(1), base, "the target needs a note of it");
    for number in [1, 2] {
        assert_eq!(site.offered(number), "1.0", "and is not promised");
    }
    assert_eq!(site.show(&id)["unsaved"], true);
    let paused = site.command(&id, "pause").json();
    assert_eq!(
        (&paused["state"], &paused["unsaved"]),
        (&json!("paused"), &json!(true))
    );
    assert!(paused["summary"].to_string().contains("NOT SAVED"));
    let status = site.get("/api/status")["rollouts"].to_string();
    assert!(status.contains("NOT SAVED"), "{status}");

    fs::remove_file(&gate).unwrap();
    until("it is saved", || site.show(&id)["unsaved"] == false);
    assert_eq!(site.command(&id, "resume").status, 200);
    assert_eq!(site.offered(1), "2.0");
    assert_ne!(image(1), base);
}

#[test]
fn the_limit_of_all_downloads_holds_for_devices_that_ask_at_once() {
    let config = "[rollouts]\nmax_downloads = 1\n";
    let site = Site::of(TestGateway::with(config));
    site.start(&json!({ "canary": "k1,k2,k3,k4", "parallel": 4 }));
    let together = Barrier::new(4);
    let told = std::thread::scope(|scope| {
        let ask = |number| {
            together.wait();
            site.offered(number)
        };
        let asks: Vec<_> = (1..=4).map(|n| scope.spawn(move || ask(n))).collect();
        let told = asks.into_iter().map(|one| one.join().unwrap());
        told.filter(|told| told == "2.0").count()
    });
    assert_eq!(told, 1);
}

#[test]
fn dumps_of_an_earlier_trial_do_not_count() {
    let site = TestGateway::new();
    let get = |path: &str| site.daemon.control(&format!("GET {path}"), b"").json();
    builds::base_and_target(&site);
    let crash = |salt| {
        let crash = salted(crash_of_app(builds::hash("1.1.0")), salt).image(0x0102, true);
        let head = "POST /api/iot/coredump?chip=esp32c3&firmware_version=1.1.0";
        let stored = site.device(head, &crash);
        assert_eq!(stored.status, 201);
        let id = stored.json()["coredump_id"].as_str().unwrap().to_owned();
        until("it is decoded", || {
            get(&format!("/api/coredumps/{id}"))["decode"] != "pending"
        });
        id
    };
    crash(1);
    let body = json!({ "model": "lamp", "build": "1.1.0", "canary": "k1" });
    site.daemon.manage("POST /api/rollouts", &body);
    // nor what it crashed with between the start and its download
    crash(2);
    assert_eq!(site.device("GET /api/iot/firmware", b"").status, 200);
    until("all of it is delivered", || {
        get("/api/rollouts/r1")["members"][0]["state"] == "downloaded"
    });
    let counts = crash(3);
    until("it is stopped or paused", || {
        let state = get("/api/rollouts/r1")["state"].clone();
        state == "stopped" || state == "paused"
    });
    let why = get("/api/rollouts/r1")["why"].to_string();
    assert!(why.contains(&counts), "{why}");
}

#[test]
fn a_pin_that_comes_and_goes_moves_no_device_back() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    site.device(1, "firmware?running=1.0&boot_count=1");
    site.device(1, "firmware-version?running=2.0&boot_count=2");
    until("it runs it", || {
        member(&site, &id, "k1")["state"] == "running"
    });
    let pin = json!({ "version": "2.0" });
    site.manage("PUT /api/devices/k1/pin", &pin);
    until("it is pinned", || {
        member(&site, &id, "k1")["state"] == "pinned"
    });
    site.command(&id, "pause");
    site.manage("DELETE /api/devices/k1/pin", &json!({}));
    until("it runs it again", || {
        member(&site, &id, "k1")["state"] == "running"
    });
    assert_eq!(site.offered(1), "2.0");
    // one that got another build by its pin has that one, whatever it says
    let pin = json!({ "version": "1.0" });
    site.manage("PUT /api/devices/k1/pin", &pin);
    until("it is pinned", || {
        member(&site, &id, "k1")["state"] == "pinned"
    });
    site.device(1, "firmware");
    let has_it = || {
        let builds = site.get("/api/devices/k1")["builds"].clone();
        let mut builds = builds.as_array().unwrap().clone().into_iter();
        builds.any(|seen| seen["version"] == "1.0" && !seen["delivered_at"].is_null())
    };
    until("it has it", has_it);
    site.manage("DELETE /api/devices/k1/pin", &json!({}));
    until("it waits for its wave", || {
        member(&site, &id, "k1")["state"] == "held"
    });
}

#[test]
fn a_board_that_a_fleet_token_registers_again_decides_nothing() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    let daemon = &site.gateway.daemon;
    let fleet = token(daemon, "field", "fleet", Some("lamp"));
    assert_eq!(member(&site, &id, "k1")["votes"], true);
    site.manage("DELETE /api/devices/k1", &json!({}));
    until("it is gone", || {
        member(&site, &id, "k1")["state"] == "retired"
    });
    let head =
        format!("GET /api/iot/firmware-version?device_key=k1\r\nAuthorization: Bearer {fleet}");
    assert_eq!(daemon.request(&head, b"").status, 200);
    until("it has no vote", || {
        member(&site, &id, "k1")["votes"] == false
    });
    // a person who does so is trusted
    site.manage("DELETE /api/devices/k2", &json!({}));
    until("it is gone", || {
        member(&site, &id, "k2")["state"] == "retired"
    });
    let again = json!({ "device_key": "k2", "model": "lamp" });
    daemon.manage("POST /api/devices", &again);
    until("it is back", || {
        member(&site, &id, "k2")["state"] != "retired"
    });
    assert_eq!(member(&site, &id, "k2")["votes"], true);
}

#[test]
fn a_fix_reaches_devices_that_stayed_with_a_stopped_build() {
    let site = Site::new();
    let started = site.start(&json!({ "on_stop": "stay" }));
    let id = started["id"].as_str().unwrap().to_owned();
    site.device(1, "firmware");
    until("it has it", || {
        member(&site, &id, "k1")["state"] == "downloaded"
    });
    let why = json!({ "why": "smells" });
    assert_eq!(
        site.post(&format!("/api/rollouts/{id}/stop"), &why).status,
        200
    );
    assert_eq!(site.device(1, "firmware").status, 404);
    assert_eq!(site.offered(3), "1.0");
    assert_eq!(site.gateway.upload(&build("2.1", 9).zip()).status, 200);
    let fix = json!({ "version": "2.1" });
    assert_eq!(site.manage("PUT /api/models/lamp/active", &fix), 200);
    assert_eq!(
        (site.offered(1), site.offered(3)),
        ("2.1".into(), "2.1".into())
    );
}

#[test]
fn canaries_that_are_left_out_are_said_and_none_is_no_number() {
    let site = Site::new();
    let start = |canary: Value| {
        let body = json!({ "model": "lamp", "build": "2.0", "canary": canary, "dry_run": true });
        site.post("/api/rollouts", &body)
    };
    for none in [json!(0), json!("0")] {
        assert_eq!(start(none.clone()).status, 400, "{none}");
    }
    let warnings = |canary: u32| start(json!(canary)).json()["warnings"].to_string();
    assert!(warnings(4).contains("2 of 4 canaries"), "{}", warnings(4));
    assert!(!warnings(2).contains("canaries"), "{}", warnings(2));
}

#[test]
fn a_rollout_of_a_held_model_is_not_resumed() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    site.manage("PUT /api/models/lamp", &json!({ "held": true }));
    let resumed = site.command(&id, "resume");
    assert_eq!(resumed.status, 409);
    assert!(resumed.error().contains("held"), "{}", resumed.error());
    assert_eq!(site.state(&id), "paused");
    site.manage("PUT /api/models/lamp", &json!({ "held": false }));
    assert_eq!(site.command(&id, "resume").status, 200);
}
