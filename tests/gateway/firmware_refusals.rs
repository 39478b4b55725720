//! Every refusal of an upload, in the words CI knows.

use std::io::Write;

use crate::daemon::read_answer;
use crate::firmware_files::{Build, rename_entry, zip};
use crate::test_gateway::TestGateway;

fn without(name: &str) -> Vec<u8> {
    let mut files = Build::of("lamp").files();
    files.retain(|(file, _)| file != name);
    zip(&files)
}

fn with(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut files = Build::of("lamp").files();
    files.retain(|(file, _)| file != name);
    files.push((name.to_owned(), bytes.to_vec()));
    zip(&files)
}

#[test]
fn what_is_no_firmware_is_refused_with_the_reason() {
    let site = TestGateway::new();
    let bin = Build::of("lamp").bin();
    let mut magic = bin.clone();
    magic[32] ^= 1;
    let mut nameless = bin.clone();
    nameless[48..80].fill(0);
    let mut garbled = bin.clone();
    garbled[48] = 0xff;
    let mut slashed = bin.clone();
    slashed[48..52].copy_from_slice(b"1/2\0");
    let manifest = |text: &str| with("version.json", text.as_bytes());
    let many = zip(&[("b", "x"), ("lamp.bin", "x"), ("a", "x")]);
    let not_zip = "Invalid firmware ZIP: ";
    for (what, body, error) in [
        ("empty", Vec::new(), "No firmware content provided"),
        ("cut", Build::of("lamp").zip()[..200].to_vec(), not_zip),
        (
            "no elf",
            without("lamp.elf"),
            "Invalid firmware ZIP: missing lamp.elf",
        ),
        (
            "many",
            many,
            "Invalid firmware ZIP: missing lamp.elf, lamp.map, sdkconfig, version.json",
        ),
        (
            "more",
            with("b.txt", b"x"),
            "Invalid firmware ZIP: unexpected files: b.txt",
        ),
        (
            "other model",
            Build::of("desk").zip(),
            "Invalid firmware ZIP: missing lamp.bin, lamp.elf, lamp.map",
        ),
        (
            "not json",
            manifest("{"),
            "Invalid firmware ZIP: version.json is not valid JSON: ",
        ),
        (
            "no fields",
            manifest("{\"idf_version\":\"1\"}"),
            "Invalid firmware ZIP: version.json missing fields: firmware_version, git_commit",
        ),
        (
            "path",
            rename_entry(Build::of("lamp").zip(), "sdkconfig", "../config"),
            not_zip,
        ),
        (
            "short",
            b"\xe9short".to_vec(),
            "Invalid firmware: binary too short (minimum 80 bytes required)",
        ),
        (
            "magic",
            magic,
            "Invalid firmware: magic number mismatch (expected 0xABCD5432, got 0xABCD5433)",
        ),
        (
            "nameless",
            nameless,
            "Invalid firmware: empty version string",
        ),
        (
            "garbled",
            garbled,
            "Invalid firmware: cannot decode version string: ",
        ),
        (
            "slashed",
            slashed,
            "Invalid firmware: version is not usable as a file name",
        ),
    ] {
        let answer = site.upload(&body);
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        assert!(
            answer.error().starts_with(error),
            "{what}: {}",
            answer.error()
        );
        assert_eq!(answer.json()["code"], "VALIDATION_FAILED", "{what}");
    }
    let listed = site
        .daemon
        .control("GET /api/models/lamp/firmware", b"")
        .json();
    assert_eq!(
        listed["firmware"].as_array().unwrap().len(),
        0,
        "nothing is stored"
    );
    let assets = std::fs::read_dir(site.daemon.data().join("assets")).unwrap();
    assert!(
        assets
            .flatten()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with('.')),
        "no unfinished file is left"
    );
    let unknown = site.ci("POST /api/pipeline/models/desk/firmware", b"x");
    assert_eq!(
        (unknown.status, unknown.error()),
        (404, String::from("DeviceModel desk was not found"))
    );
}

#[test]
fn what_is_too_large_is_refused_whether_announced_or_not() {
    let site = TestGateway::with("[firmware]\nmax_bundle_bytes = 65536\n");
    let large = vec![0; 300_000];
    let answer = site.upload(&large);
    assert_eq!(answer.status, 413);
    assert_eq!(answer.error(), "Firmware exceeds maximum size of 64KB");
    let mut stream = site.daemon.connect();
    let head = format!(
        "POST /api/pipeline/models/lamp/firmware HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        site.pipeline,
        large.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&large).unwrap();
    stream.write_all(b"\r\n0\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 413);
}
