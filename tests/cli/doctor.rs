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
    let output = doctor(&daemon.data());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let missing = "1 dump from 1 device run builds we have no bundle for (lamp 1.0)";
    assert!(text.contains(missing), "{text}");
    assert_eq!(status(&output), 1);
}

fn doctor(data: &Path) -> Output {
    espgate(&["--data-dir", data.to_str().unwrap(), "doctor", "--json"])
}
