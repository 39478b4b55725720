//! Stored dumps have signatures: of their model, by the site's lists.

use std::fs;

use serde_json::Value;

use espgate::digest::Sha256;

use crate::dumps::crash_of_app;
use crate::firmware_files::{Build, Image, zip};
use crate::reload::{reload, until};
use crate::test_gateway::{TestGateway, salted};

const APP: &[u8] = include_bytes!("../data/app.elf");

/// A gateway with the application that the dumps are of.
fn site() -> TestGateway {
    let site = TestGateway::new();
    upload_app(&site);
    site
}

fn upload_app(site: &TestGateway) {
    let image = Image {
        elf: APP,
        chip_id: 5,
        ..Image::default()
    };
    let mut files = Build::of("lamp").files();
    files[0].1 = image.build();
    files[1].1 = APP.to_vec();
    let answer = site.upload(&zip(&files));
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
}

/// Posts a dump; once it is decoded, its sidecar and its report.
fn decoded(site: &TestGateway, salt: u8) -> (Value, Value) {
    let hash = Sha256::of(APP).short(9).leak();
    let dump = salted(crash_of_app(hash), salt).image(0x0102, true);
    let answer = site.post(&dump);
    assert_eq!(answer.status, 201);
    let id = answer.json()["coredump_id"].as_str().unwrap().to_owned();
    let ask = |rest: &str| {
        site.daemon
            .control(&format!("GET /api/coredumps/{id}{rest}"), b"")
            .json()
    };
    until("it is decoded", || ask("")["decode"] == "done");
    (ask(""), ask("/report"))
}

#[test]
fn sidecar_and_report_have_the_signature_of_the_device_s_model() {
    let site = site();
    let (sidecar, report) = decoded(&site, 1);
    let signature = &report["signature"];
    assert_eq!(
        signature["text"],
        "exception LoadAccessFault | crash | check | visit"
    );
    assert_eq!(sidecar["signature"], signature["id"]);
    // the decoder's own is without a model
    let alone: Value = serde_json::from_str(report_without_model()).unwrap();
    assert_ne!(alone["signature"]["id"], signature["id"]);
    assert_eq!(alone["signature"]["text"], signature["text"]);
}

/// The example in the documentation.
fn report_without_model() -> &'static str {
    let page = include_str!("../../docs/report.md");
    let (_, example) = page.split_once("```json\n").unwrap();
    example.split_once("```").unwrap().0
}

#[test]
fn a_dump_without_its_elf_has_none_until_it_arrives() {
    let site = TestGateway::new();
    let hash = Sha256::of(APP).short(9).leak();
    let answer = site.post(&crash_of_app(hash).image(0x0102, true));
    let id = answer.json()["coredump_id"].as_str().unwrap().to_owned();
    let ask = |rest: &str| {
        site.daemon
            .control(&format!("GET /api/coredumps/{id}{rest}"), b"")
            .json()
    };
    until("it is decoded without ELF", || {
        ask("")["decode"] == "no-elf"
    });
    assert_eq!(ask("")["signature"], Value::Null);
    let report = ask("/report");
    assert_eq!(report["signature"], Value::Null);
    assert_eq!(
        report["signature_reason"],
        "no symbols (no ELF of this build)"
    );
    upload_app(&site);
    until("it is decoded", || ask("")["decode"] == "done");
    assert_eq!(ask("")["signature"], ask("/report")["signature"]["id"]);
    assert!(ask("")["signature"].is_string());
}

#[test]
fn a_site_s_lists_count_after_a_reload() {
    let site = site();
    let path = site.daemon.folder.path().join("espgate.toml");
    let text = fs::read_to_string(path).unwrap();
    for (salt, lists, expected) in [
        (
            1,
            "skip = [\"cr*\"]",
            "exception LoadAccessFault | check | visit | app_main",
        ),
        (
            2,
            "prefix = [\"cr*\", \"check\"]",
            "exception LoadAccessFault | check | visit | app_main | main_task",
        ),
        (
            3,
            "base = [\"crash\", \"visit\"]\nskip = [\"*main*\"]",
            "exception LoadAccessFault | check | vPortTaskWrapper",
        ),
    ] {
        reload(&site.daemon, &format!("{text}[crashes]\n{lists}\n"));
        until("the configuration is in force", || {
            site.daemon.events("ConfigurationReloaded").len() == usize::from(salt)
        });
        let (_, report) = decoded(&site, salt);
        assert_eq!(report["signature"]["text"], expected, "{lists}");
    }
}
