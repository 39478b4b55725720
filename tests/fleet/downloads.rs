//! Who may download what at which time: the cap, what is cut at a stop, pins, late
//! comers, names, and several models.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::Client;
use crate::daemon::{Start, write};
use crate::device::Fate;
use crate::ledger::State;
use crate::link::Link;
use crate::preload::library;
use crate::site::{BASE, Site, TARGET, fast, key, member, mixed};

#[test]
fn no_more_devices_than_allowed_download_at_once_and_the_others_get_the_base() {
    let mut site = Site::new();
    site.fleet(14, mixed);
    let body = json!({ "parallel": 2, "waves": "100%" });
    let id = site.start(&fast(body));
    site.until(&id, "the canaries run it", |rollout| {
        rollout["state"] != "canary" && rollout["state"] != "soaking"
    });
    site.ledger
        .change(|state| state.held = Some(TARGET.to_owned()));
    let in_middle = |state: &State| state.in_middle.get(TARGET).copied();
    site.ledger
        .until("two download", |state| in_middle(state) == Some(2));
    let waiting: BTreeSet<String> = {
        let state = site.ledger.state();
        let devices = state.devices.iter();
        let waiting = devices.filter(|(_, seen)| !seen.begun.contains_key(TARGET));
        waiting.map(|(key, _)| key.clone()).collect()
    };
    let polls = |state: &State| {
        let polls = waiting.iter().map(|key| state.devices[key].polls);
        polls.collect::<Vec<u64>>()
    };
    let before = polls(&site.ledger.state());
    site.ledger.until("the others ask", |state| {
        let now = polls(state);
        before
            .iter()
            .zip(&now)
            .all(|(before, now)| now - before >= 3)
    });
    for key in &waiting {
        let seen = site.seen(key);
        assert_eq!(seen.running, BASE, "{key}");
        assert!(!seen.begun.contains_key(TARGET), "{key}: {seen:?}");
    }
    site.ledger.change(|state| state.held = None);
    site.until_state(&id, "done");
    site.until_running(TARGET, 14);
    assert!(site.ledger.state().most[TARGET] <= 2);
    site.no_errors();
}

/// Reads a response to its end; how many bytes came.
fn drain(link: &mut Link, length: usize) -> (usize, Option<io::ErrorKind>) {
    for count in 0..length {
        if let Err(error) = link.read(1) {
            return (count, Some(error.kind()));
        }
    }
    (length, None)
}

#[test]
fn a_stop_ends_range_sequences_and_responses_that_are_under_way() {
    let mut site = Site::new();
    let silent = |number: usize| match number {
        1 | 2 => Client::Never,
        _ => Client::Asks,
    };
    let tokens = site.fleet(6, silent);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({})));
    let address = site.daemon().address;
    let ca = site.daemon().ca();
    let head = |number: usize, more: &str| {
        let token = &tokens[&key(number)];
        format!("GET /api/iot/firmware\r\nAuthorization: Bearer {token}{more}")
    };
    let target = site.firmware(TARGET).etag.clone();

    let mut ranges = Link::open(address, &ca, None).unwrap();
    let (first, body) = ranges
        .exchange(&head(1, "\r\nRange: bytes=0-65535"), b"")
        .unwrap();
    assert_eq!((first.status, first.etag.as_ref()), (206, Some(&target)));
    assert_eq!(body, site.firmware(TARGET).image[..65536]);

    let mut slow = Link::open(address, &ca, Some(4096)).unwrap();
    let whole = slow.ask(&head(2, ""), b"").unwrap();
    assert_eq!((whole.status, whole.etag.as_ref()), (200, Some(&target)));
    slow.read(1000).unwrap();

    let why = json!({ "why": "seen to smoke" });
    let stopped = site.manage(&format!("POST /api/rollouts/{id}/stop"), &why);
    assert_eq!(stopped["state"], "stopped");
    let more = head(1, "\r\nRange: bytes=65536-131071");
    // the gateway may have closed the connection already
    let mut ranges = Link::open(address, &ca, None).unwrap();
    assert_eq!(ranges.exchange(&more, b"").unwrap().0.status, 404);
    let (came, end) = drain(&mut slow, whole.length - 1000);
    assert!(
        end.is_some() && came < whole.length - 1000,
        "{came} bytes, {end:?}"
    );

    // both have nothing of it that they could run
    for number in [1, 2] {
        let mut link = Link::open(address, &ca, None).unwrap();
        let (answer, body) = link.exchange(&head(number, ""), b"").unwrap();
        assert_eq!(answer.status, 200);
        assert!(body == site.firmware(BASE).image);
    }
    site.nothing_leaked();
}

#[test]
fn pins_late_comers_and_names_are_as_before_until_the_end() {
    let mut site = Site::new();
    let tokens = site.fleet(6, |_| Client::Asks);
    site.manage("PUT /api/devices/d05/pin", &json!({ "version": BASE }));
    site.only(TARGET, [1, 2].map(key));
    let id = site.start(&fast(json!({ "gate": true })));
    site.until_over(&id, 1);
    assert_eq!(member(&site.rollout(&id), &key(5))["state"], "pinned");
    let late = site.device("lamp", "late", Client::Asks);
    site.all_ask_again();

    // the canaries may name it, others not
    let named = format!("GET /api/iot/firmware?version={TARGET}");
    for (token, status) in [
        (&tokens[&key(1)], 200),
        (&tokens[&key(3)], 404),
        (&tokens[&key(5)], 404),
        (&late, 404),
    ] {
        assert_eq!(site.as_device(token, &named).status, status);
    }
    // who is pinned to the target gets it before its wave
    site.only(TARGET, [1, 2, 4].map(key));
    site.manage("PUT /api/devices/d04/pin", &json!({ "version": TARGET }));
    site.ledger.until("d04 is pinned", |state| {
        state.devices[&key(4)].running == TARGET
    });
    site.only(TARGET, [1, 2, 3, 4, 6].map(key));
    site.command(&id, "release");
    site.until_over(&id, 2);
    site.command(&id, "release");
    site.until_state(&id, "watching");
    site.all_ask_again();
    assert_eq!(site.seen(&key(5)).running, BASE);
    assert_eq!(site.seen("late").running, BASE);
    site.only(
        TARGET,
        ["late".to_owned()]
            .into_iter()
            .chain([1, 2, 3, 4, 6].map(key)),
    );
    site.until_state(&id, "done");
    site.ledger.until("the late one", |state| {
        state.devices["late"].running == TARGET
    });
    site.all_ask_again();
    assert_eq!(site.seen(&key(5)).running, BASE, "pinned all the time");
    site.nothing_leaked();
    site.no_errors();
}

#[test]
fn rollouts_of_two_models_go_on_beside_each_other() {
    let mut site = Site::new();
    site.model("pump", &["3.0.0", TARGET]);
    site.fate("p1", Fate::CrashesAtBoot);
    site.device("pump", "p1", Client::Asks);
    site.device("pump", "p2", Client::Ranges);
    site.fleet(6, mixed);
    let lamp = site.start(&fast(json!({})));
    let pump = site.start(&fast(json!({ "model": "pump", "canary": "p1" })));
    let stopped = site.until_state(&pump, "stopped");
    assert!(
        stopped["why"].as_str().unwrap().contains("p1"),
        "{stopped:#}"
    );
    site.until_state(&lamp, "done");
    site.until_running(TARGET, 6);
    assert!(!site.seen("p2").begun.contains_key(TARGET));
    assert_eq!(site.seen("p1").running, "3.0.0");
    site.until_active("lamp", TARGET);
    let pump = site.manage("GET /api/models/pump", &Value::Null);
    assert_eq!(pump["active"], "3.0.0");
    site.no_errors();
}

#[test]
fn an_offer_that_cannot_be_noted_is_not_made() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let gate = folder.path().join("read-only");
    let shim = library("read_only", folder.path());
    let start = Start::on(Arc::clone(&folder), "")
        .environment("LD_PRELOAD", shim.to_str().unwrap())
        .environment("READ_ONLY", gate.to_str().unwrap())
        .environment(
            "READ_ONLY_BELOW",
            folder.path().join("data").to_str().unwrap(),
        );
    let mut site = Site::on(start);
    let tokens = site.fleet(2, |_| Client::Never);
    let id = site.start(&fast(json!({ "canary": "d01" })));
    let ask = |head: &str| site.as_device(&tokens["d01"], head);
    write(&gate, b"");
    assert!(ask("GET /api/iot/firmware").body == site.firmware(BASE).image);
    assert_eq!(member(&site.rollout(&id), "d01")["state"], "eligible");
    std::fs::remove_file(&gate).unwrap();
    assert!(ask("GET /api/iot/firmware").body == site.firmware(TARGET).image);
}

#[test]
fn all_rollouts_together_have_no_more_downloads_than_the_gateway_allows() {
    let mut site = Site::on(Start::new("[rollouts]\nmax_downloads = 3\n"));
    site.model("pump", &[BASE, TARGET]);
    site.fleet(6, |_| Client::Asks);
    for number in 1..=6 {
        site.device("pump", &format!("p{number}"), Client::Asks);
    }
    site.all_ask_again();
    site.ledger
        .change(|state| state.held = Some(TARGET.to_owned()));
    let all = |model: &str, canaries: &str| {
        let body = json!({ "model": model, "canary": canaries });
        site.start(&fast(body))
    };
    let lamp = all("lamp", "d01,d02,d03,d04,d05,d06");
    let pump = all("pump", "p1,p2,p3,p4,p5,p6");
    let in_middle = |state: &State| state.in_middle.get(TARGET).copied();
    site.ledger
        .until("three download", |state| in_middle(state) == Some(3));
    site.rollout(&lamp);
    site.ledger.change(|state| state.held = None);
    for id in [&lamp, &pump] {
        site.until_state(id, "done");
    }
    site.until_running(TARGET, 12);
    assert_eq!(site.ledger.state().most[TARGET], 3);
    site.no_errors();
}
