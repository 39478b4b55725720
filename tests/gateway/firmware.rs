//! Firmware in from CI and out to devices.

use std::fs;

use serde_json::{Value, json};

use crate::firmware_files::Build;
use crate::test_gateway::{TestGateway, dump};

fn version(version: &str) -> Build<'_> {
    Build {
        version,
        ..Build::of("lamp")
    }
}

#[test]
fn a_bundle_goes_in_and_its_image_comes_out() {
    let site = TestGateway::new();
    let build = version("1.2.3");
    let empty = site.device("GET /api/iot/firmware-version", b"").json();
    let expected = json!({ "firmware_version": null, "build_id": null, "poll_after_s": 3600 });
    assert_eq!(empty, expected);
    let missing = site.device("GET /api/iot/firmware", b"");
    assert_eq!(missing.error(), "Firmware lamp was not found");

    let answer = site.upload(&build.zip());
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({
        "id": 1, "code": "lamp", "firmware_version": "1.2.3", "active": true, "warnings": [],
    });
    assert_eq!(answer.json(), expected);
    let image = site.device("GET /api/iot/firmware", b"");
    assert_eq!(image.status, 200);
    assert_eq!(image.body, build.bin());
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        (
            "content-disposition",
            "attachment; filename=firmware-lamp.bin",
        ),
        ("accept-ranges", "bytes"),
        ("content-length", &build.bin().len().to_string()),
    ] {
        assert_eq!(image.header(name), Some(value));
    }
    assert_eq!(image.header("transfer-encoding"), None);
    let bundle = site.device("GET /api/iot/firmware.zip", b"");
    assert_eq!(bundle.body, build.zip());
    let known = site.device("GET /api/iot/firmware-version", b"").json();
    assert_eq!(known["firmware_version"], "1.2.3");
    let known = site
        .ci("GET /api/pipeline/models/lamp/firmware-version", b"")
        .json();
    assert_eq!(
        known,
        json!({ "code": "lamp", "firmware_version": "1.2.3" })
    );
    let assets = site.daemon.data().join("assets");
    assert_eq!(
        fs::read(assets.join("lamp/firmware-1.2.3.zip")).unwrap(),
        build.zip()
    );
    assert_eq!(
        fs::read(assets.join("firmware-lamp.bin")).unwrap(),
        build.bin()
    );
}

#[test]
fn bare_images_and_form_fields_are_taken_too() {
    let site = TestGateway::new();
    let bin = version("2.0").bin();
    assert_eq!(site.upload(&bin).json()["firmware_version"], "2.0");
    let mut form =
        b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".to_vec();
    form.extend(version("2.1").zip());
    form.extend(b"\r\n--XX--\r\n");
    let head =
        "POST /api/pipeline/models/lamp/firmware\r\nContent-Type: multipart/form-data; boundary=XX";
    let answer = site.ci(head, &form);
    assert_eq!(answer.json()["firmware_version"], "2.1", "{answer:?}");
    assert_eq!(
        site.device("GET /api/iot/firmware", b"").body,
        version("2.1").bin()
    );
}

#[test]
fn conditions_and_ranges_are_answered_as_updaters_expect() {
    let site = TestGateway::new();
    let build = version("1.2.3");
    site.upload(&build.zip());
    let bin = build.bin();
    let length = bin.len();
    let head = site.device("HEAD /api/iot/firmware", b"");
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-length"),
        Some(length.to_string().as_str())
    );
    let etag = head.header("etag").unwrap().to_owned();
    let last = length - 1;
    for (more, status, body, range) in [
        (format!("If-None-Match: {etag}"), 304, 0..0, None),
        ("If-None-Match: \"x\"".to_owned(), 200, 0..length, None),
        (
            "Range: bytes=0-".to_owned(),
            206,
            0..length,
            Some(format!("bytes 0-{last}/{length}")),
        ),
        (
            "Range: bytes=100-199".to_owned(),
            206,
            100..200,
            Some(format!("bytes 100-199/{length}")),
        ),
        (
            format!("Range: bytes=100-{}", length + 50),
            206,
            100..length,
            Some(format!("bytes 100-{last}/{length}")),
        ),
        (
            format!("Range: bytes={length}-"),
            416,
            0..0,
            Some(format!("bytes */{length}")),
        ),
        (
            "Range: bytes=-10".to_owned(),
            206,
            length - 10..length,
            Some(format!("bytes {}-{last}/{length}", length - 10)),
        ),
        (
            format!("Range: bytes=5-9\r\nIf-Range: {etag}"),
            206,
            5..10,
            Some(format!("bytes 5-9/{length}")),
        ),
        (
            "Range: bytes=5-9\r\nIf-Range: \"x\"".to_owned(),
            200,
            0..length,
            None,
        ),
        ("Range: bytes=9-5".to_owned(), 200, 0..length, None),
        ("Range: lines=1-2".to_owned(), 200, 0..length, None),
    ] {
        let answer = site.device(&format!("GET /api/iot/firmware\r\n{more}"), b"");
        assert_eq!(answer.status, status, "{more}");
        assert_eq!(answer.body, bin[body], "{more}");
        assert_eq!(answer.header("content-range"), range.as_deref(), "{more}");
    }
}

#[test]
fn the_ranges_of_one_sequence_are_of_one_build() {
    let site = TestGateway::new();
    let (old, new) = (
        version("1.0"),
        Build {
            code: 3000,
            ..version("2.0")
        },
    );
    site.upload(&old.zip());
    let range = |range: &str| site.device(&format!("GET /api/iot/firmware\r\nRange: {range}"), b"");
    assert_eq!(range("bytes=0-99").body, old.bin()[..100]);
    site.upload(&new.zip());
    assert_eq!(range("bytes=100-199").body, old.bin()[100..200]);
    assert_eq!(site.device("HEAD /api/iot/firmware", b"").status, 200);
    assert_eq!(range("bytes=0-99").body, new.bin()[..100]);
}

#[test]
fn a_client_that_polls_by_a_range_from_the_first_byte_gets_the_next_build() {
    let site = TestGateway::new();
    let range = || site.device("GET /api/iot/firmware\r\nRange: bytes=0-", b"");
    for build in ["1.0", "2.0"].map(version) {
        assert_eq!(site.upload(&build.zip()).status, 200);
        assert_eq!(range().body, build.bin());
    }
}

#[test]
fn people_decide_what_is_served() {
    let site = TestGateway::new();
    for v in ["1.0", "2.0", "3.0"] {
        assert_eq!(site.upload(&version(v).zip()).json()["active"], true);
    }
    let served =
        || site.device("GET /api/iot/firmware-version", b"").json()["firmware_version"].clone();
    let image = || site.device("GET /api/iot/firmware", b"").status;
    let daemon = &site.daemon;
    assert_eq!(served(), "3.0");
    daemon.manage("POST /api/models/lamp/rollback", &json!({}));
    assert_eq!(served(), "2.0");
    daemon.manage("PUT /api/models/lamp/active", &json!({ "version": "1.0" }));
    assert_eq!(served(), "1.0");
    daemon.manage("PUT /api/devices/k1/pin", &json!({ "version": "3.0" }));
    assert_eq!(served(), "3.0");
    let refused = daemon.control("DELETE /api/models/lamp/firmware/3.0", b"");
    assert_eq!(refused.status, 409, "pinned");
    daemon.manage("DELETE /api/devices/k1/pin", &json!({}));
    daemon.manage("PUT /api/models/lamp", &json!({ "held": true }));
    assert_eq!((served(), image()), (Value::Null, 404));
    assert_eq!(site.upload(&version("4.0").zip()).json()["active"], false);
    daemon.manage("PUT /api/models/lamp", &json!({ "held": false }));
    assert_eq!((served(), image()), (json!("1.0"), 200));
    daemon.manage("PUT /api/models/lamp/blocked/1.0", &json!({}));
    assert_eq!((served(), image()), (Value::Null, 404));
    let head = "PUT /api/models/lamp/active\r\nContent-Type: application/json";
    assert_eq!(daemon.control(head, b"{\"version\":\"1.0\"}").status, 409);
    assert_eq!(daemon.control(head, b"{\"version\":\"9.9\"}").status, 404);
    assert_eq!(
        daemon
            .control("DELETE /api/models/lamp/firmware/2.0", b"")
            .status,
        204
    );
    daemon.manage("PUT /api/models/lamp", &json!({ "activate": "manual" }));
    assert_eq!(site.upload(&version("5.0").zip()).json()["active"], false);
    let listed = daemon.control("GET /api/models/lamp/firmware", b"").json();
    let names: Vec<_> = listed["firmware"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["5.0", "4.0", "3.0", "1.0"]);
    let file = daemon.control("GET /api/models/lamp/firmware/4.0.zip", b"");
    assert_eq!(file.body, version("4.0").zip());
}

#[test]
fn another_build_of_a_version_keeps_the_older_one() {
    let site = TestGateway::new();
    site.upload(&version("1.0").zip());
    let other = Build {
        seed: 2,
        ..version("1.0")
    };
    let answer = site.upload(&other.zip()).json();
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{answer}");
    assert_eq!(site.device("GET /api/iot/firmware", b"").body, other.bin());
    let listed = site
        .daemon
        .control("GET /api/models/lamp/firmware", b"")
        .json();
    let names: Vec<_> = listed["firmware"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 2);
    let aside = names.iter().find(|name| name.starts_with("1.0~")).unwrap();
    let file = site
        .daemon
        .control(&format!("GET /api/models/lamp/firmware/{aside}.zip"), b"");
    assert_eq!(file.body, version("1.0").zip());
}

#[test]
fn another_build_of_a_version_changes_nothing_that_people_decided() {
    let (old, new) = (
        version("1.0"),
        Build {
            seed: 2,
            ..version("1.0")
        },
    );
    let manual = ("PUT /api/models/lamp", json!({ "activate": "manual" }));
    let held = ("PUT /api/models/lamp", json!({ "held": true }));
    let blocked = ("PUT /api/models/lamp/blocked/1.0", json!({}));
    let pinned = ("PUT /api/devices/k1/pin", json!({ "version": "1.0" }));
    for (decided, undecide, expected) in [
        (manual, None, Some(&old)),
        (
            held,
            Some(("PUT /api/models/lamp", json!({ "held": false }))),
            Some(&old),
        ),
        (blocked, None, None),
        (pinned.clone(), None, Some(&old)),
        (
            pinned,
            Some(("DELETE /api/devices/k1/pin", json!({}))),
            Some(&new),
        ),
    ] {
        let site = TestGateway::new();
        site.upload(&old.zip());
        site.daemon.manage(decided.0, &decided.1);
        let answer = site.upload(&new.zip()).json();
        let again = site.upload(&new.zip()).json();
        assert_eq!(answer["active"], again["active"], "{decided:?}");
        if let Some((head, body)) = undecide {
            site.daemon.manage(head, &body);
        }
        let served = site.device("GET /api/iot/firmware", b"");
        assert_eq!(served.status == 200, expected.is_some(), "{decided:?}");
        if let Some(build) = expected {
            assert_eq!(served.body, build.bin(), "{decided:?}");
        }
    }
}

#[test]
fn a_build_is_named_by_version_hash_or_digits_of_its_id() {
    let site = TestGateway::new();
    let other = Build {
        seed: 2,
        ..version("1.0")
    };
    site.upload(&version("1.0").zip());
    site.upload(&other.zip());
    let daemon = &site.daemon;
    let listed = daemon.control("GET /api/models/lamp/firmware", b"").json();
    let id = |at: usize| listed["firmware"][at]["build_id"].as_str().unwrap();
    let (new, old) = (id(0), id(1));
    let active = || site.device("GET /api/iot/firmware-version", b"").json()["build_id"].clone();
    assert_eq!(active(), new);
    let name = |name: &str| json!({ "version": name });
    for (text, expected) in [
        (&old[..8], old),
        ("1.0", new),
        (old, old),
        (&format!("1.0~{}", &new[..8]), new),
    ] {
        daemon.manage("PUT /api/models/lamp/active", &name(text));
        assert_eq!(active(), expected, "{text}");
    }
    daemon.manage("PUT /api/devices/k1/pin", &name(&old[..8]));
    assert_eq!(active(), old);
    let device = daemon.control("GET /api/devices/k1", b"").json();
    assert_eq!(device["pin_build_id"], old);
    assert!(device["pin"].as_str().unwrap().starts_with("1.0~"));
    let head = "PUT /api/models/lamp/active\r\nContent-Type: application/json";
    let too_short = daemon.control(head, name(&old[..7]).to_string().as_bytes());
    assert_eq!(too_short.status, 404);
}

#[test]
fn a_blocked_build_ends_in_the_middle_of_its_ranges() {
    let site = TestGateway::new();
    site.upload(&version("1.0").zip());
    let range = |range: &str| site.device(&format!("GET /api/iot/firmware\r\nRange: {range}"), b"");
    assert_eq!(range("bytes=0-99").status, 206);
    site.upload(&version("2.0").zip());
    assert_eq!(range("bytes=100-199").body, version("1.0").bin()[100..200]);
    site.daemon
        .manage("PUT /api/models/lamp/blocked/1.0", &json!({}));
    assert_eq!(range("bytes=200-299").status, 404);
    let asked = site.device("GET /api/iot/firmware?version=1.0", b"");
    assert_eq!(asked.status, 404, "not by its name either");
    assert_eq!(
        site.device("GET /api/iot/firmware", b"").body,
        version("2.0").bin()
    );
}

#[test]
fn firmware_for_another_chip_is_stored_and_not_activated() {
    let site = TestGateway::new();
    site.upload(&version("1.0").zip());
    let other = Build {
        chip_id: 5,
        ..version("2.0")
    };
    let answer = site.upload(&other.zip()).json();
    assert_eq!(answer["active"], false);
    assert_eq!(answer["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn bundles_can_be_kept_from_devices() {
    let site = TestGateway::with("[firmware]\nzip_to_devices = false\n");
    site.upload(&version("1.0").zip());
    assert_eq!(site.device("GET /api/iot/firmware.zip", b"").status, 403);
    assert_eq!(site.device("GET /api/iot/firmware", b"").status, 200);
}

#[test]
fn configuration_is_the_devices_own_or_its_models() {
    let site = TestGateway::new();
    let ask = || site.device("GET /api/iot/config", b"");
    let missing = ask();
    assert_eq!(
        (missing.status, missing.error()),
        (404, String::from("Resource not found"))
    );
    site.daemon.wait_for_event("DeviceConfigMissing", "k1");
    let folder = site.daemon.data().join("config");
    crate::daemon::write(&folder.join("lamp.json"), b"{\"a\": 1}\n");
    assert_eq!(ask().body, b"{\"a\": 1}\n");
    crate::daemon::write(&folder.join("k1.json"), b"[2]");
    let own = ask();
    assert_eq!(own.body, b"[2]");
    assert_eq!(own.header("cache-control"), Some("no-cache"));
}

#[test]
fn a_dump_that_waited_for_its_elf_is_read_when_the_bundle_arrives() {
    let site = TestGateway::new();
    site.post(&dump(1));
    site.daemon.wait_for_event("CoredumpDecoded", "k1");
    let listed = site.daemon.control("GET /api/coredumps", b"").json();
    assert_eq!(listed["coredumps"][0]["decode"], "no-elf");
}

#[test]
fn all_firmware_of_a_model_goes_at_once_the_active_one_too() {
    let site = TestGateway::new();
    for number in ["1.0", "1.1"] {
        assert_eq!(site.upload(&version(number).zip()).status, 200);
    }
    let all = "DELETE /api/models/lamp/firmware";
    site.daemon
        .manage("PUT /api/devices/k1/pin", &json!({ "version": "1.0" }));
    let refused = site.daemon.control(all, b"");
    assert_eq!(refused.status, 409);
    let why = refused.error();
    assert_eq!(why, "Device k1 is pinned to firmware 1.0 of lamp");
    site.daemon.manage("DELETE /api/devices/k1/pin", &json!({}));

    let deleted = site.daemon.manage(all, &json!({}));
    assert_eq!(deleted, json!({ "deleted": ["1.1", "1.0"] }));
    let assets = site.daemon.data().join("assets");
    assert!(!assets.join("firmware-lamp.bin").exists());
    assert_eq!(fs::read_dir(assets.join("lamp")).unwrap().count(), 0);
    let left = site.device("GET /api/iot/firmware", b"");
    assert_eq!(left.error(), "Firmware lamp was not found");
    let model = site.daemon.control("GET /api/models/lamp", b"").json();
    assert_eq!(model["active"], Value::Null);
    assert_eq!(model["previous"], json!([]));
    let journal = site.daemon.journal();
    for number in ["1.0", "1.1"] {
        let line = format!("deleted firmware {number} of lamp");
        assert!(journal.contains(&line), "{journal}");
    }
    // the number is the model's for life, and the next upload is served
    let next = site.upload(&version("1.2").zip()).json();
    assert_eq!(next["id"], 1);
    assert_eq!(next["active"], true);
    let unknown = site
        .daemon
        .control("DELETE /api/models/other/firmware", b"");
    assert_eq!(unknown.status, 404);
}

#[test]
fn a_blocked_version_is_allowed_again_by_its_name_whichever_of_its_builds_it_was() {
    let site = TestGateway::new();
    let build = |seed| Build {
        seed,
        ..version("1.0")
    };
    site.upload(&build(1).zip());
    site.daemon
        .manage("PUT /api/models/lamp/blocked/1.0", &json!({}));
    assert_eq!(site.upload(&build(2).zip()).json()["active"], false);
    let allowed = site
        .daemon
        .control("DELETE /api/models/lamp/blocked/1.0", b"");
    assert_eq!(allowed.status, 204);
    assert_eq!(site.upload(&build(3).zip()).json()["active"], true);
    let unknown = site
        .daemon
        .control("DELETE /api/models/lamp/blocked/9.9", b"");
    assert_eq!(unknown.status, 404);
}
