//! Crash groups: one bug on two boards and in two builds is one line; resolved by a
//! fix, back with a newer build; each is told once.

use serde_json::{Value, json};

use espgate::digest::Sha256;

use crate::daemon::{Daemon, Start};
use crate::dumps::crash_of_app;
use crate::firmware_files::{Build, Image, zip};
use crate::reload::until;
use crate::test_gateway::{TestGateway, dump, salted};

const APP: &[u8] = include_bytes!("../data/app.elf");

/// The application, built again: the same code under another hash.
fn app(version: &str) -> Vec<u8> {
    [APP, version.as_bytes()].concat()
}

fn upload(site: &TestGateway, version: &str) {
    let elf = app(version);
    let image = Image {
        elf: &elf,
        chip_id: 5,
        version,
        ..Image::default()
    };
    let build = Build {
        version,
        chip_id: 5,
        ..Build::of("lamp")
    };
    let mut files = build.files();
    files[0].1 = image.build();
    files[1].1 = elf.clone();
    let answer = site.upload(&zip(&files));
    let words = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{words}");
}

/// A board that posts dumps of the application.
struct Board<'a> {
    site: &'a TestGateway,
    token: String,
    salt: std::cell::Cell<u8>,
}

impl<'a> Board<'a> {
    fn new(site: &'a TestGateway, key: &str) -> Self {
        let device = json!({ "device_key": key, "model": "lamp" });
        let made = site.daemon.manage("POST /api/devices", &device);
        Self {
            site,
            token: made["token"].as_str().unwrap().to_owned(),
            salt: std::cell::Cell::new(0),
        }
    }

    /// Posts a dump of this version; its sidecar once it is decoded.
    fn crashes(&self, version: &str) -> Value {
        self.salt.set(self.salt.get() + 1);
        let hash = Sha256::of(&app(version)).short(9).leak();
        let dump = salted(crash_of_app(hash), self.salt.get()).image(0x0102, true);
        let head = format!(
            "POST /api/iot/coredump?chip=esp32&firmware_version={version}\r\nAuthorization: Bearer {}",
            self.token
        );
        let answer = self.site.daemon.request(&head, &dump);
        assert_eq!(answer.status, 201);
        let id = answer.json()["coredump_id"].as_str().unwrap().to_owned();
        until("it is decoded", || self.sidecar(&id)["decode"] != "pending");
        self.sidecar(&id)
    }

    fn sidecar(&self, id: &str) -> Value {
        let head = format!("GET /api/coredumps/{id}");
        self.site.daemon.control(&head, b"").json()
    }
}

fn get(daemon: &Daemon, path: &str) -> Value {
    daemon.control(&format!("GET {path}"), b"").json()
}

fn groups(daemon: &Daemon) -> Vec<Value> {
    get(daemon, "/api/crashes")["crashes"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn one_bug_is_one_line_resolved_by_a_fix_and_back_with_a_later_build() {
    let site = TestGateway::new();
    upload(&site, "1.0.0");
    upload(&site, "1.1.0");
    let (one, two) = (Board::new(&site, "board1"), Board::new(&site, "board2"));
    let first = one.crashes("1.0.0");
    let second = two.crashes("1.1.0");
    assert_eq!(first["crash"], second["crash"], "{first:#} {second:#}");
    let id = first["crash"].as_str().unwrap();
    let listed = groups(&site.daemon);
    assert_eq!(listed.len(), 1, "{listed:#?}");
    let group = &listed[0];
    assert_eq!(group["id"], id);
    assert_eq!(
        group["signature"],
        "exception LoadAccessFault | crash | check | visit"
    );
    for (field, value) in [
        ("devices", 2),
        ("builds", 2),
        ("occurrences", 2),
        ("dumps", 2),
    ] {
        assert_eq!(group[field], value, "{field}: {group:#}");
    }
    site.daemon.wait_for_event("CrashNew", id);
    let detail = get(&site.daemon, &format!("/api/crashes/{id}"));
    assert_eq!(detail["builds"].as_array().unwrap().len(), 2);
    assert_eq!(detail["builds"][0]["version"], "1.1.0");
    assert_eq!(detail["devices"][0]["device_key"], "board1");
    assert_eq!(detail["coredumps"][0]["id"], second["id"]);
    // every dump's own event names it
    let stored = site.daemon.events("CoredumpDecoded");
    assert!(
        stored.iter().all(|event| event["crash"] == id),
        "{stored:#?}"
    );

    let resolved = site.daemon.manage(
        &format!("PUT /api/crashes/{id}"),
        &json!({"state": "resolved"}),
    );
    assert_eq!(resolved["state"], "resolved");
    assert_eq!(resolved["resolved_builds"].as_array().unwrap().len(), 2);
    // old builds still crash
    two.crashes("1.0.0");
    assert_eq!(groups(&site.daemon)[0]["state"], "resolved");
    assert_eq!(groups(&site.daemon)[0]["occurrences"], 3);
    assert_eq!(site.daemon.events("CrashRegressed").len(), 0);
    // the fix did not hold
    upload(&site, "1.2.0");
    one.crashes("1.2.0");
    let event = site.daemon.wait_for_event("CrashRegressed", id);
    assert_eq!(event["device_key"], "board1");
    assert_eq!(groups(&site.daemon)[0]["state"], "regressed");
    one.crashes("1.2.0");
    two.crashes("1.2.0");
    assert_eq!(site.daemon.events("CrashNew").len(), 1);
    assert_eq!(site.daemon.events("CrashRegressed").len(), 1);
    for event in ["CrashNew", "CrashRegressed"] {
        assert_eq!(
            site.daemon.events(event)[0]["event_id"]
                .as_str()
                .unwrap()
                .len(),
            32
        );
    }
    // and another decision
    let change = json!({"state": "resolved", "in": "1.2.0", "note": "watchdog"});
    let again = site
        .daemon
        .manage(&format!("PUT /api/crashes/{id}"), &change);
    assert_eq!(
        (&again["state"], &again["note"]),
        (&json!("resolved"), &json!("watchdog"))
    );
    assert_eq!(again["resolved_builds"].as_array().unwrap().len(), 2);
}

#[test]
fn groups_and_decisions_outlive_dumps_kills_and_damaged_files() {
    let site = TestGateway::new();
    upload(&site, "1.0.0");
    let board = Board::new(&site, "board1");
    let dump = board.crashes("1.0.0");
    let id = dump["crash"].as_str().unwrap().to_owned();
    site.daemon.wait_for_event("CrashNew", &id);
    site.daemon.manage(
        &format!("PUT /api/crashes/{id}"),
        &json!({"state": "ignored", "note": "known"}),
    );
    let removed = site.daemon.control(
        &format!("DELETE /api/coredumps/{}", dump["id"].as_str().unwrap()),
        b"",
    );
    assert_eq!(removed.status, 204);
    let folder = std::sync::Arc::clone(&site.daemon.folder);
    let data = site.daemon.data();
    let TestGateway { daemon, .. } = site;
    daemon.stop();
    crate::daemon::write(&data.join(format!("crashes/{id}.json")), b"{");

    let daemon = Start::on(folder, "").start();
    until("the group is there again", || !groups(&daemon).is_empty());
    let group = &groups(&daemon)[0];
    assert_eq!(
        (&group["id"], &group["state"]),
        (&json!(id), &json!("ignored"))
    );
    assert_eq!(
        group["signature"],
        "exception LoadAccessFault | crash | check | visit"
    );
    assert_eq!(
        (&group["occurrences"], &group["dumps"]),
        (&json!(1), &json!(0))
    );
    let detail = get(&daemon, &format!("/api/crashes/{id}"));
    assert_eq!(detail["note"], "known");
    assert!(detail["builds"][0]["build_id"].is_string(), "{detail:#}");
}

#[test]
fn merged_groups_redirect_and_split_ones_are_apart() {
    let site = TestGateway::new();
    upload(&site, "1.0.0");
    let (one, two) = (Board::new(&site, "board1"), Board::new(&site, "board2"));
    let known = one.crashes("1.0.0");
    // no ELF of this build
    let unknown = two.crashes("9.9.9");
    let (a, b) = (
        known["crash"].as_str().unwrap(),
        unknown["crash"].as_str().unwrap(),
    );
    assert_ne!(a, b);
    let merged = site
        .daemon
        .manage(&format!("POST /api/crashes/{b}/merge"), &json!({"into": a}));
    assert_eq!(
        (&merged["id"], &merged["occurrences"]),
        (&json!(a), &json!(2))
    );
    let moved = site.daemon.control(&format!("GET /api/crashes/{b}"), b"");
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some(format!("/api/crashes/{a}").as_str()))
    );
    let dump = unknown["id"].as_str().unwrap();
    let split = site.daemon.manage(
        &format!("POST /api/crashes/{a}/split"),
        &json!({"coredump": dump}),
    );
    assert_ne!(split["id"], a);
    assert_eq!(split["split_from"], a);
    assert_eq!(groups(&site.daemon).len(), 2);
    for (request, body, status) in [
        (
            format!("POST /api/crashes/{a}/merge"),
            json!({"into": a}),
            409,
        ),
        (
            format!("POST /api/crashes/{a}/merge"),
            json!({"into": "c00000"}),
            404,
        ),
        (format!("POST /api/crashes/{a}/merge"), json!({}), 400),
        (format!("POST /api/crashes/{a}/split"), json!({}), 400),
        (
            format!("POST /api/crashes/{a}/split"),
            json!({"coredump": dump}),
            409,
        ),
        (
            format!("POST /api/crashes/{a}/split"),
            json!({"coredump": "nosuch"}),
            404,
        ),
        (
            format!("PUT /api/crashes/{a}"),
            json!({"state": "regressed"}),
            400,
        ),
        (
            format!("PUT /api/crashes/{a}"),
            json!({"state": "ignored", "until": "soon"}),
            400,
        ),
        (format!("PUT /api/crashes/{a}"), json!({}), 400),
        (
            String::from("PUT /api/crashes/nosuch"),
            json!({"state": "open"}),
            404,
        ),
    ] {
        let answer = site.daemon.control(&request, body.to_string().as_bytes());
        assert_eq!(
            answer.status,
            status,
            "{request} {body}: {}",
            answer.error()
        );
    }
}

#[test]
fn what_the_model_s_other_counts_has_its_dumps() {
    let site = TestGateway::new();
    let board = Board::new(&site, "board1");
    let ids: Vec<String> = (0..22)
        .map(|n| {
            board.crashes(&format!("1.0.{n}"))["id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let groups = groups(&site.daemon);
    let other = groups
        .iter()
        .find(|group| group["class"] == "other")
        .unwrap();
    assert_eq!(
        (&other["occurrences"], &other["dumps"]),
        (&json!(2), &json!(2))
    );
    let id = other["id"].as_str().unwrap();
    let shown = site
        .daemon
        .control(&format!("GET /api/crashes/{id}"), b"")
        .json();
    let listed = site
        .daemon
        .control(&format!("GET /api/coredumps?crash={id}"), b"")
        .json();
    for coredumps in [&shown["coredumps"], &listed["coredumps"]] {
        let found: Vec<&str> = coredumps
            .as_array()
            .unwrap()
            .iter()
            .map(|dump| dump["id"].as_str().unwrap())
            .collect();
        assert_eq!(found, [ids[21].as_str(), ids[20].as_str()]);
    }
}

#[test]
fn a_reset_that_leaves_no_dump_is_a_crash_once() {
    let site = TestGateway::new();
    let reports = [
        ("boot_count=1&reset_reason=ESP_RST_BROWNOUT", 0),
        ("boot_count=2&reset_reason=ESP_RST_BROWNOUT", 1),
        // the same boot
        ("boot_count=2&reset_reason=ESP_RST_BROWNOUT&uptime_s=5", 1),
        // its dump comes, or its words on the console
        ("boot_count=3&reset_reason=panic", 1),
        ("boot_count=4&reset_reason=brownout", 2),
        ("reset_reason=brownout", 2),
    ];
    for (report, occurrences) in reports {
        let head = format!("GET /api/iot/firmware-version?running=1.0&{report}");
        assert_eq!(site.device(&head, b"").status, 200);
        let groups = groups(&site.daemon);
        let counted = groups
            .first()
            .map_or(json!(0), |group| group["occurrences"].clone());
        assert_eq!(counted, json!(occurrences), "{report}");
    }
    let groups = groups(&site.daemon);
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0]["class"], "no_dump brownout");
    assert_eq!(groups[0]["signature"], "no_dump brownout");
    // told with the next dump, or within a minute
    site.post(&dump(1));
    site.daemon.wait_for_event("CrashNew", "no_dump brownout");
}
