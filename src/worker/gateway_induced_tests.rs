//! A crash of the client that talks to the gateway, while that was not reachable.

use super::tests::{TestWorker, decoder, key, lamp};
use crate::decode::Report;
use crate::decode::report::{Frame, Match, Task};
use crate::ingest::Origin;
use crate::store::coredumps::Source;

/// A report whose crashed task has this function on its stack.
fn report(function: &str) -> Vec<u8> {
    let frames = ["memcpy", function, "app_main"].map(|name| Frame {
        function: Some(name.to_owned()),
        ..Frame::default()
    });
    let crashed = Task {
        crashed: true,
        backtrace: frames.to_vec(),
        ..Task::default()
    };
    let mut report = Report::default();
    report.app.matched = Match::Exact;
    report.tasks.push(crashed);
    serde_json::to_vec(&report).unwrap()
}

#[tokio::test]
async fn a_crash_is_by_the_gateway_if_it_was_away_and_its_client_crashed() {
    for (function, away, expected) in [
        ("esp_http_client_perform", Some(60), true),
        ("esp_http_client_perform", None, false),
        ("read_sensor", Some(60), false),
    ] {
        let mut worker = TestWorker::new();
        let mut origin = Origin::new(key(), Source::Https, "token");
        origin.model = Some(lamp());
        origin.gateway_unreachable_s = away;
        let id = worker.ingest.coredump(b"a dump", origin).unwrap().id;
        let decoder = decoder(1, move || Ok(report(function)));
        worker.round(&decoder).await;
        let sidecar = worker.sidecar(&id);
        assert_eq!(sidecar.gateway_induced, expected, "{function} {away:?}");
        let group = sidecar.crash.unwrap();
        let induced = worker.parts.crashes.with(|register| {
            let members = register.get(&group).unwrap().fingerprints.values();
            members.map(|member| member.gateway_induced()).sum::<u64>()
        });
        assert_eq!(induced, u64::from(expected), "{function} {away:?}");
    }
}
