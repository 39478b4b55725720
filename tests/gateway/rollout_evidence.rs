//! What a rollout concludes from what devices say and show.

use serde_json::{Value, json};

use crate::builds;
use crate::dumps::crash_of_app;
use crate::reload::until;
use crate::rollouts::Site;
use crate::test_gateway::{TestGateway, salted};

fn member(site: &Site, id: &str, key: &str) -> Value {
    let members = site.show(id)["members"].clone();
    let mut members = members.as_array().unwrap().iter();
    let member = members.find(|member| member["device"] == key);
    member.unwrap().clone()
}

/// `k<number>` gets the target whole, boots and says so.
fn takes_it(site: &Site, id: &str, number: usize) {
    let ask = |query: &str| site.device(number, &format!("firmware-version?{query}"));
    assert_eq!(ask("running=1.0&boot_count=1").status, 200);
    assert_eq!(site.device(number, "firmware").status, 200);
    let key = format!("k{number}");
    until("it is delivered", || {
        member(site, id, &key)["state"] == "downloaded"
    });
    assert_eq!(ask("running=2.0&boot_count=2").status, 200);
    until("it runs", || member(site, id, &key)["state"] == "running");
}

#[test]
fn who_says_that_it_runs_the_target_is_not_told_of_the_base_by_the_same_answer() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    assert_eq!(site.offered(1), "2.0");
    assert_eq!(site.command(&id, "pause").status, 200);
    for (number, running, offered) in [
        (1, "1.0", "1.0"),
        (1, "2.0", "2.0"),
        (3, "1.0", "1.0"),
        (3, "2.0", "2.0"),
    ] {
        let answer = site.device(number, &format!("firmware-version?running={running}"));
        assert_eq!(
            answer.json()["firmware_version"],
            offered,
            "k{number} {running}"
        );
    }
    // one was offered it, the other had it
    assert_eq!(member(&site, &id, "k1")["state"], "running");
    assert_eq!(member(&site, &id, "k3")["state"], "has-it");
}

#[test]
fn an_etag_that_fits_anything_shows_nothing() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    assert_eq!(site.device(1, "firmware\r\nIf-None-Match: *").status, 304);
    assert_eq!(site.offered(1), "2.0");
    let state = member(&site, &id, "k1")["state"].clone();
    assert!(state == "downloading" || state == "offered", "{state}");
}

#[test]
fn who_shows_the_target_s_etag_has_it_whatever_its_wave() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    let builds = site.get("/api/builds?model=lamp")["builds"].clone();
    let mut builds = builds.as_array().unwrap().iter();
    let target = builds.find(|build| build["name"] == "2.0").unwrap();
    let etag = target["build_id"].as_str().unwrap()[..32].to_owned();
    assert_eq!(site.offered(4), "1.0");
    let shown = site.device(4, &format!("firmware\r\nIf-None-Match: \"{etag}\""));
    assert_eq!(shown.status, 304);
    assert_eq!(member(&site, &id, "k4")["state"], "has-it");
    // after a stop it gets the base like all others
    let why = json!({ "why": "the relay clicks" });
    assert_eq!(
        site.post(&format!("/api/rollouts/{id}/stop"), &why).status,
        200
    );
    let shown = site.device(4, &format!("firmware\r\nIf-None-Match: \"{etag}\""));
    assert_eq!(shown.status, 200);
}

#[test]
fn a_build_that_is_not_stored_pauses_and_the_base_stops() {
    let site = Site::new();
    let id = site.start(&json!({}))["id"].as_str().unwrap().to_owned();
    takes_it(&site, &id, 1);
    site.device(1, "firmware-version?running=2.0-3-gabc-dirty");
    until("it is paused", || site.state(&id) == "paused");
    assert_eq!(
        site.show(&id)["why"],
        "k1 runs 2.0-3-gabc-dirty, which is not stored here: it says so (running=)"
    );
    assert_eq!(member(&site, &id, "k1")["state"], "running");
    assert_eq!(site.command(&id, "resume").status, 200);
    site.device(1, "firmware-version?running=1.0");
    until("it is stopped", || site.state(&id) == "stopped");
}

#[test]
fn a_dump_of_the_base_that_the_target_sends_is_no_revert() {
    let site = TestGateway::new();
    let get = |path: &str| site.daemon.control(&format!("GET {path}"), b"").json();
    builds::base_and_target(&site);
    let body = json!({ "model": "lamp", "build": "1.1.0", "canary": "k1" });
    site.daemon.manage("POST /api/rollouts", &body);
    assert_eq!(site.device("GET /api/iot/firmware", b"").status, 200);
    let state = || get("/api/rollouts/r1")["members"][0]["state"].clone();
    until("it is delivered", || state() == "downloaded");
    site.device(
        "GET /api/iot/firmware-version?running=1.1.0&boot_count=2",
        b"",
    );
    until("it runs", || state() == "running");
    let crash = salted(crash_of_app(builds::hash("1.0.0")), 1).image(0x0102, true);
    let head = "POST /api/iot/coredump?chip=esp32c3&firmware_version=1.0.0&boot_count=3";
    assert_eq!(site.device(head, &crash).status, 201);
    // what follows from the dump is known when the next evidence is
    site.device("GET /api/iot/firmware-version?running=1.1.0-dirty", b"");
    until("it is paused", || {
        get("/api/rollouts/r1")["state"] == "paused"
    });
    assert_eq!(state(), "running");
    let running = get("/api/devices/k1")["running"].clone();
    assert_eq!(running["version"], "1.1.0-dirty", "{running}");
}
