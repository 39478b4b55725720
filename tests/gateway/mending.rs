//! Files that were damaged or lost while nobody looked.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use espgate::digest::Sha256;
use serde_json::Value;

use crate::daemon::{Start, write};
use crate::dumps::xtensa;
use crate::firmware_files::Build;
use crate::test_gateway::{TestGateway, dump};

#[test]
fn a_damaged_register_costs_nobody_a_token() {
    let site = TestGateway::new();
    assert_eq!(site.post(&dump(1)).status, 201);
    let (device, pipeline) = (site.device.clone(), site.pipeline.clone());
    let state = site.daemon.data().join("state");
    let folder = Arc::clone(&site.daemon.folder);
    site.daemon.stop();
    for name in ["devices.json", "tokens.json", "models.json", "gateway.json"] {
        write(&state.join(name), b"\0\0\0\0");
    }
    let before = fs::read(state.join("gateway.json.copy")).unwrap();
    let before: Value = serde_json::from_slice(&before).unwrap();
    let site = TestGateway {
        daemon: Start::on(folder, "").start(),
        device,
        pipeline,
    };
    assert_eq!(site.post(&dump(2)).status, 201);
    let head = "GET /api/pipeline/models/lamp/firmware-version";
    assert_eq!(site.ci(head, b"").status, 200);
    let status = site.daemon.control("GET /api/status", b"").json();
    assert_eq!(status["gateway_id"], before["gateway_id"]);
    for name in ["devices", "tokens", "models", "gateway"] {
        let damaged = format!("{name}.json.damaged");
        assert!(state.join(&damaged).exists());
        site.daemon.wait_for_event("StoreRepaired", &damaged);
    }
}

#[test]
fn devices_whose_register_is_lost_are_known_by_their_dumps() {
    let site = TestGateway::new();
    assert_eq!(site.post(&dump(1)).status, 201);
    let state = site.daemon.data().join("state");
    let folder = Arc::clone(&site.daemon.folder);
    site.daemon.stop();
    write(&state.join("devices.json"), b"[");
    fs::remove_file(state.join("devices.json.copy")).unwrap();
    let daemon = Start::on(folder, "").start();
    let device = daemon.control("GET /api/devices/k1", b"").json();
    assert_eq!(device["model"], "lamp");
    assert_eq!(device["registered"], true);
    let repaired = daemon.events("StoreRepaired");
    assert!(repaired.iter().any(|event| event["level"] == "error"));
}

#[test]
fn a_lost_sidecar_is_made_again_with_model_version_and_time() {
    let site = TestGateway::new();
    let build = Build {
        version: "1.2.3",
        ..Build::of("lamp")
    };
    let mut spec = xtensa();
    spec.app_elf_sha256 = Sha256::of(&build.elf()).short(9).leak();
    let dump = spec.image(0x0102, false);
    let name = site.post(&dump).json()["filename"].clone();
    let folder = site.daemon.data().join("coredumps/k1");
    let dump = folder.join(name.as_str().unwrap());
    let sidecar = dump.with_extension("json");
    let read = || -> Value { serde_json::from_slice(&fs::read(&sidecar).unwrap()).unwrap() };
    let before = read();
    let as_before = || {
        for field in [
            "id",
            "model_code",
            "firmware_version",
            "uploaded_at",
            "sha256",
        ] {
            assert_eq!(read()[field], before[field], "{field}");
        }
        assert_eq!(read()["identity"], "rebuilt");
    };

    // by what is known of the crash
    let site = without(site, &[&sidecar]);
    site.daemon.wait_for_event("CoredumpDecoded", "k1");
    as_before();
    // by the bundle that the dump names
    assert_eq!(site.upload(&build.zip()).status, 200);
    let crash = fs::read_dir(&folder).unwrap().flatten().map(|e| e.path());
    let crash = crash.filter(|path| path.to_string_lossy().contains("/crash_"));
    let crash: Vec<PathBuf> = crash.collect();
    assert_eq!(crash.len(), 1);
    let report = dump.with_extension("report.json");
    let site = without(site, &[&sidecar, &crash[0], &report]);
    site.daemon.wait_for_event("CoredumpDecoded", "k1");
    as_before();
}

#[test]
fn a_dump_of_a_boot_whose_clock_was_wrong_gets_its_time_once_that_is_known() {
    let site = TestGateway::new();
    let early = site.post(&dump(1)).json();
    let late = site.post(&dump(2)).json();
    let data = site.daemon.data();
    let folder = Arc::clone(&site.daemon.folder);
    site.daemon.stop();
    let edit = |path: &Path, change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        change(&mut value);
        write(path, value.to_string().as_bytes());
    };
    for (answer, boot) in [(&early, "known"), (&late, "unknown")] {
        let name = answer["filename"].as_str().unwrap();
        let sidecar = data.join("coredumps/k1").join(name).with_extension("json");
        edit(&sidecar, &|sidecar| {
            sidecar["clock"] = "unsynced".into();
            sidecar["uploaded_at"] = "1970-01-01T00:01:00.000000Z".into();
            sidecar["boot_id"] = boot.into();
            sidecar["monotonic_us"] = 60_000_000.into();
        });
    }
    edit(&data.join("state/gateway.json"), &|gateway| {
        let began = 1_770_000_000_000_000u64;
        gateway["boots"] = serde_json::json!({ "known": began });
    });
    let daemon = Start::on(folder, "").start();
    let list = daemon.control("GET /api/coredumps", b"").json();
    let listed = list["coredumps"].as_array().unwrap();
    // in the order in which they came, whatever the clock said
    assert_eq!(listed[0]["id"], late["coredump_id"]);
    assert_eq!(listed[0].get("corrected_at"), None);
    assert_eq!(listed[1]["corrected_at"], "2026-02-02T02:41:00.000000Z");
    let since = daemon.control("GET /api/coredumps?since=2026-02-02T00:00:00Z", b"");
    let since = since.json();
    assert_eq!(since["coredumps"].as_array().unwrap().len(), 1);
    assert_eq!(since["coredumps"][0]["id"], early["coredump_id"]);
}

/// The site once more, after files were lost while the daemon did not run.
fn without(site: TestGateway, files: &[&Path]) -> TestGateway {
    let folder = Arc::clone(&site.daemon.folder);
    site.daemon.stop();
    for file in files {
        fs::remove_file(file).unwrap();
    }
    TestGateway {
        daemon: Start::on(folder, "").start(),
        device: site.device,
        pipeline: site.pipeline,
    }
}

#[test]
fn a_report_that_does_not_parse_is_set_aside_and_made_again() {
    let site = TestGateway::new();
    let answer = site.post(&dump(1)).json();
    let (id, name) = (&answer["coredump_id"], &answer["filename"]);
    let id = id.as_str().unwrap();
    site.daemon.wait_for_event("CoredumpDecoded", id);
    let path = format!("coredumps/k1/{}", name.as_str().unwrap());
    let report = site.daemon.data().join(path).with_extension("report.json");
    let ask = || {
        site.daemon
            .control(&format!("GET /api/coredumps/{id}/report"), b"")
    };
    let before = ask();
    assert_eq!(before.status, 200);
    let decoded = || site.daemon.events("CoredumpDecoded").len();
    assert_eq!(decoded(), 1);

    write(&report, &before.body[..before.body.len() / 2]);
    let pending = ask();
    assert_eq!(pending.status, 404);
    assert_eq!(pending.json()["decode"], "pending");
    site.daemon.wait_for_event("StoreRepaired", id);
    let aside = report.with_extension("json.damaged");
    assert_eq!(
        fs::metadata(aside).unwrap().len(),
        before.body.len() as u64 / 2
    );
    let again = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        decoded() == 2
    });
    assert!(again, "{}", site.daemon.journal());
    assert_eq!(ask().body, before.body);
}

#[test]
fn a_dump_that_was_given_up_says_why_until_it_is_decoded_again() {
    let site = TestGateway::new();
    let answer = site.post(&dump(1)).json();
    let (id, name) = (&answer["coredump_id"], &answer["filename"]);
    let (id, name) = (id.as_str().unwrap(), name.as_str().unwrap());
    site.daemon.wait_for_event("CoredumpDecoded", id);
    let path = site.daemon.data().join("coredumps/k1").join(name);
    let folder = Arc::clone(&site.daemon.folder);
    site.daemon.stop();
    let sidecar = path.with_extension("json");
    let mut value: Value = serde_json::from_slice(&fs::read(&sidecar).unwrap()).unwrap();
    value["decode"] = "failed".into();
    value["decode_attempts"] = 3.into();
    value["decode_failure"] = "out of memory".into();
    write(&sidecar, value.to_string().as_bytes());
    fs::remove_file(path.with_extension("report.json")).unwrap();

    let daemon = Start::on(folder, "").start();
    let shown = daemon
        .control(&format!("GET /api/coredumps/{id}"), b"")
        .json();
    assert_eq!(shown["decode"], "failed");
    assert_eq!(shown["decode_failure"], "out of memory");
    let report = format!("GET /api/coredumps/{id}/report");
    let missing = daemon.control(&report, b"");
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["decode"], "failed");
    assert_eq!(missing.json()["decode_failure"], "out of memory");
    let queued = daemon.control(&format!("POST /api/coredumps/{id}/redecode"), b"");
    assert_eq!(queued.status, 202);
    daemon.wait_for_event("CoredumpDecoded", id);
    assert_eq!(daemon.control(&report, b"").status, 200);
}

#[test]
fn a_report_that_is_gone_is_made_again() {
    let site = TestGateway::new();
    let answer = site.post(&dump(1)).json();
    let (id, name) = (&answer["coredump_id"], &answer["filename"]);
    let (id, name) = (id.as_str().unwrap(), name.as_str().unwrap());
    site.daemon.wait_for_event("CoredumpDecoded", id);
    let path = site.daemon.data().join("coredumps/k1").join(name);
    let report = path.with_extension("report.json");
    let folder = Arc::clone(&site.daemon.folder);
    site.daemon.stop();
    fs::remove_file(&report).unwrap();
    let daemon = Start::on(folder, "").start();
    let ask = format!("GET /api/coredumps/{id}/report");
    assert_eq!(daemon.control(&ask, b"").json()["decode"], "pending");
    daemon.wait_for_event("CoredumpDecoded", id);
    assert_eq!(daemon.control(&ask, b"").status, 200);
}
