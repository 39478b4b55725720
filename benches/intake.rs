//! Coredumps in: how fast they are taken over kept-alive TLS, next to a bare
//! loop that writes the same two files and syncs them and their folder, on the
//! same disk in the same run; and how soon a daemon with 10,000 dumps takes
//! the next one. By hand:
//!
//! ```text
//! TMPDIR=/var/tmp cargo bench --bench intake [-- SECONDS_PER_CASE]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::{Daemon, Start, connect, exchange};
use espgate::config;
use espgate::device::DeviceKey;
use espgate::ingest::{Ingest, Origin};
use espgate::metrics::Metrics;
use espgate::store::Store;
use espgate::store::coredumps::Source;
use serde_json::json;

#[path = "../tests/common/daemon.rs"]
mod daemon;

const CONFIG: &str = "[coredumps]\nkeep_per_device = 1000000\nmax_total = \"90%\"\n";
const STORED: usize = 10_000;
const DEVICES: usize = 50;
const KIB: usize = 1024;

fn main() {
    let seconds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(8.0);
    println!("| KiB | clients | bare loop /s | espgate /s | ratio |\n|--|--|--|--|--|");
    for size in [4 * KIB, 64 * KIB, 1024 * KIB] {
        for clients in [1, 16] {
            let daemon = Start::new(CONFIG).start();
            let tokens = devices(&daemon, clients);
            let bare = daemon.folder.path().join("bare");
            // alternating quarters, so that drift of the machine hits both alike
            let quarter = Duration::from_secs_f64(seconds / 4.0);
            let mut sums = [(0, Duration::ZERO); 2];
            for which in [0, 1, 1, 0] {
                let began = Instant::now();
                let count = match which {
                    0 => in_parallel(clients, |n| write_for(&bare, n, size, quarter)),
                    _ => in_parallel(clients, |n| post_for(&daemon, &tokens[n], size, quarter)),
                };
                sums[which].0 += count;
                sums[which].1 += began.elapsed();
            }
            let [bare, own] = sums.map(|(count, time)| count as f64 / time.as_secs_f64());
            let (size, ratio) = (size / KIB, own / bare);
            println!("| {size} | {clients} | {bare:.0} | {own:.0} | {ratio:.2} |");
        }
    }
    start_with_many();
}

/// Registers devices; answers with their tokens.
fn devices(daemon: &Daemon, count: usize) -> Vec<String> {
    daemon.manage("PUT /api/models/bench", &json!({}));
    let token = |n| {
        let device = json!({ "device_key": format!("bench{n}"), "model": "bench" });
        let made = daemon.manage("POST /api/devices", &device);
        made["token"].as_str().unwrap().to_owned()
    };
    (0..count).map(token).collect()
}

fn in_parallel(clients: usize, work: impl Fn(usize) -> usize + Sync) -> usize {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..clients).map(|n| scope.spawn(move || work(n))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

/// What an acknowledged dump costs at least.
fn write_for(root: &Path, client: usize, size: usize, time: Duration) -> usize {
    let folder = root.join(client.to_string());
    fs::create_dir_all(&folder).unwrap();
    let sidecar = vec![b' '; 900];
    let mut body = vec![0; size];
    let until = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < until {
        getrandom::fill(&mut body).unwrap();
        let name: String = body[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        for (extension, bytes) in [("json", &sidecar), ("dmp", &body)] {
            let mut file = File::create(folder.join(format!("{name}.{extension}"))).unwrap();
            file.write_all(bytes).unwrap();
            file.sync_all().unwrap();
        }
        File::open(&folder).unwrap().sync_all().unwrap();
        count += 1;
    }
    count
}

fn post_for(daemon: &Daemon, token: &str, size: usize, time: Duration) -> usize {
    let mut stream = daemon.connect();
    let head = post(token);
    let mut body = vec![0; size];
    let until = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < until {
        getrandom::fill(&mut body).unwrap();
        let answer = exchange(&mut stream, &head, &body);
        assert_eq!(answer.status, 201);
        count += 1;
    }
    count
}

fn post(token: &str) -> String {
    let path = "/api/iot/coredump?chip=esp32&firmware_version=1.0.0";
    format!("POST {path}\r\nAuthorization: Bearer {token}")
}

/// From the start of the process to the answer to the first dump.
fn start_with_many() {
    let daemon = Start::new(CONFIG).start();
    let token = devices(&daemon, 1).remove(0);
    let ca = fs::read(daemon.data().join("tls/ca.pem")).unwrap();
    let folder = Arc::clone(&daemon.folder);
    daemon.stop();
    fill(&folder.path().join("data"));
    for round in ["first", "second"] {
        let told = folder.path().join("data/run/https-address");
        fs::remove_file(&told).unwrap();
        let mut command = Start::on(Arc::clone(&folder), CONFIG).command();
        let began = Instant::now();
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let address = loop {
            let text = fs::read_to_string(&told).unwrap_or_default();
            match text.lines().next().and_then(|line| line.parse().ok()) {
                Some(address) => break address,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let mut stream = connect(address, &ca);
        let mut body = vec![0; 9000];
        getrandom::fill(&mut body).unwrap();
        let answer = exchange(&mut stream, &post(&token), &body);
        assert_eq!(answer.status, 201);
        let took = began.elapsed().as_millis();
        let memory = resident(child.id());
        println!("{STORED} dumps, {round} start: a dump is answered after {took} ms, {memory}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn fill(data: &Path) {
    let limits = espgate::bundle::BundleLimits::for_bundles_of(1 << 20);
    let store = Arc::new(Store::open(data, None, None, limits).unwrap());
    let settings = config::parse(CONFIG).unwrap().config.coredumps;
    let ingest = Ingest::new(store, Arc::new(Metrics::default()), settings);
    in_parallel(8, |thread| {
        for n in (thread..STORED).step_by(8) {
            let device: DeviceKey = format!("stored{}", n % DEVICES).parse().unwrap();
            let mut body = vec![0; 512];
            getrandom::fill(&mut body).unwrap();
            let origin = Origin::new(device, Source::Https, "token");
            ingest.coredump(&body, origin).unwrap();
        }
        0
    });
}

fn resident(process: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
