//! Update clients that are not ESP-IDF's: the requests of Arduino's `HTTPUpdate`
//! and of ESPHome's `http_request`, byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde_json::json;
use sha2::Sha256;

use crate::daemon::Answer;
use crate::firmware_files::Build;
use crate::test_gateway::{TestGateway, token};

fn build(version: &str) -> Build<'_> {
    Build {
        version,
        ..Build::of("lamp")
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digits = bytes.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// The request of `HTTPUpdate::update`, which speaks HTTP/1.0.
fn httpupdate(site: &TestGateway, headers: &[(&str, &str)]) -> Answer {
    let user = BASE64.encode(format!("k1:{}", site.device));
    let mut head = format!(
        "GET /api/iot/firmware HTTP/1.0\r\nUser-Agent: ESP32-http-Update\r\nConnection: close\r\n\
         Authorization: Basic {user}\r\nCache-Control: no-cache\r\n\
         x-ESP32-STA-MAC: 24:0A:C4:00:00:21\r\nx-ESP32-sdk-version: v5.1.4"
    );
    for (name, value) in headers {
        head.push_str(&format!("\r\n{name}: {value}"));
    }
    site.daemon.request(&head, b"")
}

#[test]
fn an_arduino_board_is_not_sent_what_it_runs() {
    let site = TestGateway::new();
    let (old, new) = (build("1.0.0").bin(), build("1.1.0").bin());
    for bin in [&old, &new] {
        assert_eq!(site.upload(bin).status, 200);
    }
    let appended = |bin: &[u8]| hex(&bin[bin.len() - 32..]).to_uppercase();
    let (of_old, of_new, foreign) = (appended(&old), appended(&new), "0B".repeat(32));
    let (version, sketch) = ("x-ESP32-version", "x-ESP32-sketch-sha256");
    let space = new.len().to_string();
    let no_space = (new.len() - 1).to_string();
    for (headers, status) in [
        (vec![(version, "1.0.0")], 200),
        (vec![(version, "1.1.0")], 304),
        (vec![(version, "1.1.0"), (sketch, &foreign)], 304),
        (vec![(version, "1.1.0"), (sketch, &of_old)], 200),
        (vec![(version, "1.0.0"), (sketch, &of_new)], 304),
        (vec![("x-ESP32-mode", "sketch"), (sketch, &of_old)], 200),
        (vec![("x-ESP32-mode", "spiffs")], 404),
        (vec![(sketch, &of_old), ("x-ESP32-free-space", &space)], 200),
        (
            vec![(sketch, &of_old), ("x-ESP32-free-space", &no_space)],
            304,
        ),
    ] {
        let answer = httpupdate(&site, &headers);
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(answer.version, "HTTP/1.0");
        assert_eq!(answer.header("transfer-encoding"), None);
        if status == 200 {
            assert_eq!(answer.header("content-length"), Some(&*space));
            assert_eq!(answer.header("x-md5"), Some(&*hex(Md5::digest(&new))));
            assert_eq!(answer.header("x-sha256"), Some(&*hex(Sha256::digest(&new))));
            assert_eq!(answer.body, new);
        }
    }
    site.daemon.wait_for_event("FirmwareIncompatible", "k1");
}

#[test]
fn the_digests_of_builds_of_an_earlier_release_are_found_out() {
    let site = TestGateway::new();
    let bin = build("1.0.0").bin();
    site.upload(&bin);
    let sidecar = site.daemon.data().join("assets/lamp/firmware-1.0.0.json");
    let mut known: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&sidecar).unwrap()).unwrap();
    let (folder, at) = (site.daemon.folder.clone(), known["uploaded_at"].clone());
    for digest in ["bin_md5", "bin_appended_sha256"] {
        known.as_object_mut().unwrap().remove(digest).unwrap();
    }
    let device = site.device.clone();
    site.daemon.stop();
    crate::daemon::write(&sidecar, known.to_string().as_bytes());
    let daemon = crate::daemon::Start::on(folder, "").start();
    let head = format!("GET /api/iot/firmware\r\nAuthorization: Bearer {device}");
    let answer = daemon.request(&head, b"");
    assert_eq!(answer.header("x-md5"), Some(&*hex(Md5::digest(&bin))));
    let known: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&sidecar).unwrap()).unwrap();
    assert_eq!(known["uploaded_at"], at);
    assert!(known["bin_md5"].is_string());
}

#[test]
fn esphome_finds_the_offered_build_in_the_manifest() {
    let site = TestGateway::new();
    let nothing = site.device("GET /api/iot/manifest.json", b"");
    assert_eq!(
        (nothing.status, nothing.error()),
        (404, String::from("Firmware lamp was not found"))
    );
    let bin = build("2.0.0").bin();
    site.upload(&bin);
    let manifest = |path: &str, ota: &str| {
        json!({
            "name": "lamp", "version": "2.0.0",
            "builds": [{
                "chipFamily": "ESP32-S3",
                "ota": { "path": path, "md5": ota, "summary": "2.0.0 of lamp" },
            }],
        })
    };
    let md5 = hex(Md5::digest(&bin));
    let answer = site.device("GET /api/iot/manifest.json", b"");
    assert_eq!(answer.json(), manifest("/api/iot/firmware", &md5));

    // with a fleet's token the board stands in the query, or is the user name
    let fleet = token(&site.daemon, "all", "fleet", Some("lamp"));
    let query =
        format!("GET /api/iot/manifest.json?device_key=b7\r\nAuthorization: Bearer {fleet}");
    let path = "/api/iot/firmware?device_key=b7";
    assert_eq!(
        site.daemon.request(&query, b"").json(),
        manifest(path, &md5)
    );
    let user = BASE64.encode(format!("B8:{fleet}"));
    for path in ["manifest.json", "firmware"] {
        let head = format!("GET /api/iot/{path}\r\nAuthorization: Basic {user}");
        assert_eq!(site.daemon.request(&head, b"").status, 200, "{path}");
    }
    let known = site.daemon.control("GET /api/devices/b8", b"");
    assert_eq!(known.status, 200);
}

#[test]
fn basic_authentication_needs_the_devices_own_token() {
    let site = TestGateway::new();
    let status = |user: &str, password: &str| {
        let user = BASE64.encode(format!("{user}:{password}"));
        let head = format!("GET /api/iot/firmware-version\r\nAuthorization: Basic {user}");
        site.daemon.request(&head, b"").status
    };
    assert_eq!(status("k1", &site.device), 200);
    assert_eq!(status("K1", &site.device), 200);
    assert_eq!(status("", &site.device), 200);
    assert_eq!(status("k2", &site.device), 401);
    assert_eq!(status("k1", "eg1_00000000_x"), 401);
    assert_eq!(status("k1", ""), 401);
    for value in ["Basic", "Basic ", "Basic !!!", "Basic azE=", "Digest azE="] {
        let head = format!("GET /api/iot/firmware-version\r\nAuthorization: {value}");
        assert_eq!(site.daemon.request(&head, b"").status, 401, "{value}");
    }
}
