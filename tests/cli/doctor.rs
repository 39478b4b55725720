//! `espgate doctor`.

use super::*;

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
    let missing = "1 dump from 1 device run builds we have no bundle for (lamp 1.0)";
    let output = doctor(&data);
    assert_eq!(status(&output), 1);
    let whats = whats(&output);
    assert!(whats.iter().any(|what| what == missing), "{whats:?}");
    let intake = |whats: &[String]| whats.iter().any(|w| w.ends_with(" ago from k1"));
    assert!(intake(&whats), "{whats:?}");

    // the files tell the same
    let _kept = std::sync::Arc::clone(&daemon.folder);
    daemon.stop();
    let whats = self::whats(&doctor(&data));
    assert!(whats.iter().any(|what| what == missing), "{whats:?}");
    assert!(intake(&whats), "{whats:?}");
}

#[test]
fn the_doctor_knows_when_the_daemon_last_ended_badly() {
    let told = |data: &Path, words: &str| {
        let whats = whats(&doctor(data));
        assert!(whats.iter().any(|what| what.contains(words)), "{whats:?}");
    };
    let daemon = Start::new("").start();
    let folder = std::sync::Arc::clone(&daemon.folder);
    let data = daemon.data();
    told(&data, "no crash, hang or power cut of the daemon is known");
    daemon.stop();
    let daemon = Start::on(std::sync::Arc::clone(&folder), "").start();
    told(&data, "no crash, hang or power cut of the daemon is known");
    daemon.kill();
    let daemon = Start::on(folder, "").start();
    daemon.wait_for_event("EndedBadly", "");
    told(&data, "last crashed, was killed or hung ");
    let _kept = std::sync::Arc::clone(&daemon.folder);
    daemon.stop();
    told(&data, "last crashed, was killed or hung");
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
    let blocked = done(&daemon, &["firmware", "block", "lamp", "2.0"]);
    assert!(blocked.contains("lamp serves nothing now"), "{blocked}");
    daemon.wait_for_event("ModelChanged", "2.0");
    let listed = done(&daemon, &["firmware", "list", "lamp"]);
    assert!(listed.contains("active, blocked: nothing"), "{listed}");
    let models = json(&daemon, &["models", "list", "--json"]);
    assert_eq!(models["models"][0]["state"], "blocked");
    let data = daemon.data();
    let both = [
        "firmware 2.0 of lamp is active and blocked: its devices get nothing",
        "pinned to firmware 1.0 of lamp, which is blocked, and served nothing: k1",
    ];
    let told = |both: &[&str]| {
        let whats = whats(&doctor(&data));
        for what in both {
            assert!(whats.iter().any(|told| told == what), "{whats:?}");
        }
    };
    told(&both);
    done(&daemon, &["devices", "unpin", "k1"]);
    done(&daemon, &["firmware", "unblock", "lamp", "2.0"]);
    let folder = std::sync::Arc::clone(&daemon.folder);
    daemon.stop();

    let gone = "the file of firmware 2.0 of lamp, which is active, is gone";
    fs::remove_file(data.join("assets/lamp/firmware-2.0.zip")).unwrap();
    fs::remove_file(data.join("assets/firmware-lamp.bin")).unwrap();
    told(&[gone]);
    let daemon = Start::on(folder, OPEN).start();
    daemon.wait_for_event("BundleUnreadable", "2.0");
    told(&[gone]);
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

fn whats(output: &Output) -> Vec<String> {
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = shown["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| finding["what"].as_str().unwrap().to_owned())
        .collect()
}

fn doctor(data: &Path) -> Output {
    espgate(&["--data-dir", data.to_str().unwrap(), "doctor", "--json"])
}
