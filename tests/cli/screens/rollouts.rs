//! A rollout as people see it: before it starts, while it runs, paused, stopped.

use std::sync::Arc;

use super::*;

/// Times of the day, and what is left of a soak.
fn rollout<R>(show: impl FnOnce() -> R) -> R {
    let mut settings = insta::Settings::clone_current();
    let time = r"(\d{4}-\d\d-\d\d )?(\d\d-\d\d )?\d\d:\d\d(:\d\d)?";
    settings.add_filter(&format!(r"\b{time}\b"), "[TIME]");
    settings.add_filter(r"(1d|\d+h\d+m) left", "[LEFT] left");
    // lines are broken by the length of the user's number
    settings.add_filter(
        r#"(?s)by uid \d+\. Devices that.{1,150}?TEXT"\."#,
        "[SENTENCE]",
    );
    settings.add_filter(r" {2,}", "  ");
    settings.bind(show)
}

/// A daemon with devices `k1` to `k6` of model `lamp`, which runs 1.0 and has 2.0.
pub(crate) fn site(folder: &Arc<tempfile::TempDir>) -> Daemon {
    let daemon = Start::on(Arc::clone(folder), OPEN).start();
    done(&daemon, &["models", "add", "lamp"]);
    for key in ["k1", "k2", "k3", "k4", "k5", "k6"] {
        done(
            &daemon,
            &["devices", "add", key, "--model", "lamp", "--no-token"],
        );
    }
    for (seed, version) in [(1, "1.0"), (2, "2.0")] {
        let build = firmware::Build {
            version,
            seed,
            ..firmware::Build::of("lamp")
        };
        let file = folder.path().join(format!("{version}.zip"));
        daemon::write(&file, &build.zip());
        done(
            &daemon,
            &["firmware", "add", file.to_str().unwrap(), "--model", "lamp"],
        );
        done(&daemon, &["models", "set", "lamp", "--activate", "manual"]);
    }
    daemon
}

fn device(daemon: &Daemon, path: &str) {
    let answer = daemon.request(&format!("GET /api/iot/{path}"), b"");
    assert_eq!(answer.status, 200, "{path}");
}

#[test]
fn rollouts() {
    let folder = Arc::new(folder());
    let daemon = site(&folder);
    let start = ["rollouts", "start", "lamp", "2.0", "--canary", "k1,k2"];
    let with = |more: &[&'static str]| [&start[..], more].concat();
    let mut screens = Screens::of(folder.path());
    screens
        .show(&["rollouts", "list"])
        .show(&["rollouts", "show"])
        .show(&["rollouts", "pause"])
        .show(&with(&["--dry-run", "--window", "01:00-05:00", "--gate"]))
        .show(&start)
        .show(&with(&["--soak", "soon"]))
        .show(&["rollouts", "start", "lamp", "1.0", "--yes"]);
    rollout(|| screens.are("rollouts-start"));
    screens.show(&with(&["--yes", "--waves", "50%,100%"]));
    device(&daemon, "firmware?device_key=k1");
    device(
        &daemon,
        "firmware-version?device_key=k1&running=2.0&boot_count=2",
    );
    device(&daemon, "firmware-version?device_key=k2");
    let state = |device: usize| {
        let shown = json(&daemon, &["rollouts", "show", "--json"]);
        shown["members"][device]["state"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    ports::until("it is known to run it", || state(0) == "running");
    screens
        .show(&["rollouts", "list"])
        .show(&["rollouts", "show", "r1", "--all"])
        .show(&["firmware", "activate", "lamp", "2.0"])
        .show(&["rollouts", "release"])
        .show(&["rollouts", "finish"])
        .show(&["rollouts", "cancel"])
        .show(&["rollouts", "resume", "--yes"]);
    rollout(|| screens.are("rollouts-running"));
    screens
        .show(&["rollouts", "pause"])
        .show(&["rollouts", "resume"])
        .show(&["rollouts", "show"])
        .show(&["rollouts", "resume", "--yes"])
        .show(&["rollouts", "release", "--yes"]);
    rollout(|| screens.are("rollouts-paused"));
    screens
        .show(&["rollouts", "stop"])
        .show(&["rollouts", "stop", "--why", "the relay clicks"])
        .show(&["rollouts", "show"])
        .show(&["rollouts", "resume"])
        .show(&["builds", "show", "2.0"])
        .show(&["firmware", "unblock", "lamp", "2.0"])
        .show(&["firmware", "unblock", "lamp", "2.0", "--yes"]);
    rollout(|| screens.are("rollouts-stopped"));
}
