//! When a download counts as delivered, and what one that breaks off proves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::daemon::{exchange, over};
use crate::firmware_files::Image;
use crate::test_gateway::TestGateway;

/// An image that fits into the buffers of the gateway and its kernel.
fn image(version: &str) -> Vec<u8> {
    let image = Image {
        version,
        elf: version.as_bytes(),
        code: 60_000,
        ..Image::default()
    };
    image.build()
}

/// A connection of a board whose TCP takes little before it reads.
fn board(site: &TestGateway) -> TcpStream {
    let socket = Socket::new(Domain::for_address(site.daemon.address), Type::STREAM, None);
    let socket = socket.unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&site.daemon.address.into()).unwrap();
    socket.into()
}

fn head(site: &TestGateway, query: &str) -> String {
    let token = &site.device;
    format!("GET /api/iot/firmware{query}\r\nAuthorization: Bearer {token}")
}

/// Asks for the firmware, reads its head and description, and hangs up.
fn hang_up(site: &TestGateway, query: &str) {
    let mut stream = over(board(site), &site.daemon.ca());
    let (line, more) = (head(site, query), "\r\nHost: espgate.internal\r\n\r\n");
    let line = line.replacen("\r\n", " HTTP/1.1\r\n", 1);
    stream
        .write_all(format!("{line}{more}").as_bytes())
        .unwrap();
    stream.read_exact(&mut [0; 1500]).unwrap();
}

fn device(site: &TestGateway) -> Value {
    site.daemon.manage("GET /api/devices/k1", &json!(null))
}

/// The device, once `holds` is true of it.
fn wait_for(site: &TestGateway, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let device = device(site);
        if holds(&device) {
            return device;
        }
        assert!(Instant::now() < until, "{what}: {device}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn downloads(site: &TestGateway, outcome: &str) -> String {
    let metrics = site.daemon.request("GET /metrics", b"");
    let metrics = String::from_utf8(metrics.body).unwrap();
    let label = format!("outcome=\"{outcome}\"");
    let mut lines = metrics.lines();
    let line =
        lines.find(|line| line.contains("firmware_downloads_total") && line.contains(&label));
    line.and_then(|line| line.rsplit(' ').next())
        .unwrap_or("0")
        .to_owned()
}

#[test]
fn who_reads_the_description_and_hangs_up_runs_the_offer_and_was_delivered_nothing() {
    let site = TestGateway::new();
    assert_eq!(site.upload(&image("1.0")).status, 200);
    hang_up(&site, "");
    let device = wait_for(&site, "a hang-up", |device| !device["running"].is_null());
    let running = &device["running"];
    assert_eq!(running["version"], "1.0", "{device}");
    assert_eq!(running["certainty"], "likely");
    assert_eq!(running["from"], "hang-up");
    assert!(device["last_seen"].is_string());
    assert_eq!(device["builds"][0]["delivered_at"], json!(null));
    assert_eq!(site.daemon.events("FirmwareServed"), Vec::<Value>::new());
    assert_eq!(downloads(&site, "complete"), "0");
    assert_eq!(downloads(&site, "broken-off"), "1");
}

#[test]
fn who_says_what_it_runs_is_believed_and_not_its_hanging_up() {
    let site = TestGateway::new();
    assert_eq!(site.upload(&image("0.9")).status, 200);
    assert_eq!(site.upload(&image("1.0")).status, 200);
    hang_up(&site, "?running=0.9&boot_count=3&hw=rev-b");
    let device = wait_for(&site, "running", |device| !device["running"].is_null());
    assert_eq!(downloads(&site, "complete"), "0");
    assert_eq!(device["running"]["version"], "0.9", "{device}");
    assert_eq!(device["running"]["from"], "running");
    assert_eq!(device["hw"], "rev-b");
}

#[test]
fn who_reads_all_has_it_and_proves_nothing_by_hanging_up_later() {
    let site = TestGateway::new();
    let image = image("1.0");
    assert_eq!(site.upload(&image).status, 200);
    for more in ["", "\r\nConnection: close"] {
        let mut stream = over(board(&site), &site.daemon.ca());
        let answer = exchange(&mut stream, &format!("{}{more}", head(&site, "")), b"");
        assert!(answer.body == image, "{} bytes", answer.body.len());
    }
    let device = wait_for(&site, "a delivery", |_| downloads(&site, "complete") == "2");
    let device = match device["builds"][0]["delivered_at"].is_string() {
        true => device,
        false => wait_for(&site, "has", |device| {
            device["builds"][0]["delivered_at"].is_string()
        }),
    };
    assert_eq!(device["running"], json!(null), "having is not running");
    assert_eq!(device["builds"][0]["certainty"], json!(null));
    site.daemon.wait_for_event("FirmwareServed", "k1");
    hang_up(&site, "");
    wait_for(&site, "a hang-up", |_| {
        downloads(&site, "broken-off") == "1"
    });
    assert_eq!(self::device(&site)["running"], json!(null));
}

#[test]
fn a_download_of_a_rollout_that_breaks_off_early_is_no_run() {
    let site = TestGateway::new();
    let get = |path: &str| site.daemon.control(&format!("GET {path}"), b"").json();
    assert_eq!(site.upload(&image("1.0")).status, 200);
    let manual = json!({ "activate": "manual" });
    site.daemon.manage("PUT /api/models/lamp", &manual);
    assert_eq!(site.upload(&image("2.0")).status, 200);
    let wanted = json!({ "model": "lamp", "build": "2.0", "canary": "k1" });
    site.daemon.manage("POST /api/rollouts", &wanted);
    let member = || get("/api/rollouts/r1")["members"][0].clone();
    for broken_off in ["1", "2"] {
        hang_up(&site, "");
        wait_for(&site, "a hang-up", |_| {
            downloads(&site, "broken-off") == broken_off && member()["state"] == "eligible"
        });
        let evidence = member()["evidence"].to_string();
        assert!(evidence.contains("broke off"), "{evidence}");
    }
    // who were known to run it would not be waited for after the delivery
    assert_eq!(site.device("GET /api/iot/firmware", b"").status, 200);
    wait_for(&site, "a delivery", |_| member()["state"] == "downloaded");
    assert_eq!(device(&site)["running"], json!(null));
}
