//! Builds that work.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::Client;
use crate::site::{BASE, Site, TARGET, fast, key, members, mixed};

#[test]
fn a_good_build_reaches_all_devices_whatever_their_client() {
    let mut site = Site::new();
    site.fleet(20, mixed);
    let id = site.start(&fast(json!({ "soak": "1s" })));
    let done = site.until_state(&id, "done");
    assert_eq!(members(&done, "soaked").len(), 20, "{done:#}");
    assert_eq!(site.versions(), BTreeMap::from([(TARGET.to_owned(), 20)]));
    site.until_active("lamp", TARGET);
    let model = site.manage("GET /api/models/lamp", &Value::Null);
    assert_eq!(model["previous"], json!([BASE]));
    for (event, count) in [
        ("RolloutStarted", 1),
        ("RolloutWave", 3),
        ("RolloutDone", 1),
        ("RolloutPaused", 0),
        ("RolloutStopped", 0),
        ("RolloutDeviceFailed", 0),
    ] {
        let events = site.events(event);
        assert_eq!(events.len(), count, "{event}: {events:#?}");
        assert!(
            events.iter().all(|event| event["rollout"] == *id),
            "{events:#?}"
        );
    }
    site.all_ask_again();
    for number in 1..=20 {
        assert_eq!(site.seen(&key(number)).flashed, [TARGET]);
    }
    site.no_errors();
}

#[test]
fn boots_before_the_update_are_no_boot_loop() {
    let mut site = Site::new();
    site.fleet(4, |_| Client::Asks);
    for boots in 1..=2 {
        site.reset(&key(1));
        site.ledger
            .until("it boots", |state| state.devices[&key(1)].resets == boots);
        site.all_ask_again();
    }
    let id = site.start(&fast(json!({})));
    let done = site.until_state(&id, "done");
    assert_eq!(members(&done, "soaked").len(), 4, "{done:#}");
    let device = site.manage("GET /api/devices/d01", &Value::Null);
    assert_eq!(device["boots_today"], 3, "{device:#}");
}
