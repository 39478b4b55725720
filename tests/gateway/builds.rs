//! Who runs which build and how it does, and crashes that the gateway caused.

use serde_json::{Value, json};

use espgate::digest::Sha256;

use crate::daemon::{Start, write};
use crate::dumps::crash_of_app;
use crate::firmware_files::{Build, Image, zip};
use crate::reload::until;
use crate::test_gateway::{TestGateway, dump, salted};

const APP: &[u8] = include_bytes!("../data/app.elf");

/// The application, built again: the same code under another hash.
fn app(version: &str) -> Vec<u8> {
    [APP, version.as_bytes()].concat()
}

pub(crate) fn hash(version: &str) -> &'static str {
    Sha256::of(&app(version)).short(9).leak()
}

/// Uploads 1.0.0, which is active, and 1.1.0, which is not.
pub(crate) fn base_and_target(site: &TestGateway) {
    upload(site, "1.0.0");
    let manual = json!({ "activate": "manual" });
    site.daemon.manage("PUT /api/models/lamp", &manual);
    upload(site, "1.1.0");
}

/// Uploads a build of the application; its id.
pub(crate) fn upload(site: &TestGateway, version: &str) -> String {
    let elf = app(version);
    let image = Image {
        elf: &elf,
        chip_id: 5,
        version,
        ..Image::default()
    };
    let mut files = Build {
        version,
        chip_id: 5,
        ..Build::of("lamp")
    }
    .files();
    files[0].1 = image.build();
    files[1].1 = elf.clone();
    assert_eq!(site.upload(&zip(&files)).status, 200);
    Sha256::of(&image.build()).to_string()
}

fn get(site: &TestGateway, path: &str) -> Value {
    site.daemon.control(&format!("GET {path}"), b"").json()
}

fn keys(site: &TestGateway, query: &str) -> Vec<String> {
    let list = get(site, &format!("/api/devices?{query}"));
    let devices = list["devices"].as_array().unwrap();
    let keys = devices
        .iter()
        .map(|device| device["device_key"].as_str().unwrap().to_owned());
    keys.collect()
}

#[test]
fn a_build_knows_who_runs_it_and_what_crashed_with_it() {
    let site = TestGateway::new();
    let old = upload(&site, "1.0.0");
    let new = upload(&site, "1.1.0");
    let made = site.daemon.manage(
        "POST /api/devices",
        &json!({"device_key": "k2", "model": "lamp"}),
    );
    site.daemon
        .manage("PUT /api/devices/k3", &json!({"model": "lamp"}));
    let k2 = made["token"].as_str().unwrap();
    let asks = format!(
        "GET /api/iot/firmware-version?running={}&uptime_s=5",
        hash("1.1.0")
    );
    assert_eq!(site.device(&asks, b"").status, 200);
    let head = format!(
        "POST /api/iot/coredump?chip=esp32&firmware_version=1.1.0\r\nAuthorization: Bearer {k2}"
    );
    let crash = salted(crash_of_app(hash("1.1.0")), 1).image(0x0102, true);
    assert_eq!(site.daemon.request(&head, &crash).status, 201);
    until("it is decoded", || {
        get(&site, "/api/coredumps")["coredumps"][0]["decode"] != "pending"
    });

    let build = get(&site, &format!("/api/builds/{}", &new[..8]));
    assert_eq!(build["build_id"], *new, "{build:#}");
    assert_eq!(build["devices"], json!({"exact": 1, "likely": 1}));
    assert_eq!(build["crash_free"], 0.5);
    assert_eq!(build["crash_free_devices"], 2);
    assert_eq!((&build["dumps"], &build["crashes"]), (&json!(1), &json!(1)));
    assert_eq!(build["groups"]["known"], 0);
    let group = &build["groups"]["new"][0]["id"];
    assert!(
        build["uploaded_by"].as_str().unwrap().contains("ci"),
        "{build:#}"
    );
    assert_eq!(build["blocked"], json!(null));

    let why = json!({"why": "boots twice"});
    site.daemon
        .manage(&format!("PUT /api/models/lamp/blocked/{old}"), &why);
    let list = get(&site, "/api/builds?model=lamp");
    let builds = list["builds"].as_array().unwrap();
    assert_eq!(builds.len(), 2);
    assert_eq!(builds[0]["build_id"], *new, "newest first");
    assert_eq!(builds[1]["blocked"]["why"], "boots twice");
    assert_eq!(builds[1]["crash_free"], json!(null));
    for (path, status) in [
        ("/api/builds/00000000", 404),
        ("/api/builds/0", 404),
        ("/api/builds?model=nosuch", 404),
    ] {
        let answer = site.daemon.control(&format!("GET {path}"), b"");
        assert_eq!(answer.status, status, "{path}");
    }

    let device = get(&site, "/api/devices/k1");
    assert_eq!(device["running"]["certainty"], "exact", "{device:#}");
    assert_eq!(device["boots_today"], 1);
    assert_eq!(device["state"], "quiet");
    assert_eq!(&get(&site, "/api/devices/k2")["last_crash"]["crash"], group);
    for (query, expected) in [
        ("build=1.1.0", vec!["k1", "k2"]),
        (&format!("build={}", &new[..8]), vec!["k1", "k2"]),
        ("build=1.0.0", vec![]),
        ("no-token=true", vec!["k3"]),
        ("unseen-for=1d", vec!["k3"]),
        ("unseen-for=0s&model=lamp", vec!["k1", "k2", "k3"]),
        ("model=pump", vec![]),
        ("silent=true&looping=true", vec![]),
        ("unregistered=true", vec![]),
    ] {
        assert_eq!(keys(&site, query), expected, "{query}");
    }
    let wrong = site.daemon.control("GET /api/devices?unseen-for=1", b"");
    assert_eq!(wrong.status, 400);
}

#[test]
fn a_dump_after_a_time_without_the_gateway_says_so() {
    let site = TestGateway::new();
    assert_eq!(
        site.device("GET /api/iot/firmware-version", b"").status,
        200
    );
    let (folder, data) = (site.daemon.folder.clone(), site.daemon.data());
    let token = site.device.clone();
    assert_eq!(site.daemon.stop(), Some(0));
    // as if the board had been heard an hour before, and the daemon stopped ten minutes later
    let earlier = |minutes: i64| {
        let then = espgate::clock::wall() - time::Duration::minutes(minutes);
        then.format(&time::format_description::well_known::Rfc3339)
            .unwrap()
    };
    for (file, path, minutes) in [
        ("state/devices.json", "/devices/k1/last_seen", 60),
        ("run/life.json", "/closed_at", 50),
    ] {
        let file = data.join(file);
        let mut value: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        *value.pointer_mut(path).unwrap() = earlier(minutes).into();
        write(&file, value.to_string().as_bytes());
    }
    let daemon = Start::on(folder, "").start();
    let post = |salt| {
        let head = format!(
            "POST /api/iot/coredump?chip=esp32&firmware_version=1.2.3\r\nAuthorization: Bearer {token}"
        );
        let id = daemon.request(&head, &dump(salt)).json()["coredump_id"].clone();
        let head = format!("GET /api/coredumps/{}", id.as_str().unwrap());
        daemon.control(&head, b"").json()
    };
    let first = post(1);
    let seconds = first["gateway_unreachable_s"].as_u64().unwrap();
    assert!((2990..3600).contains(&seconds), "{first:#}");
    assert_eq!(first["gateway_induced"], json!(null), "no client crashed");
    assert_eq!(
        post(2)["gateway_unreachable_s"],
        json!(null),
        "it was heard since"
    );
}
