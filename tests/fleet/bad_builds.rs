//! Builds that crash, or that bootloaders take back: who stops them, and how far they get.

use serde_json::{Value, json};

use crate::client::Client;
use crate::device::Fate;
use crate::ledger::State;
use crate::site::{BASE, Site, TARGET, fast, key, member, members, mixed};

/// The target is blocked, and its refusal is the same for all.
fn is_blocked(site: &Site, tokens: impl Iterator<Item = impl AsRef<str>>) -> Value {
    for token in tokens {
        let head = format!("GET /api/iot/firmware?version={TARGET}");
        assert_eq!(site.as_device(token.as_ref(), &head).status, 404);
    }
    let build = &site.firmware(TARGET).build_id;
    let build = site.manage(&format!("GET /api/builds/{build}"), &Value::Null);
    build["blocked"]["why"].clone()
}

#[test]
fn a_build_that_crashes_at_boot_stops_at_the_canaries() {
    let mut site = Site::new();
    let tokens = site.fleet(20, mixed);
    for key in tokens.keys() {
        site.fate(key, Fate::CrashesAtBoot);
    }
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({})));
    let stopped = site.until_state(&id, "stopped");
    site.until_running(BASE, 20);
    let ended = site.until(&id, "ended", |rollout| !rollout["ended_at"].is_null());
    site.nothing_leaked();

    let groups = site.manage("GET /api/crashes", &Value::Null);
    let groups = groups["crashes"].as_array().unwrap().clone();
    assert_eq!(groups.len(), 1, "{groups:#?}");
    let group = groups[0]["id"].as_str().unwrap();
    let events = site.events("RolloutStopped");
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["crash"], *group, "{stopped:#}");
    let why = stopped["why"].as_str().unwrap();
    assert!(why.contains(group) && why.contains("canary"), "{why}");
    let blocked = is_blocked(&site, tokens.values());
    assert!(blocked.as_str().unwrap().contains(&id), "{blocked}");

    for (number, token) in (1..).zip(tokens.values()) {
        let seen = site.seen(&key(number));
        let got = seen.begun.contains_key(TARGET);
        assert!(number <= 2 || !got, "{seen:?}");
        let answer = site.as_device(token, "GET /api/iot/firmware-version");
        assert_eq!(answer.json()["firmware_version"], BASE);
    }
    assert!(members(&ended, "stranded").is_empty(), "{ended:#}");
    assert!(!members(&ended, "back").is_empty(), "{ended:#}");
    assert_eq!(site.events("RolloutBack").len(), 1);
    assert_eq!(site.events("RolloutWave").len(), 1);
    // as if nothing had happened: another build can go out
    site.upload("lamp", "3.0.0");
    let next = site.start(&fast(json!({ "build": "3.0.0" })));
    site.until_state(&next, "done");
    site.until_running("3.0.0", 20);
    site.no_errors();
}

#[test]
fn a_build_that_crashes_while_it_runs_is_taken_back_from_the_canaries() {
    let mut site = Site::new();
    site.fleet(6, |_| Client::Asks);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({ "canary_soak": "1h" })));
    site.until_state(&id, "soaking");
    site.crash(&key(1));
    site.until_state(&id, "stopped");
    site.until_running(BASE, 6);
    let ended = site.until(&id, "ended", |rollout| !rollout["ended_at"].is_null());
    assert_eq!(members(&ended, "back"), [key(1), key(2)]);
    assert_eq!(
        site.seen(&key(2)).flashed,
        [TARGET, BASE],
        "the healthy one too"
    );
    site.nothing_leaked();
}

#[test]
fn a_crash_in_a_later_wave_pauses_and_one_more_after_a_resume_ends_it() {
    let mut site = Site::new();
    site.fleet(20, mixed);
    site.only(TARGET, [key(1), key(2)]);
    let body = json!({ "waves": "60%,100%", "soak": "1h", "gate": true });
    let id = site.start(&fast(body));
    site.release_after(&id, 1);
    site.until(&id, "wave 2 runs it", |rollout| {
        members(rollout, "running").len() == 10
    });
    let order = site.order(&id);
    let (bad, next) = (order[4].clone(), order[8].clone());
    site.crash(&bad);
    let paused = site.until_state(&id, "paused");
    assert_eq!(
        members(&paused, "crashed"),
        std::slice::from_ref(&bad),
        "{paused:#}"
    );
    let why = paused["why"].as_str().unwrap().to_owned();
    assert!(why.contains(&bad) && why.contains("1 of 12"), "{why}");
    // it goes back at once, who runs it goes on, and nobody begins
    let goes_back = |state: &State| state.devices[&bad].running == BASE;
    site.ledger.until("the bad one goes back", goes_back);
    site.all_ask_again();
    assert_eq!(site.versions()[TARGET], 11);
    assert_eq!(site.rollout(&id)["state"], "paused");

    site.command(&id, "resume");
    site.all_ask_again();
    assert_eq!(site.versions()[TARGET], 11);
    assert_eq!(site.rollout(&id)["state"], "wave 2");
    site.crash(&next);
    let ended = site.until(&id, "one more", |rollout| {
        ["paused", "stopped"]
            .iter()
            .any(|state| rollout["state"] == *state)
    });
    assert_eq!(members(&ended, "crashed"), [bad, next], "{ended:#}");
    site.nothing_leaked();
    site.no_errors();
}

#[test]
fn a_board_that_failed_keeps_the_base_when_the_target_is_active() {
    let mut site = Site::new();
    site.fleet(6, |_| Client::Asks);
    site.fate(&key(6), Fate::RollsBack);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({ "waves": "100%" })));
    let paused = site.until_state(&id, "paused");
    assert_eq!(members(&paused, "reverted"), [key(6)], "{paused:#}");
    site.command(&id, "resume");
    site.until_active("lamp", TARGET);
    let head = format!("GET /api/devices/{}", key(6));
    let device = site.daemon().control(&head, b"").json();
    assert_eq!(device["pin"], BASE, "{device:#}");
    site.all_ask_again();
    site.until_running(TARGET, 5);
    assert_eq!(site.seen(&key(6)).running, BASE);
    let summary = site.rollout(&id)["summary"].to_string();
    assert!(summary.contains(&key(6)), "{summary}");
}

#[test]
fn two_crashes_in_a_later_wave_stop() {
    let mut site = Site::new();
    site.fleet(20, mixed);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({ "gate": true })));
    for key in &site.order(&id)[4..6] {
        site.fate(key, Fate::CrashesAtBoot);
    }
    site.release_after(&id, 1);
    let stopped = site.until(&id, "stopped", |rollout| rollout["state"] == "stopped");
    let why = stopped["why"].as_str().unwrap();
    assert!(
        why.contains("new crash") && why.contains("2 of 10"),
        "{why}"
    );
    site.until_running(BASE, 20);
    let ended = site.until(&id, "ended", |rollout| !rollout["ended_at"].is_null());
    assert_eq!(members(&ended, "back").len(), 10, "{ended:#}");
    site.nothing_leaked();
}

#[test]
fn a_bootloader_that_goes_back_is_found_without_a_dump() {
    let mut site = Site::new();
    site.fleet(6, |_| Client::Asks);
    site.fate(&key(2), Fate::RollsBack);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({ "canary_soak": "1h" })));
    let stopped = site.until_state(&id, "stopped");
    let why = stopped["why"].as_str().unwrap();
    assert!(why.contains(BASE) && why.contains(&key(2)), "{why}");
    let failed = site.events("RolloutDeviceFailed");
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0]["device_key"], key(2));
    let ended = site.until(&id, "ended", |rollout| !rollout["ended_at"].is_null());
    assert_eq!(member(&ended, &key(2))["state"], "back", "{ended:#}");
    site.until_running(BASE, 6);
    site.nothing_leaked();
}

#[test]
fn a_build_that_boots_again_and_again_stops_without_a_dump() {
    let mut site = Site::new();
    site.fleet(6, |_| Client::Asks);
    site.fate(&key(1), Fate::Loops);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({ "canary_soak": "1h" })));
    let stopped = site.until_state(&id, "stopped");
    assert_eq!(members(&stopped, "looping"), [key(1)], "{stopped:#}");
    site.until_running(BASE, 6);
    site.nothing_leaked();
}
