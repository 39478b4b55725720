//! Devices that go silent, hang up, or say nothing of themselves.

use serde_json::{Value, json};

use crate::client::Client;
use crate::device::Fate;
use crate::site::{BASE, Site, TARGET, fast, key, member, members, mixed};

#[test]
fn a_device_that_goes_silent_after_its_download_pauses_by_name_until_a_person_resumes() {
    let mut site = Site::new();
    site.fleet(10, mixed);
    site.fate(&key(4), Fate::Dies);
    let body = json!({ "return_within": "2s", "watch": "1h" });
    let id = site.start(&fast(body));
    let paused = site.until_state(&id, "paused");
    assert_eq!(members(&paused, "lost"), [key(4)], "{paused:#}");
    let why = paused["why"].as_str().unwrap();
    assert!(why.contains(&key(4)) && why.contains("not heard"), "{why}");
    site.command(&id, "resume");
    let watching = site.until_state(&id, "watching");
    assert_eq!(members(&watching, "soaked").len(), 9, "{watching:#}");
    // somebody went there: it works after all
    site.reset(&key(4));
    site.until(&id, "all are soaked", |rollout| {
        members(rollout, "soaked").len() == 10
    });
    assert!(site.events("RolloutStopped").is_empty());
    site.no_errors();
}

#[test]
fn a_device_that_hangs_up_at_one_place_is_refused_and_keeps_its_base() {
    let mut site = Site::new();
    site.fleet(10, mixed);
    site.fate(&key(4), Fate::HangsUpAt(100_000));
    let id = site.start(&fast(json!({})));
    let done = site.until_state(&id, "done");
    assert_eq!(members(&done, "refused"), [key(4)], "{done:#}");
    assert_eq!(members(&done, "soaked").len(), 9);
    let refused = member(&done, &key(4))["evidence"].as_str().unwrap();
    assert!(refused.contains("partition"), "{refused}");
    assert_eq!(site.seen(&key(4)).begun[TARGET], 3);
    assert!(site.events("RolloutPaused").is_empty());
    site.no_errors();
}

#[test]
fn a_device_that_says_nothing_is_no_success_until_a_person_says_so() {
    let mut site = Site::new();
    let client = |number| match number {
        3 => Client::Mute,
        _ => Client::Asks,
    };
    site.fleet(6, client);
    let body = json!({ "canary": "d01,d02,d03", "waves": "100%" });
    let id = site.start(&fast(body));
    site.until(&id, "it has it", |rollout| {
        member(rollout, &key(3))["state"] == "downloaded"
    });
    site.all_ask_again();
    let waits = site.rollout(&id);
    assert_eq!(waits["state"], "canary", "{waits:#}");
    site.command(&id, "release");
    site.until(&id, "all others", |rollout| {
        members(rollout, "soaked").len() == 5
    });
    let waits = site.rollout(&id);
    assert_eq!(member(&waits, &key(3))["state"], "downloaded", "{waits:#}");
    assert_eq!(site.versions()[TARGET], 6);
    assert!(site.seen(&key(3)).begun.contains_key(BASE));
    assert_eq!(waits["why"], Value::Null);
}

#[test]
fn a_device_that_does_not_take_what_it_was_sent_twice_gets_the_base() {
    let mut site = Site::new();
    site.fleet(6, |_| Client::Asks);
    site.fate(&key(3), Fate::Rejects);
    let id = site.start(&fast(json!({ "waves": "100%" })));
    let done = site.until_state(&id, "done");
    assert_eq!(members(&done, "refused"), [key(3)], "{done:#}");
    assert_eq!(members(&done, "soaked").len(), 5);
    // one more may begin before the second one is known to be delivered
    assert!(matches!(site.seen(&key(3)).begun[TARGET], 2 | 3));
    assert!(site.events("RolloutPaused").is_empty());
}

#[test]
fn an_arduino_board_takes_part_and_one_without_room_does_not() {
    let mut site = Site::new();
    let client = |number| match number {
        2 | 3 => Client::Arduino { free: 1 << 20 },
        5 => Client::Arduino { free: 4096 },
        _ => Client::Asks,
    };
    site.fleet(6, client);
    let id = site.start(&fast(json!({})));
    let done = site.until_state(&id, "done");
    assert_eq!(members(&done, "incompatible"), [key(5)], "{done:#}");
    assert_eq!(members(&done, "soaked").len(), 5);
    site.until_running(TARGET, 5);
    assert_eq!(site.seen(&key(5)).begun.len(), 0);
    assert!(site.events("RolloutPaused").is_empty());
    site.no_errors();
}
