//! `espgate rollouts`: questions, and what a watched one prints.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use super::*;
use crate::screens::rollouts::site;
use crate::terminal;

fn on(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = daemon::binary();
    command.arg("--data-dir").arg(daemon.data()).args(arguments);
    command
}

fn start(daemon: &Daemon) {
    done(daemon, &["rollouts", "start", "lamp", "2.0", "--yes"]);
}

fn released(daemon: &Daemon) -> u64 {
    let shown = json(daemon, &["rollouts", "show", "--json"]);
    shown["released"].as_u64().unwrap()
}

#[test]
fn who_starts_or_releases_is_asked_on_a_terminal() {
    let daemon = site(&Arc::new(tempfile::tempdir().unwrap()));
    let answer = |arguments: &[&str], typed: &str| {
        let (text, status) = terminal::answered(&mut on(&daemon, arguments), typed);
        assert!(text.contains("2.0"), "{text}");
        status
    };
    let start = ["rollouts", "start", "lamp", "2.0"];
    assert_eq!(answer(&start, "n\n"), 1);
    let list = json(&daemon, &["rollouts", "list", "--json"]);
    assert_eq!(list["rollouts"], serde_json::json!([]));
    assert_eq!(answer(&start, "y\n"), 0);
    assert_eq!(released(&daemon), 2);
    assert_eq!(answer(&["rollouts", "release"], "\n"), 1);
    assert_eq!(released(&daemon), 2);
    assert_eq!(answer(&["rollouts", "release"], "y\n"), 0);
    assert_eq!(released(&daemon), 3);
    assert_eq!(answer(&["rollouts", "finish"], "y\n"), 1);
    assert_eq!(released(&daemon), 3);
    assert_eq!(answer(&["rollouts", "finish"], "lamp\n"), 0);
    assert_eq!(released(&daemon), 6);
}

#[test]
fn a_watched_rollout_is_a_line_for_each_change_until_it_ends() {
    let daemon = site(&Arc::new(tempfile::tempdir().unwrap()));
    start(&daemon);
    let mut watching = on(&daemon, &["rollouts", "show", "--watch"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("r1 canary: "), "{first}");
    done(&daemon, &["rollouts", "cancel"]);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(
        rest.iter().any(|line| line.ends_with(": cancelled")),
        "{rest:?}"
    );
    assert!(
        rest.last().unwrap().starts_with("r1 cancelled: "),
        "{rest:?}"
    );
    assert!(watching.wait().unwrap().success());
}

#[test]
fn several_that_run_have_to_be_told_apart() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let daemon = site(&folder);
    start(&daemon);
    done(&daemon, &["models", "add", "lock"]);
    done(
        &daemon,
        &["devices", "add", "l1", "--model", "lock", "--no-token"],
    );
    for (seed, version) in [(3, "1.0"), (4, "1.1")] {
        let build = firmware::Build {
            version,
            seed,
            ..firmware::Build::of("lock")
        };
        let file = folder.path().join("lock.zip");
        daemon::write(&file, &build.zip());
        done(
            &daemon,
            &["firmware", "add", file.to_str().unwrap(), "--model", "lock"],
        );
        done(&daemon, &["models", "set", "lock", "--activate", "manual"]);
    }
    done(&daemon, &["rollouts", "start", "lock", "1.1", "--yes"]);
    let text = refused(&ask(&daemon, &["rollouts", "pause"]), 1);
    assert!(
        text.contains("r1 (lamp 2.0") && text.contains("r2 (lock 1.1"),
        "{text}"
    );
    done(&daemon, &["rollouts", "pause", "r2"]);
    let states = json(&daemon, &["rollouts", "list", "--json"]);
    assert_eq!(states["rollouts"][0]["state"], "paused");
    assert_eq!(states["rollouts"][1]["state"], "canary");
}
