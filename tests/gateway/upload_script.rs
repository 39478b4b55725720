//! `upload.sh` as a developer runs it: fetched from the gateway, run in an
//! ESP-IDF project, with a hyphen in the project's name.

use std::process::Command;

use serde_json::json;

use crate::daemon::{Daemon, Start, write};
use crate::firmware_files::build_folder;
use crate::test_gateway::{TestGateway, token};

fn run(daemon: &Daemon, token: &str, arguments: &[&str]) -> (bool, String) {
    let project = daemon.folder.path().join("project");
    let script = daemon.request("GET /api/pipeline/upload.sh", b"");
    assert_eq!(
        script.header("content-type"),
        Some("text/x-shellscript; charset=utf-8")
    );
    assert!(script.body.starts_with(b"#!/bin/sh\n"));
    let path = daemon.folder.path().join("upload.sh");
    write(&path, &script.body);
    let output = Command::new("sh")
        .arg(&path)
        .args(arguments)
        .current_dir(project)
        .env_remove("ESPGATE_URL")
        .env("ESPGATE_TOKEN", token)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn a_build_folder_is_packed_and_uploaded() {
    // the certificate has the name; the port is only known while it runs
    let site =
        TestGateway::on(Start::new("[http]\npublic_url = \"https://localhost:1\"\n").start());
    let port = site.daemon.address.port();
    let path = site.daemon.folder.path().join("espgate.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    write(
        &path,
        config
            .replace("localhost:1", &format!("localhost:{port}"))
            .as_bytes(),
    );
    site.daemon.signal("HUP");
    site.daemon.wait_for_event("ConfigurationReloaded", "");
    site.daemon
        .manage("PUT /api/models/night_light", &json!({}));
    let ci = token(&site.daemon, "own", "pipeline", Some("night_light"));
    build_folder(
        &site.daemon.folder.path().join("project"),
        "night-light",
        "4.5.6",
    );
    let (done, text) = run(&site.daemon, &ci, &[]);
    assert!(done, "{text}");
    let listed = site
        .daemon
        .control("GET /api/models/night_light/firmware", b"")
        .json();
    assert_eq!(listed["firmware"][0]["version"], "4.5.6", "{text}");
    assert_eq!(listed["firmware"][0]["kind"], "zip");
    let (done, text) = run(&site.daemon, "eg1_aaaaaaaa_wrong", &[]);
    assert!(!done, "{text}");
}
