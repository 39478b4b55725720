//! What the commands promise: exit statuses, one line per error, tables that are
//! whole for programs, and a gateway managed from end to end over the control socket.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../common/board.rs"]
mod board;
#[path = "../common/daemon.rs"]
mod daemon;
#[path = "../common/dumps.rs"]
mod dumps;
#[path = "../common/firmware.rs"]
mod firmware;

mod configuration;
mod coredumps;
mod doctor;
mod managing;
mod moving;
mod paging;
mod ports;
mod rollouts;
mod screens;
mod terminal;
mod usage;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use daemon::{Daemon, Start};
use serde_json::Value;

const OPEN: &str = "[auth]\ndevices = \"open\"\n";

/// The binary with a clean environment, where there is no daemon.
fn espgate(arguments: &[&str]) -> Output {
    daemon::binary().args(arguments).output().unwrap()
}

/// The binary, told of a daemon.
fn ask(daemon: &Daemon, arguments: &[&str]) -> Output {
    let data = daemon.data();
    let mut all = vec!["--data-dir", data.to_str().unwrap()];
    all.extend_from_slice(arguments);
    espgate(&all)
}

/// What a command that has to succeed prints.
fn done(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = ask(daemon, arguments);
    assert_eq!(status(&output), 0, "{arguments:?}: {}", errors(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn json(daemon: &Daemon, arguments: &[&str]) -> Value {
    let text = done(daemon, arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// The one line on stderr of a command that has to fail with `expected`.
fn refused(output: &Output, expected: i32) -> String {
    let text = errors(output);
    assert_eq!(status(output), expected, "{text}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("espgate: "), "{text}");
    text
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Posts a dump as a device does; its id.
fn post_dump(daemon: &Daemon, device: &str, version: &str, body: &[u8]) -> String {
    let head =
        format!("POST /api/iot/coredump?chip=esp32&firmware_version={version}&device_key={device}");
    let answer = daemon.control(&head, body);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["coredump_id"].as_str().unwrap().to_owned()
}
