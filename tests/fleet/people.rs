//! What people do while a rollout is under way, and what they are spared.

use serde_json::{Value, json};

use crate::client::Client;
use crate::device::Fate;
use crate::ledger::State;
use crate::site::{BASE, Site, TARGET, fast, key, member, members, mixed};

#[test]
fn a_bug_that_the_base_has_too_stops_nothing() {
    let mut site = Site::new();
    site.fleet(6, mixed);
    let id = site.start(&fast(json!({ "gate": true })));
    site.until_over(&id, 1);
    // one that is held crashes by what it runs
    let held = site.order(&id)[4].clone();
    site.crash(&held);
    let stored = |site: &Site, key: &str| {
        let dumps = |state: &State| state.devices[key].dumps == 1;
        site.ledger.until("a dump is stored", dumps);
    };
    stored(&site, &held);
    site.until_event("CrashNew", &held);
    // and then a canary by the same bug in the target
    site.crash(&key(1));
    stored(&site, &key(1));
    site.until(&id, "it is judged", |rollout| {
        let log = rollout["log"].as_array().unwrap().iter();
        log.filter(|entry| entry["device"] == key(1)).count() == 1
    });
    site.release_after(&id, 1);
    site.release_after(&id, 2);
    let done = site.until_state(&id, "done");
    assert_eq!(members(&done, "soaked").len(), 6, "{done:#}");
    assert_eq!(site.events("CrashNew").len(), 1);
    assert!(site.events("RolloutDeviceFailed").is_empty());
    assert!(site.events("RolloutPaused").is_empty());
}

#[test]
fn boards_that_anybody_can_invent_decide_nothing() {
    let mut site = Site::new();
    site.fleet(4, |_| Client::Asks);
    let role = json!({ "name": "all", "role": "fleet", "model": "lamp" });
    let token = site.manage("POST /api/tokens", &role)["token"].clone();
    let token = token.as_str().unwrap();
    for key in ["a1", "a2"] {
        site.board("lamp", key, Client::Asks, token);
        site.fate(key, Fate::CrashesAtBoot);
    }
    site.all_ask_again();
    let canaries = json!({ "canary": 2, "waves": "100%" });
    let id = site.start(&fast(canaries));
    let done = site.until_state(&id, "done");
    for key in ["a1", "a2"] {
        let board = member(&done, key);
        assert_eq!(
            (&board["canary"], &board["votes"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(board["state"], "crashed", "{done:#}");
    }
    assert_eq!(members(&done, "soaked").len(), 4, "{done:#}");
    assert!(site.events("RolloutStopped").is_empty());
}

#[test]
fn devices_that_got_a_stopped_build_may_be_left_with_it() {
    let mut site = Site::new();
    let tokens = site.fleet(6, |_| Client::Asks);
    site.fate(&key(1), Fate::CrashesAtBoot);
    site.only(TARGET, [key(1), key(2)]);
    let body = json!({ "on_stop": "stay", "canary_soak": "1h" });
    let id = site.start(&fast(body));
    site.until_state(&id, "stopped");
    site.all_ask_again();
    // it was told of nothing, or had it before the stop
    let running = site.versions();
    for _ in 0..2 {
        site.all_ask_again();
    }
    assert_eq!(site.versions(), running, "nobody is moved");
    for number in 1..=6 {
        let answer = site.as_device(&tokens[&key(number)], "GET /api/iot/firmware");
        let got_it = site.seen(&key(number)).flashed.contains(&TARGET.to_owned());
        assert_eq!(answer.status, if got_it { 404 } else { 200 }, "{number}");
    }
    // a build that is made active is for all
    site.upload("lamp", "3.0.0");
    let next = site.start(&fast(json!({ "build": "3.0.0" })));
    site.until_state(&next, "done");
    site.until_running("3.0.0", 6);
    site.nothing_leaked();
}

#[test]
fn a_hold_stands_still_and_a_block_takes_back() {
    let mut site = Site::new();
    site.fleet(8, |_| Client::Asks);
    let id = site.start(&fast(json!({ "gate": true })));
    site.until_over(&id, 1);
    site.manage("PUT /api/models/lamp", &json!({ "held": true }));
    let paused = site.rollout(&id);
    assert_eq!(paused["state"], "paused", "{paused:#}");
    let running = site.versions();
    site.all_ask_again();
    assert_eq!(site.versions(), running, "a held model serves nothing");
    site.manage("PUT /api/models/lamp", &json!({ "held": false }));
    site.command(&id, "resume");
    site.release_after(&id, 1);
    site.until_over(&id, 2);
    let why = json!({ "why": "smells of smoke" });
    let build = &site.firmware(TARGET).build_id;
    site.manage(&format!("PUT /api/models/lamp/blocked/{build}"), &why);
    let stopped = site.rollout(&id);
    assert_eq!(stopped["state"], "stopped", "{stopped:#}");
    assert!(stopped["why"].as_str().unwrap().contains("smells of smoke"));
    site.only(TARGET, [""; 0]);
    site.until_running(BASE, 8);
    let ended = site.until(&id, "ended", |rollout| !rollout["ended_at"].is_null());
    assert_eq!(members(&ended, "back").len(), 4, "{ended:#}");
    let blocked = site.manage(&format!("GET /api/builds/{build}"), &Value::Null);
    assert_eq!(blocked["blocked"]["why"], "smells of smoke");
    site.nothing_leaked();
    site.no_errors();
}

#[test]
fn a_pause_holds_over_a_kill_and_a_finish_can_be_taken_back() {
    let mut site = Site::new();
    site.fleet(12, |_| Client::Asks);
    site.only(TARGET, [key(1), key(2)]);
    let slow = json!({ "gate": true, "parallel": 1, "waves": "50%,100%" });
    let id = site.start(&fast(slow));
    site.until_over(&id, 1);
    site.only(TARGET, (1..=12).map(key));
    site.ledger
        .change(|state| state.held = Some(TARGET.to_owned()));
    site.command(&id, "finish");
    site.ledger.until("one downloads", |state| {
        state.in_middle.get(TARGET) == Some(&1)
    });
    site.command(&id, "pause");
    site.only(TARGET, [""; 0]);
    site.ledger.change(|state| state.held = None);
    // what is under way is finished, nothing is begun
    site.until_running(TARGET, 3);
    site.kill_and_start();
    assert_eq!(site.rollout(&id)["state"], "paused");
    site.all_ask_again();
    assert_eq!(site.versions()[TARGET], 3);
    site.nothing_leaked();
    site.command(&id, "resume");
    site.all_ask_again();
    assert_eq!(site.versions()[TARGET], 3, "the finish was taken back");
    site.only(TARGET, (1..=12).map(key));
    site.command(&id, "finish");
    site.until_state(&id, "done");
    site.until_running(TARGET, 12);
}
