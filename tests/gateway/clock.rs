//! A wall clock that cannot be right: boards get in and dumps are stored, marked
//! as what they are.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::daemon::Start;
use crate::preload::library;
use crate::test_gateway::{TestGateway, dump};

/// Seconds since 1970 of a year's first of July, and the year.
const CLOCKS: [(i64, &str); 4] = [
    (-15_897_600, "1969"),
    (15_638_400, "1970"),
    (1_593_561_600, "2020"),
    (10_429_430_400, "2300"),
];

fn events(site: &TestGateway) -> Vec<Value> {
    let mut events = Vec::new();
    for entry in std::fs::read_dir(site.daemon.data().join("events")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        events.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    events
}

#[test]
fn whatever_the_clock_says_boards_are_served_and_nothing_counts_as_synced() {
    for (seconds, year) in CLOCKS {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let start = Start::on(Arc::clone(&folder), "")
            .environment(
                "LD_PRELOAD",
                library("shifted_clock", folder.path()).to_str().unwrap(),
            )
            .environment("CLOCK_AT", &seconds.to_string());
        let site = TestGateway::on(start.start());
        // this client's clock is right: the certificate has to be valid for it
        for salt in 0..3 {
            let answer = site.post(&dump(salt));
            assert_eq!(answer.status, 201, "{year}: {answer:?}");
            assert_eq!(answer.header("date"), None, "{year}");
            let name = answer.json()["filename"].as_str().unwrap().to_owned();
            assert!(name.starts_with(&format!("coredump_{year}0701T")), "{name}");
            let sidecar = site.daemon.data().join("coredumps/k1").join(name);
            let sidecar = std::fs::read(sidecar.with_extension("json")).unwrap();
            let sidecar: Value = serde_json::from_slice(&sidecar).unwrap();
            assert_eq!(sidecar["clock"], "unsynced", "{year}");
        }
        let made = site.daemon.manage(
            "POST /api/tokens",
            &json!({ "name": "anna", "role": "viewer", "expires": "365d" }),
        );
        let anna = format!("Authorization: Bearer {}", made["token"].as_str().unwrap());
        let status = format!("GET /api/status\r\n{anna}");
        let answer = site.daemon.request(&status, b"");
        assert_eq!(answer.status, 200, "{year}");
        assert_eq!(answer.json()["clock"], "unsynced", "{year}");
        let metrics = site.daemon.request("GET /metrics", b"");
        let metrics = String::from_utf8(metrics.body).unwrap();
        assert!(
            metrics.contains("\nespgate_clock_synced 0\n"),
            "{year}: {metrics}"
        );
        assert!(
            events(&site).iter().any(|e| e["event"] == "ClockUnsynced"),
            "{year}"
        );
        let said = site.daemon.journal();
        assert!(!said.contains("panic"), "{year}: {said}");
        assert_eq!(site.daemon.stop(), Some(0), "{year}");

        // once the clock is right, the certificate and the token last
        let again = Start::on(Arc::clone(&folder), "").start();
        let answer = again.request(&status, b"");
        assert_eq!(answer.status, 200, "{year}");
        assert!(answer.header("date").is_some(), "{year}");
        let renewed = again.events("CertificateMade");
        assert!(renewed.is_empty(), "{year}: {renewed:?}");
    }
}
