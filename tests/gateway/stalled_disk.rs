//! A disk that stalls in the middle of a sync: what needs the disk waits, and
//! nothing else does.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::board::{Board, boot, dump as printed, panic};
use crate::daemon::{Daemon, Start};
use crate::dumps::xtensa;
use crate::preload::library;
use crate::test_gateway::{TestGateway, dump};

const PATIENCE: Duration = Duration::from_secs(60);
const CRASHES: u64 = 30;

/// A gateway on a disk that can be stalled, and a board at its serial port.
struct Bench {
    site: TestGateway,
    board: Board,
    port: PathBuf,
    gate: PathBuf,
}

impl Bench {
    fn new(environment: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let (port, gate) = (folder.path().join("port"), folder.path().join("gate"));
        let config = format!(
            "[coredumps]\nkeep_first_of_crash = 1000\n[[serial.port]]\npath = \"{}\"\n\
             device_key = \"bench7\"\n",
            port.display()
        );
        let mut start = Start::on(Arc::clone(&folder), &config)
            .environment(
                "LD_PRELOAD",
                library("held_sync", folder.path()).to_str().unwrap(),
            )
            .environment("HELD_SYNC", gate.to_str().unwrap());
        for (name, value) in environment {
            start = start.environment(name, value);
        }
        let site = TestGateway::on(start.start());
        // the first use of a token is written down
        let first = site.device("GET /api/iot/firmware-version", b"");
        assert_eq!(first.status, 200);
        let mut board = Board::at(&port);
        board.plug();
        let bench = Self {
            site,
            board,
            port,
            gate,
        };
        bench.until("it is listened to", |port| port["state"] == "listening");
        bench
    }

    /// From now on each sync waits, until [`Self::go_on`].
    fn stall(&self) {
        drop(File::create(&self.gate).unwrap());
    }

    fn wait_for_a_sync(&self) {
        let mark = self.gate.with_extension("waiting");
        until("a sync is waited for", || mark.exists());
    }

    fn go_on(&self) {
        fs::remove_file(&self.gate).unwrap();
    }

    fn port(&self) -> Value {
        let ports = self.site.daemon.control("GET /api/ports", b"").json();
        let path = self.port.to_str().unwrap();
        let ports = ports["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["place"] == path);
        port.cloned().unwrap_or_default()
    }

    fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        until(what, || holds(&self.port()));
    }

    /// The board crashes so often, each time with other bytes; they are read.
    fn crash(&self, times: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        let mut length = self.port()["bytes"].as_u64().unwrap();
        for round in 0..times {
            let mut spec = xtensa();
            spec.segments
                .push((0x3ffc_0000, round.to_le_bytes().to_vec()));
            let text = boot(&spec, "1.2.3") + &panic(&spec) + &printed(&spec, 0x0102);
            length += text.len() as u64;
            runtime.block_on(self.board.print(text));
        }
        self.until("all is read", |port| port["bytes"] == length);
        self.until("all is captured", |port| port["dumps"] == times);
    }
}

pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not so: {what}");
        std::thread::yield_now();
    }
}

fn listed(daemon: &Daemon) -> usize {
    let list = daemon.control("GET /api/coredumps", b"").json();
    list["coredumps"].as_array().unwrap().len()
}

#[test]
fn while_a_sync_is_waited_for_ports_are_read_and_requests_and_watchdog_answered() {
    let folder = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let notify = folder.path().join("notify");
    let bench = Bench::new(&[
        ("NOTIFY_SOCKET", notify.to_str().unwrap()),
        ("WATCHDOG_USEC", "1500000"),
    ]);
    let daemon = &bench.site.daemon;
    bench.stall();
    std::thread::scope(|scope| {
        let upload = scope.spawn(|| bench.site.post(&dump(1)));
        let renewal = scope.spawn(|| daemon.control("POST /api/tls/renew", b""));
        let model = scope.spawn(|| daemon.manage("PUT /api/models/fan", &json!({})));
        bench.wait_for_a_sync();
        bench.crash(CRASHES);
        assert_eq!(bench.port()["dropped"], 0);
        for _ in 0..50 {
            // each with a handshake of its own
            assert_eq!(daemon.request("GET /healthz", b"").status, 200);
        }
        for path in ["/readyz", "/metrics", "/api/pipeline/upload.sh"] {
            assert_eq!(daemon.request(&format!("GET {path}"), b"").status, 200);
        }
        let version = bench.site.device("GET /api/iot/firmware-version", b"");
        assert_eq!(version.status, 200);
        socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        while socket.recv(&mut bytes).is_ok() {}
        socket.set_nonblocking(false).unwrap();
        let mut fed = 0;
        while fed < 3 {
            let count = socket.recv(&mut bytes).unwrap();
            fed += usize::from(bytes[..count].starts_with(b"WATCHDOG=1"));
        }
        let waits = [
            upload.is_finished(),
            renewal.is_finished(),
            model.is_finished(),
        ];
        assert_eq!(waits, [false; 3], "the disk did not stall");
        bench.go_on();
        assert_eq!(upload.join().unwrap().status, 201);
        assert_eq!(renewal.join().unwrap().status, 200);
        model.join().unwrap();
    });
    bench.until("all is stored", |port| port["stored"] == CRASHES);
    assert_eq!(listed(daemon), 1 + usize::try_from(CRASHES).unwrap());
    assert_eq!(bench.site.daemon.stop(), Some(0));
}

#[test]
fn what_waits_for_the_disk_when_the_daemon_is_stopped_is_stored() {
    let bench = Bench::new(&[]);
    bench.stall();
    bench.crash(5);
    bench.wait_for_a_sync();
    bench.site.daemon.signal("TERM");
    bench.site.daemon.wait_for_event("Stopping", "");
    bench.go_on();
    let folder = Arc::clone(&bench.site.daemon.folder);
    assert_eq!(bench.site.daemon.stop(), Some(0));
    let daemon = Start::on(folder, "").start();
    assert_eq!(listed(&daemon), 5);
}
