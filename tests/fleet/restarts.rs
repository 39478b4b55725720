//! The daemon is killed, replaced from a backup, and its clock steps, while a rollout is
//! under way.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::Client;
use crate::daemon::{Start, binary, write};
use crate::device::Fate;
use crate::ledger::State;
use crate::preload::library;
use crate::site::{BASE, Site, TARGET, fast, key, members, mixed};

fn in_middle(state: &State) -> usize {
    state.in_middle.get(TARGET).copied().unwrap_or(0)
}

/// Kills the daemon while so many devices are in the middle of the target.
fn kill_in_the_middle(site: &mut Site, count: usize) {
    site.ledger
        .until("they download", |state| in_middle(state) == count);
    site.kill_and_start();
    site.ledger.change(|state| state.held = None);
}

#[test]
fn a_daemon_that_is_killed_in_every_phase_goes_on_as_before() {
    let mut site = Site::new();
    site.fleet(12, mixed);
    site.only(TARGET, [key(1), key(2)]);
    let hold = |site: &Site| {
        site.ledger
            .change(|state| state.held = Some(TARGET.to_owned()))
    };
    hold(&site);
    let slow = json!({ "gate": true, "canary_soak": "4s", "watch": "4s", "waves": "50%,100%" });
    let id = site.start(&fast(slow));
    kill_in_the_middle(&mut site, 2);
    site.until_state(&id, "soaking");
    site.kill_and_start();
    assert_eq!(site.rollout(&id)["state"], "soaking");
    site.until_over(&id, 1);
    hold(&site);
    site.release_after(&id, 1);
    kill_in_the_middle(&mut site, 4);
    site.release_after(&id, 2);
    site.until_state(&id, "watching");
    site.kill_and_start();
    assert_eq!(site.rollout(&id)["state"], "watching");
    let done = site.until_state(&id, "done");
    assert_eq!(members(&done, "soaked").len(), 12, "{done:#}");
    site.until_active("lamp", TARGET);
    site.kill_and_start();
    site.all_ask_again();
    site.until_running(TARGET, 12);
    assert_eq!(site.rollout(&id)["state"], "done");
    for (event, count) in [
        ("RolloutStarted", 1),
        ("RolloutWave", 3),
        ("RolloutDone", 1),
    ] {
        let events = site.events(event);
        assert_eq!(events.len(), count, "{event}: {events:#?}");
    }
    assert!(site.events("RolloutPaused").is_empty());
    site.nothing_leaked();
    site.no_errors_but_of_connections();
}

#[test]
fn a_stop_is_a_stop_whenever_the_daemon_is_killed() {
    let mut site = Site::new();
    site.fleet(6, |_| Client::Asks);
    site.fate(&key(1), Fate::CrashesAtBoot);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({ "canary_soak": "1h" })));
    site.until_state(&id, "stopped");
    site.only(TARGET, [""; 0]);
    site.kill_and_start();
    let stopped = site.rollout(&id);
    assert_eq!(stopped["state"], "stopped", "{stopped:#}");
    site.until_running(BASE, 6);
    let ended = site.until(&id, "ended", |rollout| !rollout["ended_at"].is_null());
    assert!(members(&ended, "stranded").is_empty(), "{ended:#}");
    site.kill_and_start();
    site.all_ask_again();
    assert_eq!(site.rollout(&id)["state"], "stopped");
    let build = format!("GET /api/builds/{}", site.firmware(TARGET).build_id);
    let blocked = site.manage(&build, &Value::Null)["blocked"]["why"].clone();
    assert!(
        blocked.as_str().is_some_and(|why| why.contains(&id)),
        "{blocked}"
    );
    assert_eq!(site.events("RolloutStopped").len(), 1);
    site.nothing_leaked();
    site.no_errors_but_of_connections();
}

#[test]
fn a_dump_that_was_stored_before_a_kill_is_judged_after_it() {
    let mut site = Site::new();
    site.fleet(6, |_| Client::Asks);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({ "canary_soak": "1h" })));
    site.until_state(&id, "soaking");
    site.crash(&key(1));
    site.ledger.until("its dump is stored", |state| {
        state.devices[&key(1)].dumps == 1
    });
    site.kill_and_start();
    let stopped = site.until_state(&id, "stopped");
    let why = stopped["why"].as_str().unwrap();
    assert!(why.contains("new crash") && why.contains(&key(1)), "{why}");
    site.until_running(BASE, 6);
    site.nothing_leaked();
}

#[test]
fn after_a_restore_nothing_moves_until_a_person_releases_it() {
    let mut site = Site::new();
    site.fleet(8, |_| Client::Asks);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({ "gate": true })));
    site.until_over(&id, 1);
    let folder = site.daemon().folder.path().to_owned();
    let (data, file) = (folder.join("data"), folder.join("backup.zip"));
    let espgate = |arguments: &[&str]| {
        let mut command = binary();
        command.arg("--config").arg(folder.join("espgate.toml"));
        command.arg("--data-dir").arg(&data).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    espgate(&["backup", file.to_str().unwrap()]);
    // what happens after the backup is not known to the restored gateway
    site.release_after(&id, 1);
    site.until_over(&id, 2);
    let running = site.versions();
    site.stop_and_start(|_| {
        std::fs::remove_dir_all(&data).unwrap();
        espgate(&["restore", file.to_str().unwrap()]);
    });
    site.only(TARGET, [""; 0]);
    let paused = site.rollout(&id);
    assert_eq!(paused["state"], "paused", "{paused:#}");
    let why = paused["why"].as_str().unwrap();
    assert!(why.contains("restored from a backup of"), "{why}");
    assert_eq!(
        site.manage("GET /api/models/lamp", &Value::Null)["held"],
        true
    );
    site.all_ask_again();
    assert_eq!(site.versions(), running, "nobody is moved");

    // who took it meanwhile keeps it, and nobody begins
    site.manage("PUT /api/models/lamp", &json!({ "held": false }));
    site.all_ask_again();
    assert_eq!(site.versions(), running, "{:#}", site.rollout(&id));
    site.nothing_leaked();
    site.command(&id, "resume");
    site.only(TARGET, (1..=8).map(key));
    site.command(&id, "finish");
    site.until_state(&id, "done");
    site.until_running(TARGET, 8);
    site.no_errors_but_of_connections();
}

#[test]
fn a_step_of_the_clock_is_no_time_that_passed_and_stops_new_offers() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let step = folder.path().join("step");
    let shim = library("shifted_clock", folder.path());
    let start = Start::on(Arc::clone(&folder), "")
        .environment("LD_PRELOAD", shim.to_str().unwrap())
        .environment("CLOCK_STEP", step.to_str().unwrap());
    let mut site = Site::on(start);
    site.fleet(6, |_| Client::Asks);
    site.only(TARGET, [key(1), key(2)]);
    let id = site.start(&fast(json!({ "canary_soak": "1h", "return_within": "1h" })));
    site.until_state(&id, "soaking");
    write(&step, b"");
    let waits = site.until_state(&id, "waiting");
    assert!(
        waits["why"].as_str().unwrap().contains("clock"),
        "{waits:#}"
    );
    site.all_ask_again();
    let waits = site.rollout(&id);
    assert_eq!(members(&waits, "running"), [key(1), key(2)], "{waits:#}");
    assert_eq!(site.versions()[TARGET], 2);
    // a person may go on with a wave, but nothing is offered for an hour
    site.command(&id, "release");
    site.all_ask_again();
    assert_eq!(site.versions()[TARGET], 2);
    site.nothing_leaked();
    site.no_errors();
}
