//! What /metrics tells: the numbers of the API, of what there is, as
//! docs/monitoring.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::builds::{hash, upload};
use crate::daemon::{Daemon, Start, write};
use crate::dumps::crash_of_app;
use crate::reload::until;
use crate::test_gateway::{TestGateway, salted};

fn text(daemon: &Daemon) -> String {
    String::from_utf8(daemon.request("GET /metrics", b"").body).unwrap()
}

/// The text once the fleet was counted, which is done at the start.
fn counted(daemon: &Daemon) -> String {
    until("the fleet is counted", || {
        text(daemon).contains("\nespgate_fleet_metrics_age_seconds ")
    });
    text(daemon)
}

/// The value of a metric with exactly these labels.
fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    let begin = format!("espgate_{name}{{{}}} ", labels.join(","));
    let line = text.lines().find_map(|line| line.strip_prefix(&begin))?;
    Some(line.parse().unwrap())
}

fn sum(text: &str, name: &str) -> f64 {
    let begin = format!("espgate_{name}{{");
    let lines = text.lines().filter(|line| line.starts_with(&begin));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

fn list(daemon: &Daemon, path: &str, of: &str) -> Vec<Value> {
    let answer = daemon.control(&format!("GET {path}"), b"").json();
    answer[of].as_array().unwrap().clone()
}

/// Board `key` of `lamp` crashes with this version of the application.
fn crash(site: &TestGateway, token: &str, version: &str, salt: u8) {
    let head = format!(
        "POST /api/iot/coredump?chip=esp32&firmware_version={version}\r\nAuthorization: Bearer {token}"
    );
    let dump = salted(crash_of_app(hash(version)), salt).image(0x0102, true);
    assert_eq!(site.daemon.request(&head, &dump).status, 201);
}

fn delete(daemon: &Daemon, path: &str) -> u16 {
    let head = format!("DELETE /api/models/{path}");
    daemon.control(&head, b"").status
}

/// Stops the daemon and starts it again: it counts at its start.
fn again(daemon: Daemon) -> Daemon {
    let folder = Arc::clone(&daemon.folder);
    assert_eq!(daemon.stop(), Some(0));
    Start::on(folder, "").start()
}

#[test]
fn the_numbers_are_those_of_builds_crashes_and_devices_and_go_with_them() {
    let site = TestGateway::new();
    for number in 0..7 {
        upload(&site, &format!("1.{number}.0"));
    }
    let made = site.daemon.manage(
        "POST /api/devices",
        &json!({"device_key": "k2", "model": "lamp"}),
    );
    let k2 = made["token"].as_str().unwrap();
    site.daemon
        .manage("PUT /api/devices/k3", &json!({"model": "lamp"}));
    site.daemon.manage("PUT /api/devices/k4", &json!({}));
    let asks = format!("GET /api/iot/firmware-version?running={}", hash("1.6.0"));
    assert_eq!(site.device(&asks, b"").status, 200);
    crash(&site, k2, "1.6.0", 1);
    crash(&site, k2, "1.6.0", 2);
    crash(&site, k2, "1.0.0", 3);
    until("all is decoded", || {
        let dumps = list(&site.daemon, "/api/coredumps", "coredumps");
        dumps.iter().all(|dump| dump["decode"] != "pending")
    });

    let daemon = again(site.daemon);
    let text = counted(&daemon);
    let builds = list(&daemon, "/api/builds?model=lamp", "builds");
    assert_eq!(builds.len(), 7);
    for build in &builds[..5] {
        let labels = [
            ("model", "lamp"),
            ("version", build["version"].as_str().unwrap()),
            ("build", &build["build_id"].as_str().unwrap()[..8]),
        ];
        let value = |name| value(&text, name, &labels);
        let devices = &build["devices"];
        let runs = devices["exact"].as_f64().unwrap() + devices["likely"].as_f64().unwrap();
        assert_eq!(value("devices"), Some(runs), "{build:#}\n{text}");
        assert_eq!(value("crashes"), build["crashes"].as_f64(), "{build:#}");
        assert_eq!(value("crash_free_ratio"), build["crash_free"].as_f64());
        let behind = build["crash_free_devices"].as_f64().unwrap();
        assert_eq!(value("crash_free_devices").unwrap_or(0.0), behind);
        let hours = value("device_run_seconds").unwrap() / 3600.0;
        assert!((hours - build["device_hours"].as_f64().unwrap()).abs() <= 0.06);
        assert_eq!(value("active_build").is_some(), build["active"] == true);
    }
    let of = |name, build| {
        let labels = [("model", "lamp"), ("version", ""), ("build", build)];
        value(&text, name, &labels)
    };
    assert_eq!(of("crashes", "other"), Some(1.0), "of 1.0.0: {text}");
    assert!(!text.contains("version=\"1.0.0\""), "{text}");
    let groups = list(&daemon, "/api/crashes", "crashes");
    let in_state = |state: &str| {
        let states = groups.iter().map(|group| &group["state"]);
        states.filter(|&is| is == state).count()
    };
    assert!(in_state("open") > 0);
    for state in ["open", "regressed"] {
        let labels = [("model", "lamp"), ("state", state)];
        let count = in_state(state) as f64;
        assert_eq!(value(&text, "crash_groups", &labels), Some(count));
    }
    let occurrences = groups
        .iter()
        .map(|group| group["occurrences"].as_f64().unwrap());
    assert_eq!(sum(&text, "crashes"), occurrences.sum::<f64>());
    let devices = list(&daemon, "/api/devices", "devices").len();
    assert_eq!(sum(&text, "devices"), devices as f64);
    let nobodys = [("model", ""), ("version", ""), ("build", "unknown")];
    assert_eq!(value(&text, "devices", &nobodys), Some(1.0), "k4: {text}");

    // a build that goes takes its labels with it, a model all of them
    assert_eq!(delete(&daemon, "lamp/firmware/1.5.0"), 204);
    let daemon = again(daemon);
    let text = counted(&daemon);
    assert!(!text.contains("version=\"1.5.0\""), "{text}");
    assert!(text.contains("version=\"1.1.0\""), "{text}");
    assert_eq!(delete(&daemon, "lamp/firmware"), 200);
    let folder = Arc::clone(&daemon.folder);
    let register = daemon.data().join("state/models.json");
    assert_eq!(daemon.stop(), Some(0));
    let mut models: Value = serde_json::from_slice(&std::fs::read(&register).unwrap()).unwrap();
    models["models"].as_object_mut().unwrap().clear();
    write(&register, models.to_string().as_bytes());
    let daemon = Start::on(folder, "").start();
    let text = counted(&daemon);
    assert!(!text.contains("lamp"), "{text}");
    let nobodys = [("model", ""), ("state", "open")];
    assert!(value(&text, "crash_groups", &nobodys) > Some(0.0), "{text}");
}

/// A metric: its type, and the names of its labels.
type Kind = (String, BTreeSet<String>);

/// The metrics of a text, by the names that queries have.
fn told(text: &str) -> BTreeMap<String, Kind> {
    let mut found: BTreeMap<String, Kind> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let end = if kind == "counter" { "_total" } else { "" };
            let kind = (kind.to_owned(), BTreeSet::new());
            found.insert(format!("{name}{end}"), kind);
        } else if let Some((name, rest)) = line.split_once('{') {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            let labels = rest.split('}').next().unwrap().split("\",");
            let labels = labels.map(|label| label.split('=').next().unwrap().to_owned());
            let (_, known) = found.get_mut(name).unwrap();
            known.extend(labels.filter(|label| label != "le"));
        }
    }
    found
}

/// The metrics in the tables of a page: `` | `name` | type | `label`, .. | .. | ``.
fn documented(page: &str) -> BTreeMap<String, Kind> {
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `espgate_"));
    let rows = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = format!("espgate_{}", cells[0].trim_end_matches('`'));
        let labels = cells[2].split('`').skip(1).step_by(2);
        let labels = labels.map(str::to_owned).collect();
        (name, (cells[1].to_owned(), labels))
    });
    let mut found = BTreeMap::new();
    for (name, kind) in rows {
        assert_eq!(found.insert(name.clone(), kind), None, "{name} twice");
    }
    found
}

/// Whole names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words = words.filter(|word| word.starts_with("espgate_"));
    words.map(str::to_owned).collect()
}

const PAGE: &str = include_str!("../../docs/monitoring.md");
const ALERTS: &str = include_str!("../../packaging/monitoring/espgate-alerts.yml");
const DASHBOARD: &str = include_str!("../../packaging/monitoring/espgate-dashboard.json");

#[test]
fn the_page_on_monitoring_has_every_metric_with_its_type_and_labels_and_no_other() {
    let site = TestGateway::new();
    upload(&site, "1.0.0");
    let asks = format!("GET /api/iot/firmware-version?running={}", hash("1.0.0"));
    assert_eq!(site.device(&asks, b"").status, 200);
    let told = told(&counted(&again(site.daemon)));
    assert!(told.len() > 30, "{told:#?}");
    assert_eq!(documented(PAGE), told);

    let parts = ["", "_bucket", "_sum", "_count"];
    let known: BTreeSet<String> = told
        .iter()
        .flat_map(|(name, (kind, _))| {
            let parts = if kind == "histogram" {
                &parts[..]
            } else {
                &parts[..1]
            };
            parts.iter().map(move |part| format!("{name}{part}"))
        })
        .collect();
    for (file, text) in [("page", PAGE), ("alerts", ALERTS), ("dashboard", DASHBOARD)] {
        let named = named(text);
        let wrong: Vec<&String> = named.difference(&known).collect();
        assert!(!named.is_empty() && wrong.is_empty(), "{file}: {wrong:?}");
    }
}

#[test]
fn the_page_on_monitoring_explains_every_alert_and_no_other() {
    let alerts = ALERTS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: BTreeSet<&str> = alerts.collect();
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    let explained: BTreeSet<&str> = names.filter(|name| name.starts_with("Espgate")).collect();
    assert!(alerts.len() > 10);
    assert_eq!(explained, alerts);
}
