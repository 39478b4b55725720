//! `espgate doctor`.

use super::*;

/// Named by the finding that there is no daemon.
const SOCKET: &str = "control.sock";

#[test]
fn the_doctor_works_without_a_daemon_and_says_so_first() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path());
    assert_eq!(status(&output), 1);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &shown["findings"][0];
    assert_eq!(first["about"], "daemon");
    assert_eq!(first["severity"], "error");
}

#[test]
fn the_doctor_names_dumps_whose_firmware_is_missing() {
    let daemon = Start::new(OPEN).start();
    done(&daemon, &["models", "add", "lamp"]);
    done(
        &daemon,
        &["devices", "add", "k1", "--model", "lamp", "--no-token"],
    );
    post_dump(&daemon, "k1", "1.0", &dumps::xtensa().image(0x0102, false));
    daemon.wait_for_event("CoredumpDecoded", "k1");
    let data = daemon.data();
    let told = || {
        let output = doctor(&data);
        assert_eq!(status(&output), 1);
        let found = findings(&output);
        let missing = is_about(
            &found,
            "dumps",
            "warning",
            &["1 dump", "1 device", "lamp 1.0"],
        );
        assert!(missing, "{found:?}");
        let intake = is_about(&found, "intake", "note", &["https", "k1"]);
        assert!(intake, "{found:?}");
    };
    told();
    // the files tell the same
    let _kept = std::sync::Arc::clone(&daemon.folder);
    daemon.stop();
    told();
}

#[test]
fn the_doctor_knows_when_the_daemon_last_ended_badly() {
    let told = |data: &Path, severity: &str| {
        let found = findings(&doctor(data));
        let ends = |one: &&Found| one.about == "daemon" && !one.what.contains(SOCKET);
        let severities: Vec<&str> = found
            .iter()
            .filter(ends)
            .map(|one| &*one.severity)
            .collect();
        assert_eq!(severities, [severity], "{found:?}");
    };
    let daemon = Start::new("").start();
    let folder = std::sync::Arc::clone(&daemon.folder);
    let data = daemon.data();
    told(&data, "note");
    daemon.stop();
    let daemon = Start::on(std::sync::Arc::clone(&folder), "").start();
    told(&data, "note");
    daemon.kill();
    let daemon = Start::on(folder, "").start();
    daemon.wait_for_event("EndedBadly", "");
    told(&data, "warning");
    let _kept = std::sync::Arc::clone(&daemon.folder);
    daemon.stop();
    told(&data, "warning");
}

#[test]
fn firmware_that_boards_do_not_get_is_told_by_lists_doctor_and_journal() {
    let daemon = Start::new(OPEN).start();
    done(&daemon, &["models", "add", "lamp"]);
    let device = ["devices", "add", "k1", "--model", "lamp", "--no-token"];
    done(&daemon, &device);
    let bundle = daemon.folder.path().join("lamp.zip");
    for version in ["1.0", "2.0"] {
        let build = firmware::Build {
            version,
            ..firmware::Build::of("lamp")
        };
        daemon::write(&bundle, &build.zip());
        let file = bundle.to_str().unwrap();
        done(&daemon, &["firmware", "add", file, "--model", "lamp"]);
    }
    done(&daemon, &["devices", "pin", "k1", "1.0"]);
    done(&daemon, &["firmware", "block", "lamp", "1.0"]);
    done(&daemon, &["firmware", "block", "lamp", "2.0"]);
    daemon.wait_for_event("ModelChanged", "2.0");
    let listed = done(&daemon, &["firmware", "list", "lamp"]);
    assert!(listed.contains("active, blocked"), "{listed}");
    let models = json(&daemon, &["models", "list", "--json"]);
    assert_eq!(models["models"][0]["state"], "blocked");
    let data = daemon.data();
    let told = |words: &[&str]| {
        let found = findings(&doctor(&data));
        assert!(is_about(&found, "firmware", "warning", words), "{found:?}");
    };
    told(&["2.0", "lamp", "active", "blocked"]);
    told(&["1.0", "lamp", "pinned", "blocked", "k1"]);
    done(&daemon, &["devices", "unpin", "k1"]);
    done(&daemon, &["firmware", "unblock", "lamp", "2.0"]);
    let folder = std::sync::Arc::clone(&daemon.folder);
    daemon.stop();

    let gone = ["2.0", "lamp", "active", "missing"];
    fs::remove_file(data.join("assets/lamp/firmware-2.0.zip")).unwrap();
    fs::remove_file(data.join("assets/firmware-lamp.bin")).unwrap();
    told(&gone);
    let daemon = Start::on(folder, OPEN).start();
    daemon.wait_for_event("BundleUnreadable", "2.0");
    told(&gone);
    let models = done(&daemon, &["models", "list"]);
    assert!(models.contains("missing"), "{models}");
    let ask = || {
        daemon
            .request("GET /api/iot/firmware?device_key=k1", b"")
            .status
    };
    assert_eq!(ask(), 200, "by the copy that was made of its image");
    fs::remove_dir_all(data.join("cache/images")).unwrap();
    assert_eq!(ask(), 404);
    let unreadable = || daemon.events("BundleUnreadable").len();
    assert!((0..300).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        unreadable() >= 2
    }));
}

#[test]
fn a_configuration_file_that_may_be_a_devices_or_a_models_is_told() {
    let daemon = Start::new(OPEN).start();
    done(&daemon, &["models", "add", "lamp"]);
    let device = ["devices", "add", "lamp", "--model", "lamp", "--no-token"];
    done(&daemon, &device);
    let data = daemon.data();
    let told = || {
        let found = findings(&doctor(&data));
        is_about(&found, "config", "warning", &["config/lamp.json"])
    };
    assert!(!told());
    daemon::write(&data.join("config/models/lamp.json"), b"{}");
    assert!(!told());
    daemon::write(&data.join("config/lamp.json"), b"{}");
    assert!(told());
}

/// A finding as the doctor prints it.
#[derive(Debug, serde::Deserialize)]
struct Found {
    severity: String,
    about: String,
    what: String,
}

fn findings(output: &Output) -> Vec<Found> {
    let mut shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(shown["findings"].take()).unwrap()
}

/// Whether something like this is found, in whatever words.
fn is_about(found: &[Found], about: &str, severity: &str, words: &[&str]) -> bool {
    found.iter().any(|one| {
        one.about == about
            && one.severity == severity
            && words.iter().all(|word| one.what.contains(word))
    })
}

fn doctor(data: &Path) -> Output {
    espgate(&["--data-dir", data.to_str().unwrap(), "doctor", "--json"])
}
