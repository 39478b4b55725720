//! `espgate backup` and `espgate restore`.

use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;

const MANIFEST: (&str, &str) = ("espgate-backup.json", r#"{"schema":1}"#);

/// `espgate --config CONFIG restore FILE`
fn restore(config: &Path, file: &Path) -> Output {
    let (config, file) = (config.to_str().unwrap(), file.to_str().unwrap());
    espgate(&["--config", config, "restore", file])
}

/// Writes a backup of a gateway that ran with these settings.
fn small_backup(folder: &Path, settings: &str) -> std::path::PathBuf {
    let file = folder.join("small.backup");
    let zip = firmware::zip(&[
        MANIFEST,
        ("FORMAT", "1"),
        ("state/gateway.json", "{}"),
        ("state/espgate.toml.last", settings),
        ("coredumps/k1/x.dmp", "x"),
    ]);
    daemon::write(&file, &zip);
    file
}

fn register(daemon: &Daemon) {
    done(daemon, &["models", "add", "lamp"]);
    done(daemon, &["devices", "add", "k1", "--model", "lamp"]);
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let listing = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = listing
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

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
    let _kept = Arc::clone(&first.folder);
    first.kill();

    let folder = Arc::new(tempfile::tempdir().unwrap());
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
    let folder = Arc::clone(&fresh.folder);
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
    let manifest = MANIFEST;
    let newer = ("espgate-backup.json", r#"{"schema":99}"#);
    for (entries, why) in [
        (vec![("state/x.json", "{}")], "no manifest"),
        (vec![newer], "newer espgate"),
        (vec![manifest], "no FORMAT"),
        (vec![manifest, ("FORMAT", "1")], "no state"),
        (
            vec![manifest, ("FORMAT", "9"), ("state/x.json", "{}")],
            "newer espgate",
        ),
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

#[test]
fn dumps_and_firmware_are_restored_to_where_the_settings_have_them() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let place = |name: &str| folder.path().join(name);
    let config = format!(
        "[coredumps]\ndir = {:?}\n[firmware]\ndir = {:?}\n{OPEN}",
        place("disk/dumps"),
        place("disk/firmware")
    );
    fs::create_dir(place("disk")).unwrap();
    let first = Start::new(&config).start();
    register(&first);
    post_dump(&first, "k1", "1", b"one");
    let file = first.folder.path().join("backup.zip");
    done(&first, &["backup", file.to_str().unwrap(), "--with-dumps"]);
    let _kept = Arc::clone(&first.folder);
    first.stop();

    // An empty disk.
    fs::remove_dir_all(place("disk")).unwrap();
    fs::create_dir_all(place("disk/dumps/lost+found")).unwrap();
    let data = place("data");
    let arguments = [
        "--config",
        &place("espgate.toml").display().to_string(),
        "--data-dir",
        data.to_str().unwrap(),
        "restore",
        file.to_str().unwrap(),
    ];
    let output = espgate(&arguments);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    assert_eq!(names(&place("disk/dumps")), ["k1", "lost+found"]);
    assert!(!data.join("coredumps").exists());
    let settings = fs::read_to_string(place("espgate.toml")).unwrap();
    assert!(settings.contains("disk/dumps"), "{settings}");

    let second = Start::on(Arc::clone(&folder), &config).start();
    let list = json(&second, &["coredumps", "list", "--json"]);
    assert_eq!(list["coredumps"].as_array().unwrap().len(), 1);
}

#[test]
fn settings_come_back_and_say_where_the_data_goes() {
    let default = String::from_utf8(espgate(&["config", "default"]).stdout).unwrap();
    for present in [None, Some(default)] {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("theirs");
        let settings = format!("data_dir = {theirs:?}\n");
        let file = small_backup(folder.path(), &settings);
        let config = folder.path().join("etc/espgate.toml");
        if let Some(text) = &present {
            fs::create_dir(config.parent().unwrap()).unwrap();
            daemon::write(&config, text.as_bytes());
            fs::set_permissions(&config, fs::Permissions::from_mode(0o604)).unwrap();
        }
        let output = restore(&config, &file);
        assert_eq!(status(&output), 0, "{}", errors(&output));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(
            told.contains(&format!("into {}\n", theirs.display())),
            "{told}"
        );
        assert!(told.contains("its settings are now"), "{told}");
        assert_eq!(names(&theirs), ["FORMAT", "coredumps", "state"]);
        assert_eq!(fs::read_to_string(&config).unwrap(), settings);
        let mode = fs::metadata(&config).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if present.is_some() { 0o604 } else { 0o644 });
    }
}

#[test]
fn settings_of_this_machine_stay_and_the_others_lie_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let settings = format!("data_dir = {theirs:?}\n");
    let file = small_backup(folder.path(), &settings);
    let config = folder.path().join("espgate.toml");
    let text = format!("data_dir = {ours:?}\n");
    daemon::write(&config, text.as_bytes());
    let output = restore(&config, &file);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    let told = String::from_utf8(output.stdout).unwrap();
    let (ours, theirs) = (ours.display(), theirs.display());
    assert!(
        told.contains(&format!("its data_dir was {theirs}, here it is {ours}:")),
        "{told}"
    );
    assert!(told.contains("compare the two"), "{told}");
    assert!(folder.path().join("ours/state/gateway.json").exists());
    assert!(!folder.path().join("theirs").exists());
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
    let beside = folder.path().join("espgate.toml.restored");
    assert_eq!(fs::read_to_string(beside).unwrap(), settings);
}

#[test]
fn settings_that_cannot_be_put_in_place_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = small_backup(folder.path(), &format!("data_dir = {data:?}\n"));
    // Not even root makes a folder there.
    let output = restore(Path::new("/proc/nowhere/espgate.toml"), &file);
    assert_eq!(status(&output), 1);
    let line = errors(&output);
    assert!(line.contains("not the settings; copy "), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(data.join("state/gateway.json").exists());
}

#[test]
fn a_failed_restore_leaves_the_folder_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, link) = (folder.path().join("disk"), folder.path().join("link"));
    fs::create_dir_all(disk.join("lost+found")).unwrap();
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o751)).unwrap();
    std::os::unix::fs::symlink(&disk, &link).unwrap();
    let file = small_backup(folder.path(), &format!("data_dir = {link:?}\n"));
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    // The checksum of the last entry, in the directory at the end.
    let place = whole.windows(4).rposition(|part| part == b"PK\x01\x02");
    damaged[place.unwrap() + 16] ^= 1;
    daemon::write(&file, &damaged);
    let config = folder.path().join("espgate.toml");
    let line = refused(&restore(&config, &file), 1);
    assert!(line.contains("cannot unpack coredumps/k1/x.dmp"), "{line}");
    assert!(link.is_symlink() && !config.exists());
    assert_eq!(names(&disk), ["lost+found"]);

    daemon::write(&file, &whole);
    let output = restore(&config, &file);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    assert!(link.is_symlink());
    assert_eq!(names(&disk), ["FORMAT", "coredumps", "lost+found", "state"]);
    let mode = fs::metadata(&disk).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o751);
}

#[test]
fn a_backup_goes_on_without_what_cannot_be_read_or_written_and_says_so() {
    let first = Start::new(OPEN).start();
    let data = first.data();
    register(&first);
    post_dump(&first, "k1", "1", b"one");
    fs::create_dir_all(data.join("coredumps/lost+found")).unwrap();
    // A path that is too long to be opened, by root too.
    let deep = "mkdir unreadable && cd unreadable && for n in $(seq 20); do mkdir $0 && cd -P $0 \
                || exit 1; done";
    let made = Command::new("sh")
        .args(["-c", deep, &"d".repeat(240)])
        .current_dir(data.join("config"))
        .status()
        .unwrap();
    assert!(made.success());
    // A register that cannot be replaced.
    let register = data.join("state/devices.json");
    fs::remove_file(&register).unwrap();
    fs::create_dir(&register).unwrap();

    let file = first.folder.path().join("backup.zip");
    let output = ask(&first, &["backup", file.to_str().unwrap(), "--with-dumps"]);
    assert_eq!(status(&output), 1);
    let line = errors(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains("lacks what the daemon could not read: "),
        "{line}"
    );
    assert!(line.contains("/config/unreadable/"), "{line}");
    first.wait_for("1 files or folders could not be read");
    let journal = first.journal();
    assert!(
        journal.contains("without what is only noted in memory"),
        "{journal}"
    );
    assert!(
        journal.contains("not in the backup: cannot read "),
        "{journal}"
    );
    let output = ask(&first, &["backup", "-"]);
    assert_eq!(status(&output), 1);
    assert!(output.stdout.starts_with(b"PK"));

    let config = first.folder.path().join("other.toml");
    let to = first.folder.path().join("to");
    let arguments = [
        "--data-dir",
        to.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    let output = espgate(&[&arguments[..], &["restore", file.to_str().unwrap()]].concat());
    assert_eq!(status(&output), 0, "{}", errors(&output));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("its gateway could not read it: "), "{told}");
    assert_eq!(names(&to.join("coredumps")), ["k1"]);
}

#[test]
fn an_interrupted_backup_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    // Begins an answer and never ends it.
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if !stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
                continue;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nPK");
            kept.push(stream);
        }
    });
    let to = folder.path().join("to");
    fs::create_dir(&to).unwrap();
    let file = to.join("gateway.backup");
    let mut child = Command::new(env!("CARGO_BIN_EXE_espgate"))
        .args(["--socket", socket.to_str().unwrap()])
        .args(["backup", file.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while names(&to).is_empty() {
        assert!(Instant::now() < until, "it never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!file.exists());
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(&to), Vec::<String>::new());
}
