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
    daemon.wait_for("decoded");
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
    daemon.wait_for("was not stopped");
    told(&data, "last crashed, was killed or hung ");
    let _kept = std::sync::Arc::clone(&daemon.folder);
    daemon.stop();
    told(&data, "last crashed, was killed or hung");
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
