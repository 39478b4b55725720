//! `POST /api/iot/coredump` and what people see of it.

use std::fs;
use std::io::Write;
use std::net::Shutdown;

use serde_json::Value;

use crate::daemon::{exchange, read_answer};
use crate::dumps::{VERSIONS, base64_lines, risc_v, shape, xtensa};
use crate::test_gateway::{TestGateway, dump, salted};

fn sidecar(site: &TestGateway, filename: &str) -> Value {
    let path = site.daemon.data().join("coredumps/k1").join(filename);
    let text = fs::read_to_string(path.with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_posted_dump_is_on_the_disk_as_received_with_its_sidecar() {
    let site = TestGateway::new();
    let dump = dump(1);
    let answer = site.device(
        "POST /api/iot/coredump?chip=esp32&firmware_version=1.0+dirty&uptime_s=12&mac=a",
        &dump,
    );
    assert_eq!(answer.status, 201, "{answer:?}");
    let json = answer.json();
    assert_eq!(json["status"], "ok");
    assert_eq!(json.get("kept"), None);
    let filename = json["filename"].as_str().unwrap();
    let path = site.daemon.data().join("coredumps/k1").join(filename);
    assert_eq!(fs::read(path).unwrap(), dump);
    let sidecar = sidecar(&site, filename);
    for (key, value) in [
        ("id", json["coredump_id"].clone()),
        ("firmware_version", "1.0+dirty".into()),
        ("device_key", "k1".into()),
        ("model_code", "lamp".into()),
        ("source", "https".into()),
        ("identity", "token".into()),
        ("format", "raw/elf".into()),
        ("header_version", "1.2".into()),
        ("verdict", "valid".into()),
        ("uptime_s", 12.into()),
        ("mac", "a".into()),
        ("schema", 1.into()),
        ("serial_port", Value::Null),
    ] {
        assert_eq!(sidecar[key], value, "{key}");
    }
    let stamp = filename.strip_prefix("coredump_").unwrap();
    assert_eq!(stamp.len(), "20260211T143000_123456Z.dmp".len());
    let listed = site.daemon.control("GET /api/coredumps", b"").json();
    assert_eq!(listed["coredumps"][0]["filename"], filename);
    assert_eq!(listed["next_cursor"], Value::Null);
    site.daemon.wait_for_event("CoredumpDecoded", "k1");
    let id = json["coredump_id"].as_str().unwrap();
    let report = site
        .daemon
        .control(&format!("GET /api/coredumps/{id}/report"), b"");
    assert_eq!(report.json()["verdict"], "valid");
    let text = format!("GET /api/coredumps/{id}/report\r\nAccept: text/plain");
    let text = site.daemon.control(&text, b"").body;
    assert!(String::from_utf8(text).unwrap().contains("main"));
}

#[test]
fn requests_are_checked_in_order_and_refused_in_the_words_devices_know() {
    let site = TestGateway::new();
    let ask = |target: &str, token: &str, body: &[u8]| {
        let authorization = match token {
            "" => String::new(),
            token => format!("\r\nAuthorization: {token}"),
        };
        site.daemon.request(
            &format!("POST /api/iot/coredump{target}{authorization}"),
            body,
        )
    };
    let own = format!("Bearer {}", site.device);
    let stranger = format!("Bearer eg1_{}_{}", "a".repeat(8), "b".repeat(32));
    let chip = "Missing required query parameter: chip";
    let version = "Missing required query parameter: firmware_version";
    let both = "?chip=esp32&firmware_version=1";
    for (target, token, body, status, error) in [
        ("", "", "", 400, chip),
        ("?chip=&firmware_version=1", &own, "x", 400, chip),
        ("?chip=esp32", "", "x", 400, version),
        ("?chip=esp32&firmware_version=", &own, "x", 400, version),
        (both, "", "x", 401, "No valid token provided"),
        (both, "Bearer x", "x", 401, "Malformed token"),
        (both, &stranger, "x", 401, "Unknown or revoked token"),
        (both, &own, "", 400, "No coredump content provided"),
    ] {
        let answer = ask(target, token, body.as_bytes());
        assert_eq!(answer.status, status, "{target} {token}");
        assert_eq!(answer.error(), error, "{target} {token}");
        let json = answer.json();
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        } else {
            assert_eq!(json["code"], "VALIDATION_FAILED");
            assert!(json["details"]["message"].is_string());
            assert_eq!(json["correlationId"].as_str().unwrap().len(), 36);
        }
    }
    for (head, status) in [
        ("GET /api/iot/coredump", 405),
        ("GET /nothing", 404),
        ("GET /api/coredumps/0123456789ab", 401),
    ] {
        assert_eq!(site.daemon.request(head, b"").status, status, "{head}");
    }
}

#[test]
fn in_open_mode_devices_say_who_they_are() {
    let site = TestGateway::with("[auth]\ndevices = \"open\"\n");
    let ask = |more: &str| {
        let head = format!("POST /api/iot/coredump?chip=esp32&firmware_version=1{more}");
        site.daemon.request(&head, &dump(1))
    };
    for (more, status, code, error) in [
        (
            "",
            401,
            "AUTHENTICATION_REQUIRED",
            "Device authentication required",
        ),
        (
            "&device_key=",
            401,
            "AUTHENTICATION_REQUIRED",
            "Device authentication required",
        ),
        (
            "&device_key=a-b",
            400,
            "VALIDATION_FAILED",
            "Invalid device key format",
        ),
        (
            "&device_key=k2",
            404,
            "RECORD_NOT_FOUND",
            "Device k2 was not found",
        ),
    ] {
        let answer = ask(more);
        assert_eq!(
            (answer.status, answer.error()),
            (status, error.to_owned()),
            "{more}"
        );
        assert_eq!(answer.json()["code"], code);
    }
    assert_eq!(ask("&device_key=K1").status, 201, "upper case is folded");
    site.daemon
        .wait_for_event("AuthenticationOpen", "auth.devices");
}

#[test]
fn a_fleets_device_is_registered_when_it_first_comes() {
    let site = TestGateway::new();
    let fleet = crate::test_gateway::token(&site.daemon, "field", "fleet", Some("lamp"));
    let ask = |key: &str| {
        let head = format!(
            "POST /api/iot/coredump?chip=esp32&firmware_version=1{key}\r\nAuthorization: Bearer {fleet}"
        );
        site.daemon.request(&head, &dump(1))
    };
    assert_eq!(ask("").status, 401);
    assert_eq!(ask("&device_key=New7").status, 201);
    let device = site.daemon.control("GET /api/devices/new7", b"").json();
    assert_eq!(device["model"], "lamp");
    assert_eq!(device["registered"], true);
}

#[test]
fn any_body_is_kept_and_labelled() {
    let site = TestGateway::new();
    let raw = |version| xtensa().image(version, false);
    let (_, _, checksum, _) = VERSIONS[5];
    assert_eq!(shape(0x0102), VERSIONS[5]);
    let text = base64_lines(&raw(0x0102), checksum);
    let mut bodies: Vec<(String, Vec<u8>, &str, Option<&str>)> = VERSIONS
        .iter()
        .map(|(version, _, _, is_elf)| {
            let format = if *is_elf { "raw/elf" } else { "raw/binary" };
            let mut spec = salted(risc_v(), 1);
            spec.app_elf_sha256 = "0123456789abcdef";
            let name = format!("{version:04x}");
            (name, spec.image(*version, true), "valid", Some(format))
        })
        .collect();
    let mut head4 = salted(risc_v(), 4).elf();
    head4.drain(..4);
    let mut head12 = salted(xtensa(), 12).elf();
    head12.drain(..12);
    head12.extend([9; 28]);
    let mut flipped = raw(0x0103);
    flipped[200] ^= 1;
    for (name, body, verdict, format) in [
        ("bare", risc_v().elf(), "valid", Some("bare-elf/elf")),
        ("base64", text.into_bytes(), "valid", Some("base64/elf")),
        ("head4", head4, "repaired", Some("bare-elf/elf")),
        ("head12", head12, "repaired", Some("bare-elf/elf")),
        ("flipped", flipped, "checksum-mismatch", Some("raw/elf")),
        (
            "half",
            raw(0x0104)[..900].to_vec(),
            "truncated",
            Some("raw/elf"),
        ),
        ("erased", vec![0xff; 4096], "not-a-coredump", None),
        ("words", b"hello".to_vec(), "not-a-coredump", None),
    ] {
        bodies.push((name.to_owned(), body, verdict, format));
    }
    for (name, body, verdict, format) in bodies {
        let answer = site.post(&body);
        assert_eq!(answer.status, 201, "{name}");
        let filename = answer.json()["filename"].as_str().unwrap().to_owned();
        let sidecar = sidecar(&site, &filename);
        assert_eq!(sidecar["verdict"], verdict, "{name}: {sidecar}");
        if format.is_some() {
            assert_eq!(sidecar["format"].as_str(), format, "{name}");
        }
        if verdict != "valid" && verdict != "not-a-coredump" {
            assert_ne!(sidecar["problems"].as_array().unwrap().len(), 0, "{name}");
        }
    }
}

#[test]
fn the_same_dump_is_one_dump_and_a_crash_loop_is_counted() {
    let site = TestGateway::new();
    let first = site.post(&dump(1)).json();
    let again = site.post(&dump(1)).json();
    assert_eq!(again["filename"], first["filename"]);
    assert_eq!(again["kept"], false);
    // padded as flash has it: the same payload
    let flash = salted(xtensa(), 1).image(0x0102, true);
    assert_eq!(
        site.post(&flash).json()["coredump_id"],
        first["coredump_id"]
    );
    let second = site.post(&dump(2)).json();
    let third = site.post(&dump(3)).json();
    assert_eq!(third.get("kept"), None);
    let fourth = site.post(&dump(4)).json();
    assert_eq!(fourth["kept"], false);
    assert_eq!(fourth["coredump_id"], third["coredump_id"]);
    let listed = site
        .daemon
        .control("GET /api/coredumps?device=k1&limit=2", b"")
        .json();
    let ids: Vec<_> = listed["coredumps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["id"])
        .collect();
    assert_eq!(ids, [&third["coredump_id"], &second["coredump_id"]]);
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = site
        .daemon
        .control(&format!("GET /api/coredumps?cursor={cursor}"), b"")
        .json();
    assert_eq!(rest["coredumps"].as_array().unwrap().len(), 1);
    let fingerprint = listed["coredumps"][0]["fingerprint"].as_str().unwrap();
    let crash = format!("coredumps/k1/crash_{fingerprint}.json");
    let crash: Value =
        serde_json::from_slice(&fs::read(site.daemon.data().join(crash)).unwrap()).unwrap();
    assert_eq!(crash["occurrences"], 6);
    assert_eq!(crash["occurrences_per_version"]["1.2.3"], 6);
}

#[test]
fn what_is_too_large_is_refused_after_its_beginning_was_kept() {
    let site = TestGateway::with("[coredumps]\nmax_upload_bytes = 4096\n");
    let answer = site.post(&[dump(1), vec![0; 300_000]].concat());
    assert_eq!(answer.status, 400);
    assert_eq!(answer.error(), "Coredump exceeds maximum size of 4KB");
    let listed = site.daemon.control("GET /api/coredumps", b"").json();
    let kept = &listed["coredumps"][0];
    assert_eq!(kept["size"], 4096);
    assert!(
        kept["problems"]
            .as_array()
            .unwrap()
            .contains(&"oversize".into())
    );
}

#[test]
fn what_came_of_a_body_that_ends_too_early_is_kept_as_truncated() {
    let site = TestGateway::new();
    let whole = dump(1);
    let post = |length: usize, sent: &[u8]| {
        let mut stream = site.daemon.connect();
        let head = format!(
            "POST /api/iot/coredump?chip=esp32&firmware_version=1 HTTP/1.1\r\nHost: x\r\n\
             Authorization: Bearer {}\r\nContent-Length: {length}\r\n\r\n",
            site.device
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(sent).unwrap();
        stream.flush().unwrap();
        // closing with unread bytes would reset the connection, and what was sent with it
        stream.sock.shutdown(Shutdown::Write).unwrap();
        stream
    };
    let _first = post(whole.len(), &whole[..whole.len() - 180]);
    let ended = format!("after {} of {} bytes", whole.len() - 180, whole.len());
    site.daemon.wait_for(&ended);
    let _second = post(60_000, &dump(2)[..300]);
    site.daemon.wait_for("after 300 of 60000 bytes");
    let _third = post(60_000, b"");
    site.daemon.wait_for("after 0 of 60000 bytes");
    let listed = site.daemon.control("GET /api/coredumps", b"").json();
    let listed = listed["coredumps"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    let first = &listed[1];
    assert_eq!(first["verdict"], "truncated");
    assert!(first["problems"].to_string().contains(&ended), "{first}");
    // the whole one is another dump
    let answer = site.post(&whole);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json().get("kept"), None);
}

#[test]
fn chunked_bodies_are_taken_and_a_body_without_length_is_empty() {
    let site = TestGateway::new();
    let target = "POST /api/iot/coredump?chip=esp32&firmware_version=1 HTTP/1.1\r\nHost: x\r\n";
    for (more, body, status) in [
        (
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            201,
        ),
        ("", "", 400),
    ] {
        let mut stream = site.daemon.connect();
        let text = format!(
            "{target}Authorization: Bearer {}\r\n{more}\r\n{body}",
            site.device
        );
        stream.write_all(text.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream, false).status, status, "{more}");
    }
}

#[test]
fn the_older_token_ends_when_the_newer_is_used() {
    let site = TestGateway::new();
    assert_eq!(site.post(&dump(1)).status, 201);
    let newer = site
        .daemon
        .manage("POST /api/devices/k1/token", &serde_json::json!({}));
    assert_eq!(site.post(&dump(2)).status, 201, "until then");
    let older = std::mem::take(&mut site.device.clone());
    let newer = newer["token"].as_str().unwrap();
    let ask = |token: &str| {
        let head = format!("GET /api/iot/firmware-version\r\nAuthorization: Bearer {token}");
        site.daemon.request(&head, b"").status
    };
    assert_eq!(ask(newer), 200);
    assert_eq!(ask(&older), 401);
}

#[test]
fn a_deleted_dump_is_gone_and_who_did_it_is_in_the_journal() {
    let site = TestGateway::new();
    let id = site.post(&dump(1)).json()["coredump_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/coredumps/{id}");
    let fetched = site.daemon.control(&format!("GET {path}/dump"), b"");
    assert_eq!(fetched.body, dump(1));
    assert_eq!(
        site.daemon.control(&format!("DELETE {path}"), b"").status,
        204
    );
    assert_eq!(site.daemon.control(&format!("GET {path}"), b"").status, 404);
    let deleted = site.daemon.wait_for_event("CoredumpDeleted", "k1");
    let actor = deleted["actor"].as_str().unwrap();
    assert!(actor.starts_with("uid "), "{deleted}");
}

#[test]
fn a_connection_serves_many_requests() {
    let site = TestGateway::new();
    let mut stream = site.daemon.connect();
    for salt in 0..5 {
        let head = format!(
            "POST /api/iot/coredump?chip=esp32&firmware_version=1\r\nAuthorization: Bearer {}",
            site.device
        );
        assert_eq!(exchange(&mut stream, &head, &dump(salt)).status, 201);
    }
}
