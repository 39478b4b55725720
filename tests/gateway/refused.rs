//! Uploads that are refused: a device's dump is lost by that, so the journal
//! says it and the metrics count it.

use std::fs;

use serde_json::Value;

use crate::test_gateway::TestGateway;

/// The events of this name so far.
fn events(site: &TestGateway, name: &str) -> Vec<Value> {
    let files = fs::read_dir(site.daemon.data().join("events")).unwrap();
    let text: String = files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == name)
        .collect()
}

#[test]
fn a_refused_upload_is_an_event_with_address_device_and_reason() {
    let site = TestGateway::with("[coredumps]\nmax_upload_bytes = 1024\n");
    let path = "POST /api/iot/coredump?chip=esp32&firmware_version=1";
    let statuses = [
        site.device("POST /api/iot/coredump?chip=esp32", b"x"),
        site.daemon.request(path, b"x"),
        site.device(path, b""),
        site.device(path, &[7; 2000]),
    ]
    .map(|answer| (answer.status, answer.error()));
    assert_eq!(
        statuses.each_ref().map(|(status, _)| *status),
        [400, 401, 400, 400]
    );

    // written by a thread of its own
    let refused = (0..2000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        let refused = events(&site, "UploadRefused");
        (refused.len() >= statuses.len()).then_some(refused)
    });
    let refused = refused.expect("an event for each");
    let devices = refused.iter().map(|event| event["device_key"].as_str());
    let devices: Vec<_> = devices.collect();
    assert_eq!(devices, [None, None, Some("k1"), Some("k1")], "{refused:?}");
    for (event, (_, reason)) in refused.iter().zip(&statuses) {
        let message = event["message"].as_str().unwrap();
        assert!(message.contains("127.0.0.1"), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    // what is kept of the last one is a dump all the same
    assert_eq!(events(&site, "CoredumpUnrecognised").len(), 1);
    let metrics = String::from_utf8(site.daemon.request("GET /metrics", b"").body).unwrap();
    for line in [
        "espgate_refused_uploads_total{status=\"400\"} 3",
        "espgate_refused_uploads_total{status=\"401\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn a_board_that_is_refused_without_end_does_not_fill_the_journal() {
    let site = TestGateway::new();
    for _ in 0..20 {
        let answer = site.post(b"");
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    assert!(events(&site, "UploadRefused").len() < 10);
    let metrics = String::from_utf8(site.daemon.request("GET /metrics", b"").body).unwrap();
    let counted = "espgate_refused_uploads_total{status=\"400\"} 20";
    assert!(metrics.contains(counted), "{metrics}");
}
