//! Where the data is kept: not ours, read-only, in memory. What a failing or a
//! full disk does is tried by `.ci/failing_disk.sh`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use tempfile::TempDir;

use crate::daemon::{Start, write};
use crate::firmware_files::Build;
use crate::preload::library;
use crate::test_gateway::{TestGateway, dump};

/// A user without rights of its own, as whom a daemon started by root runs here.
const NOBODY: u32 = 65534;

/// What a daemon without root's rights says on `folder/data`; both are `owner`'s,
/// if root runs this, else the caller's.
fn start_without_rights(folder: &Arc<TempDir>, owner: u32) -> Output {
    let start = Start::on(Arc::clone(folder), "");
    let mut command = start.command();
    if nix::unistd::geteuid().is_root() {
        // The program's own place may be closed to others.
        let program = folder.path().join("espgate");
        fs::copy(command.get_program(), &program).unwrap();
        command = start.command_of(&program);
        command.uid(NOBODY).gid(NOBODY);
        let data = folder.path().join("data");
        for path in [folder.path(), &data].into_iter().filter(|p| p.exists()) {
            chown(path, Some(owner), Some(owner)).unwrap();
        }
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let output = command.output().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    output
}

fn only_line(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_data_directory_that_cannot_be_made_is_refused_with_a_reason() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let said = only_line(&start_without_rights(&folder, NOBODY));
    let data = folder.path().join("data");
    assert!(said.contains(data.to_str().unwrap()), "{said}");
    assert!(said.contains(&NOBODY.to_string()), "{said}");
    assert!(!data.exists());
}

#[test]
fn a_data_directory_of_another_user_is_refused_with_both_users() {
    let said = match nix::unistd::geteuid().is_root() {
        true => {
            let folder = Arc::new(tempfile::tempdir().unwrap());
            fs::create_dir(folder.path().join("data")).unwrap();
            only_line(&start_without_rights(&folder, 0))
        }
        false => {
            // Only root can give a directory away: one of root's own will do.
            let start = Start::new("").environment("ESPGATE_DATA_DIR", "/usr");
            only_line(&start.command().output().unwrap())
        }
    };
    let (theirs, mine) = match nix::unistd::geteuid().is_root() {
        true => (0, NOBODY),
        false => (0, nix::unistd::geteuid().as_raw()),
    };
    for user in [theirs, mine] {
        assert!(said.contains(&format!("user {user}")), "{said}");
    }
}

#[test]
fn data_in_memory_gets_a_warning() {
    let place = Path::new("/dev/shm");
    let in_memory = statfs(place).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC);
    assert!(in_memory, "Linux has a tmpfs at /dev/shm");
    let folder = Arc::new(tempfile::tempdir_in(place).unwrap());
    let daemon = Start::on(folder, "").start();
    daemon.wait_for_event("DataDirectoryUnsuitable", "tmpfs");
}

#[test]
fn a_directory_of_another_user_that_can_be_written_gets_a_warning() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let mine = fs::metadata(&data).unwrap().uid();
    let foreign = match nix::unistd::geteuid().is_root() {
        true => {
            chown(&data, Some(NOBODY), None).unwrap();
            NOBODY
        }
        false => mine,
    };
    let daemon = Start::on(folder, "").start();
    if foreign != mine {
        let warned = daemon.wait_for_event("DataDirectoryUnsuitable", &foreign.to_string());
        assert_eq!(warned["level"], "warn");
    }
}

#[test]
fn a_dump_that_cannot_be_kept_is_in_its_boards_story() {
    let site = TestGateway::new();
    // a file where the board's folder should be
    write(&site.daemon.data().join("coredumps/k1"), b"");
    let answer = site.post(&dump(1));
    assert_eq!(answer.status, 500, "{answer:?}");
    assert_eq!(answer.json()["code"], "PROCESSING_ERROR");
    let correlation = answer.json()["correlationId"].as_str().unwrap().to_owned();
    let lost = site.daemon.wait_for_event("RequestFailed", &correlation);
    assert_eq!(lost["device_key"], "k1", "{lost}");
}

#[test]
fn a_disk_that_becomes_read_only_is_told_and_stores_again_once_it_can() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let gate = folder.path().join("read-only");
    let shim = library("read_only", folder.path());
    let start = Start::on(Arc::clone(&folder), "")
        .environment("LD_PRELOAD", shim.to_str().unwrap())
        .environment("READ_ONLY", gate.to_str().unwrap())
        .environment(
            "READ_ONLY_BELOW",
            folder.path().join("data").to_str().unwrap(),
        );
    let site = TestGateway::on(start.start());
    assert_eq!(site.post(&dump(0)).status, 201);
    write(&gate, b"");
    let refused = site.post(&dump(1));
    assert_eq!(refused.status, 507, "{refused:?}");
    assert_eq!(refused.json()["code"], "INSUFFICIENT_STORAGE");
    assert_eq!(site.upload(&Build::of("lamp").zip()).status, 507);
    let made = site.daemon.control(
        "PUT /api/models/other\r\nContent-Type: application/json",
        b"{}",
    );
    assert_eq!(made.status, 507, "{made:?}");
    let reason = "disk is read-only: uploads are refused";
    let ready = site.daemon.request("GET /readyz", b"");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reasons"][0], reason);
    let status = site.daemon.control("GET /api/status", b"").json();
    assert_eq!(status["degraded"][0], reason);
    assert_eq!(
        site.device("GET /api/iot/firmware-version", b"").status,
        200
    );

    fs::remove_file(&gate).unwrap();
    assert_eq!(site.post(&dump(2)).status, 201);
    site.daemon.wait_for_event("DiskRecovered", "");
    assert_eq!(site.daemon.request("GET /readyz", b"").status, 200);
    let status = site.daemon.control("GET /api/status", b"").json();
    assert_eq!(status["degraded"], serde_json::json!([]));
    let listed = site.daemon.control("GET /api/coredumps", b"").json();
    assert_eq!(listed["coredumps"].as_array().unwrap().len(), 2);
}
