//! All boards of a site upload a dump in the same moment, as after a power cut:
//! when the last of them is answered, and how many have given up by then. Next
//! to it, what a bare loop takes that syncs two files and their folder for each.
//! A library that makes syncs slow can be loaded into both. By hand:
//!
//! ```text
//! TMPDIR=/var/tmp cargo bench --bench burst [-- BOARDS [LIBRARY.so]]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use daemon::{Start, connect, exchange};
use serde_json::json;

#[path = "../tests/common/daemon.rs"]
mod daemon;

const CONFIG: &str = "[http]\nmax_connections_per_address = 500\n";
const BYTES: usize = 64 * 1024;
/// What devices wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Set for the process that runs the bare loop: its folder.
const BARE: &str = "BURST_BARE_LOOP";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let boards = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(300);
    if let Ok(folder) = std::env::var(BARE) {
        bare_loop(Path::new(&folder), boards);
        return;
    }
    let library = arguments.iter().find(|a| a.ends_with(".so"));

    let daemon = Start::new(CONFIG).start();
    daemon.manage("PUT /api/models/bench", &json!({}));
    let tokens: Vec<String> = (0..boards)
        .map(|n| {
            let board = json!({ "device_key": format!("board{n}"), "model": "bench" });
            let made = daemon.manage("POST /api/devices", &board);
            let token = made["token"].as_str().unwrap().to_owned();
            // the first use of a token is written down; that is not measured here
            let head = format!("GET /api/iot/firmware-version\r\nAuthorization: Bearer {token}");
            assert_eq!(daemon.request(&head, b"").status, 200);
            token
        })
        .collect();
    let folder = Arc::clone(&daemon.folder);
    daemon.stop();
    let mut start = Start::on(Arc::clone(&folder), CONFIG);
    if let Some(library) = library {
        start = start.environment("LD_PRELOAD", library);
    }
    let daemon = start.start();

    let ca = fs::read(daemon.data().join("tls/ca.pem")).unwrap();
    let together = Barrier::new(boards);
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let (address, ca, together) = (daemon.address, &ca, &together);
        let threads: Vec<_> = tokens
            .iter()
            .map(|token| {
                scope.spawn(move || {
                    let mut body = vec![0; BYTES];
                    getrandom::fill(&mut body).unwrap();
                    let path = "/api/iot/coredump?chip=esp32&firmware_version=1.0.0";
                    let head = format!("POST {path}\r\nAuthorization: Bearer {token}");
                    together.wait();
                    let began = Instant::now();
                    let answer = exchange(&mut connect(address, ca), &head, &body);
                    assert_eq!(answer.status, 201);
                    began.elapsed()
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect()
    });
    took.sort();
    let late = took.iter().filter(|took| **took > PATIENCE).count();
    let seconds = |at: usize| took[at].as_secs_f64();
    println!(
        "{boards} boards, {BYTES} bytes each: half answered after {:.2} s, the last after {:.2} s, \
         {late} later than {PATIENCE:?}",
        seconds(boards / 2),
        seconds(boards - 1)
    );

    let bare = folder.path().join("bare");
    fs::create_dir(&bare).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(boards.to_string()).env(BARE, bare);
    if let Some(library) = library {
        command.env("LD_PRELOAD", library);
    }
    assert!(command.status().unwrap().success());
}

fn bare_loop(folder: &Path, boards: usize) {
    let (sidecar, body) = (vec![b' '; 900], vec![7; BYTES]);
    let began = Instant::now();
    for n in 0..boards {
        for (extension, bytes) in [("json", &sidecar), ("dmp", &body)] {
            let mut file = File::create(folder.join(format!("{n}.{extension}"))).unwrap();
            file.write_all(bytes).unwrap();
            file.sync_all().unwrap();
        }
        File::open(folder).unwrap().sync_all().unwrap();
    }
    println!("bare loop: {:.2} s", began.elapsed().as_secs_f64());
}
