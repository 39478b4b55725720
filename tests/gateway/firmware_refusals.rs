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

#[test]
fn the_wrong_file_is_named_and_what_to_take_instead() {
    let site = TestGateway::new();
    let app = Build::of("lamp").bin();
    let mut merged = vec![0xFF; 0x10000];
    merged.extend(&app);
    let mut nameless = app.clone();
    nameless[48..80].fill(0);
    let mut arduino = app.clone();
    arduino[48..72].copy_from_slice(b"esp-idf: v5.1.4 972abb0\0");
    arduino[80..100].copy_from_slice(b"arduino-lib-builder\0");
    let elf = Build::of("lamp").elf();
    let in_zip = with("lamp.bin", &merged);
    for (what, file, error, advice) in [
        (
            "merged",
            &merged,
            "magic number mismatch",
            "begins at 0x10000",
        ),
        (
            "merged, in a bundle",
            &in_zip,
            "magic number mismatch",
            "begins at 0x10000",
        ),
        ("elf", &elf, "magic number mismatch", ".elf"),
        (
            "nameless",
            &nameless,
            "Invalid firmware: empty version string",
            "PROJECT_VER",
        ),
        (
            "arduino",
            &arduino,
            "not usable as a file name",
            "esp-idf: v5.1.4 972abb0",
        ),
    ] {
        let answer = site.upload(file);
        assert_eq!(answer.status, 400, "{what}");
        assert!(answer.error().contains(error), "{what}: {}", answer.error());
        let found = answer.json()["details"]["advice"].clone();
        assert!(found.as_str().unwrap().contains(advice), "{what}: {found}");
    }
    let plain = site.upload(&vec![0; 4000]);
    assert_eq!(plain.json()["details"].get("advice"), None);
}

#[test]
fn an_image_without_a_version_is_taken_with_the_one_that_is_given() {
    let site = TestGateway::new();
    let mut nameless = Build::of("lamp").bin();
    nameless[48..80].fill(0);
    let upload = |query: &str, bin: &[u8]| {
        let head = format!("POST /api/pipeline/models/lamp/firmware{query}");
        site.ci(&head, bin)
    };
    let answer = upload("?version=2024.6.1", &nameless);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["firmware_version"], "2024.6.1");
    assert_eq!(answer["active"], true);
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("no version of its own"), "{warnings}");
    assert_eq!(site.device("GET /api/iot/firmware", b"").body, nameless);
    // the same version as the image's is no contradiction, another one is
    let named = Build::of("lamp").bin();
    assert_eq!(upload("?version=9.9", &named).status, 400);
    assert_eq!(upload("?version=1/2", &nameless).status, 400);
    let same = upload("?version=1.2.3", &named).json();
    assert_eq!(same["firmware_version"], "1.2.3");
    // its file alone says what it is called
    let sidecar = site
        .daemon
        .data()
        .join("assets/lamp/firmware-2024.6.1.json");
    let folder = site.daemon.folder.clone();
    site.daemon.stop();
    std::fs::remove_file(&sidecar).unwrap();
    let daemon = crate::daemon::Start::on(folder, "").start();
    let list: serde_json::Value = daemon.control("GET /api/models/lamp/firmware", b"").json();
    let builds = list["firmware"].as_array().unwrap();
    assert!(
        builds.iter().any(|build| build["name"] == "2024.6.1"),
        "{list}"
    );
    assert!(sidecar.exists());
}

#[test]
fn parts_may_be_missing_from_a_bundle_that_says_so() {
    let site = TestGateway::new();
    let partial = |parts: &[&str], said: &str| {
        let mut files = Build::of("lamp").files();
        files.retain(|(name, _)| !parts.contains(&&**name));
        let manifest = files
            .iter_mut()
            .find(|(name, _)| name == "version.json")
            .unwrap();
        manifest.1.pop();
        manifest.1.extend(format!(",\"partial\":{said}}}").bytes());
        site.upload(&zip(&files))
    };
    let missing = "Invalid firmware ZIP: missing lamp.map, sdkconfig";
    for said in ["false", "1", "\"true\""] {
        assert_eq!(partial(&["lamp.map", "sdkconfig"], said).error(), missing);
    }
    let answer = partial(&["lamp.elf"], "true");
    assert_eq!(answer.error(), "Invalid firmware ZIP: missing lamp.elf");
    for parts in [&["lamp.map", "sdkconfig"][..], &["lamp.map"], &[]] {
        let answer = partial(parts, "true");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["warnings"], serde_json::json!([]));
    }
}

#[test]
fn firmware_of_another_project_is_stored_and_not_activated() {
    let site = TestGateway::new();
    let of = |project: &str, version: &str| {
        let mut bin = Build {
            version,
            ..Build::of("lamp")
        }
        .bin();
        bin[80..112].fill(0);
        bin[80..80 + project.len()].copy_from_slice(project.as_bytes());
        site.upload(&bin).json()
    };
    let foreign = of("desk-fan", "1.0");
    assert_eq!(foreign["active"], true);
    let warnings = foreign["warnings"].to_string();
    assert!(warnings.contains("desk-fan"), "{warnings}");
    // known by now
    let warnings = of("desk-fan", "1.1")["warnings"].to_string();
    assert!(!warnings.contains("desk-fan"), "{warnings}");
    let other = of("Lamp", "1.2");
    assert_eq!(other["active"], false);
    assert!(other["warnings"].to_string().contains("not activated"));
    // which library it was linked to says nothing
    let head = "POST /api/pipeline/models/lamp/firmware?version=1.3";
    let mut bin = Build::of("lamp").bin();
    bin[80..112].fill(0);
    bin[80..99].copy_from_slice(b"arduino-lib-builder");
    assert_eq!(site.ci(head, &bin).json()["active"], true);
}
