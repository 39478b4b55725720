//! `espgate backup` and `espgate restore`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::screens::{self, Screens};
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
    refused(&espgate(&arguments), 1);

    let second = Start::on(folder, "").start();
    assert!(fs::read(second.data().join("tls/ca.pem")).unwrap() == ca);
    let status = json(&second, &["status", "--json"]);
    assert_eq!(status["last_intake"]["device_key"], "k1");
    assert_eq!(second.request(&head, b"two").status, 201);
    let list = json(&second, &["coredumps", "list", "--json"]);
    assert_eq!(list["coredumps"].as_array().unwrap().len(), 2);
}

/// The files in a data directory and below it that a backup is to bring along.
fn kept(data: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, name: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for inner in names(folder) {
            let path = folder.join(&inner);
            let name = format!("{name}/{inner}");
            if ["/run", "/cache", "/lock"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                walk(&path, &name, found);
            } else {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(data, "", &mut found);
    found
}

#[test]
fn all_of_a_data_directory_comes_back_even_what_this_version_does_not_know() {
    let first = Start::new(OPEN).start();
    register(&first);
    post_dump(&first, "k1", "1", b"one");
    let until = Instant::now() + Duration::from_secs(30);
    while json(&first, &["status", "--json"])["counts"]["not_decoded_yet"] != 0 {
        assert!(Instant::now() < until, "it is never decoded");
        std::thread::sleep(Duration::from_millis(10));
    }
    // What a later version may keep, and what is not to be kept.
    let later = first.data().join("later/deep");
    fs::create_dir_all(&later).unwrap();
    for (name, mode) in [("open", 0o640), ("secret", 0o600), (".tmp-1", 0o640)] {
        let path = later.join(name);
        daemon::write(&path, name.as_bytes());
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let file = first.folder.path().join("gateway.backup");
    done(&first, &["backup", file.to_str().unwrap(), "--with-dumps"]);
    let data = first.data();
    let _kept = Arc::clone(&first.folder);
    first.kill();

    let folder = Arc::new(tempfile::tempdir().unwrap());
    let to = folder.path().join("data");
    let to_name = to.to_str().unwrap();
    let output = espgate(&["--data-dir", to_name, "restore", file.to_str().unwrap()]);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    let (mut before, mut after) = (kept(&data), kept(&to));
    assert!(before.remove("/later/deep/.tmp-1").is_some());
    assert!(after.remove("/state/restored.json").is_some());
    let names = |files: &BTreeMap<String, Vec<u8>>| Vec::from_iter(files.keys().cloned());
    assert_eq!(names(&after), names(&before));
    // These went on.
    let is_still = |name: &String| !name.starts_with("/events/") && !name.starts_with("/state/");
    before.retain(|name, _| is_still(name));
    after.retain(|name, _| is_still(name));
    assert!(after == before);
    let mode = |name: &str| to.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("later/deep/open"), 0o640);
    assert_eq!(mode("later/deep/secret"), 0o600);

    let second = Start::on(Arc::clone(&folder), OPEN).start();
    let told = |daemon: &Daemon| {
        let events = fs::read_dir(daemon.data().join("events")).unwrap();
        let texts = events.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        let is_told = |line: &&str| line.contains("\"Restored\"");
        let count = |text: String| text.lines().filter(is_told).count();
        texts.map(count).sum::<usize>()
    };
    // the events file is written by a thread of its own
    second.wait_for_event("Restored", file.to_str().unwrap());
    assert_eq!(told(&second), 1);
    second.stop();
    let third = Start::on(folder, OPEN).start();
    json(&third, &["status", "--json"]);
    assert_eq!(told(&third), 1);
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
    refused(&ask(&fresh, &restore), 1);
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
fn what_is_no_backup_restores_nothing_and_is_told_why() {
    let folder = screens::folder();
    let file = folder.path().join("x.zip");
    let data = folder.path().join("data");
    let mut screens = Screens::of(folder.path());
    let newer = ("espgate-backup.json", r#"{"schema":99}"#);
    for entries in [
        vec![("state/x.json", "{}")],
        vec![newer],
        vec![MANIFEST],
        vec![MANIFEST, ("FORMAT", "1")],
        vec![MANIFEST, ("FORMAT", "9"), ("state/x.json", "{}")],
        vec![MANIFEST, ("FORMAT", "x"), ("state/x.json", "{}")],
        vec![MANIFEST, ("../escape", "x")],
        vec![MANIFEST, ("state/../../escape", "x")],
        vec![MANIFEST, ("run/control.sock", "x")],
        vec![MANIFEST, ("later/.././../escape", "x")],
        vec![MANIFEST, ("state/\u{1b}[2J\\", "x")],
    ] {
        daemon::write(&file, &firmware::zip(&entries));
        let restore = ["--data-dir", data.to_str().unwrap(), "restore"];
        refused(
            &espgate(&[&restore[..], &[file.to_str().unwrap()]].concat()),
            1,
        );
        assert!(!data.exists(), "{entries:?}");
        screens.show(&["restore", "x.zip"]);
    }
    daemon::write(&file, b"PK\x03\x04 cut off");
    screens.show(&["restore", "x.zip"]).are("restore-refused");
    assert!(!data.exists());
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
    let config_file = place("espgate.toml").display().to_string();
    let told = [
        "--config",
        &config_file,
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let output = espgate(&[&told[..], &["restore", file.to_str().unwrap()]].concat());
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
        // Where the data and the configuration went, and that it was created.
        for (path, count) in [(&theirs, 2), (&config, 1)] {
            assert_eq!(
                told.matches(path.to_str().unwrap()).count(),
                count,
                "{told}"
            );
        }
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
    let beside = folder.path().join("espgate.toml.restored");
    for path in [&ours, &config, &beside] {
        assert!(told.contains(path.to_str().unwrap()), "{told}");
    }
    assert!(folder.path().join("ours/state/gateway.json").exists());
    assert!(!folder.path().join("theirs").exists());
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
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
    let kept = data.join("state/espgate.toml.last");
    assert!(line.contains(kept.to_str().unwrap()), "{line}");
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
    assert!(line.contains(" coredumps/k1/x.dmp: "), "{line}");
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
    let mut make = Command::new("sh");
    make.args(["-c", deep, &"d".repeat(240)]);
    assert!(
        make.current_dir(data.join("config"))
            .status()
            .unwrap()
            .success()
    );
    daemon::write(
        &data.join("config").join(OsStr::from_bytes(b"caf\xe9")),
        b"",
    );
    // A register that cannot be replaced.
    let register = data.join("state/devices.json");
    fs::remove_file(&register).unwrap();
    fs::create_dir(&register).unwrap();

    let file = first.folder.path().join("backup.zip");
    let output = ask(&first, &["backup", file.to_str().unwrap(), "--with-dumps"]);
    assert_eq!(status(&output), 1);
    let line = errors(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("/config/unreadable/"), "{line}");
    assert!(line.contains("/config/caf"), "{line}");
    first.wait_for_event("BackupMade", " 2 ");
    let journal = first.journal();
    assert!(journal.contains("/config/unreadable"), "{journal}");
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
    assert!(told.contains("/config/unreadable/"), "{told}");
    assert_eq!(names(&to.join("coredumps")), ["k1"]);
}

#[test]
fn a_restore_that_was_cut_off_keeps_the_daemon_from_starting_and_is_done_again() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    let file = small_backup(folder.path(), &format!("data_dir = {data:?}\n"));
    let config = folder.path().join("other.toml");
    assert_eq!(status(&restore(&config, &file)), 0);
    // As it is before the last rename.
    let staging = data.join(".restoring");
    fs::create_dir(&staging).unwrap();
    let others = data.join("coredumps").display().to_string();
    daemon::write(&staging.join(".folders"), others.as_bytes());
    fs::remove_file(data.join("FORMAT")).unwrap();
    daemon::write(&staging.join("FORMAT"), b"1");

    let refused = Start::on(Arc::clone(&folder), "").command().output();
    let refused = refused.unwrap();
    assert!(!refused.status.success());
    assert!(errors(&refused).contains("espgate restore FILE"));
    assert!(!data.join("tls").exists());

    let output = restore(&config, &file);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    assert_eq!(names(&data), ["FORMAT", "coredumps", "lock", "state"]);
    assert_eq!(names(&data.join("coredumps")), ["k1"]);
    Start::on(folder, "").start();
}

#[test]
fn what_has_no_state_of_a_gateway_is_not_kept_as_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let zip = firmware::zip(&[MANIFEST, ("FORMAT", "1")]);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", zip.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&zip).unwrap();
            }
        }
    });
    let file = folder.path().join("gateway.backup");
    let socket = socket.to_str().unwrap();
    let arguments = ["--socket", socket, "backup", file.to_str().unwrap()];
    refused(&espgate(&arguments), 1);
    assert!(!file.exists());
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
    let mut child = daemon::binary()
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
