//! `espgate backup` and `espgate restore`.

use super::*;

#[test]
fn a_backup_brings_an_unchanged_device_back_on_another_machine() {
    let first = Start::new("").start();
    done(&first, &["models", "add", "lamp"]);
    let added = json(
        &first,
        &["devices", "add", "k1", "--model", "lamp", "--json"],
    );
    let bearer = format!("Authorization: Bearer {}", added["token"].as_str().unwrap());
    let head = format!("POST /api/iot/coredump?chip=esp32&firmware_version=1\r\n{bearer}");
    assert_eq!(first.request(&head, b"one").status, 201);
    let ca = fs::read(first.data().join("tls/ca.pem")).unwrap();
    let file = first.folder.path().join("backup.zip");
    done(&first, &["backup", file.to_str().unwrap(), "--with-dumps"]);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let _kept = std::sync::Arc::clone(&first.folder);
    first.kill();

    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    let arguments = [
        "--data-dir",
        data.to_str().unwrap(),
        "restore",
        file.to_str().unwrap(),
    ];
    let output = espgate(&arguments);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    for (name, mode) in [
        ("state", 0o700),
        ("tls", 0o700),
        ("coredumps", 0o750),
        ("tls/ca.pem", 0o600),
    ] {
        let found = fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    let line = refused(&espgate(&arguments), 1);
    assert!(line.contains("is not empty"), "{line}");

    let second = Start::on(folder, "").start();
    assert!(fs::read(second.data().join("tls/ca.pem")).unwrap() == ca);
    let status = json(&second, &["status", "--json"]);
    assert_eq!(status["last_intake"]["device_key"], "k1");
    assert_eq!(second.request(&head, b"two").status, 201);
    let list = json(&second, &["coredumps", "list", "--json"]);
    assert_eq!(list["coredumps"].as_array().unwrap().len(), 2);
}

#[test]
fn a_gateway_that_was_only_just_installed_makes_room_for_a_restored_one() {
    let first = Start::new("").start();
    done(&first, &["models", "add", "lamp"]);
    let gateway = json(&first, &["status", "--json"])["gateway_id"].clone();
    let file = first.folder.path().join("backup.zip");
    done(&first, &["backup", file.to_str().unwrap()]);

    let fresh = Start::new("").start();
    let restore = ["restore", file.to_str().unwrap()];
    let line = refused(&ask(&fresh, &restore), 1);
    assert!(line.contains("the daemon runs"), "{line}");
    let data = fresh.data();
    let folder = std::sync::Arc::clone(&fresh.folder);
    fresh.stop();
    let all = [&["--data-dir", data.to_str().unwrap()][..], &restore].concat();
    let output = espgate(&all);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    let fresh = Start::on(folder, "").start();
    let restored = json(&fresh, &["status", "--json"]);
    assert_eq!(restored["gateway_id"], gateway);
    assert_eq!(restored["counts"]["models"], 1);
}

#[test]
fn what_is_no_backup_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.zip");
    let manifest = ("espgate-backup.json", r#"{"schema":1}"#);
    let newer = ("espgate-backup.json", r#"{"schema":99}"#);
    for (entries, why) in [
        (vec![("state/x.json", "{}")], "no manifest"),
        (vec![newer], "newer espgate"),
        (vec![manifest, ("../escape", "x")], "no file of a backup"),
        (
            vec![manifest, ("state/../../escape", "x")],
            "no file of a backup",
        ),
        (
            vec![manifest, ("run/control.sock", "x")],
            "no file of a backup",
        ),
    ] {
        daemon::write(&file, &firmware::zip(&entries));
        let data = folder.path().join("data");
        let arguments = [
            "--data-dir",
            data.to_str().unwrap(),
            "restore",
            file.to_str().unwrap(),
        ];
        let line = refused(&espgate(&arguments), 1);
        assert!(line.contains(why), "{line}");
        assert!(!data.exists(), "{line}");
    }
    daemon::write(&file, b"PK\x03\x04 cut off");
    let line = refused(&espgate(&["restore", file.to_str().unwrap()]), 1);
    assert!(line.contains("not a whole ZIP"), "{line}");
    assert!(!folder.path().join("escape").exists());
}
