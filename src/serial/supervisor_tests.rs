//! Plugging and unplugging, on a folder that looks like `/sys` and `/dev`.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use tokio_util::sync::CancellationToken;

use super::crash_recorder::CrashRecorder;
use super::discover::tests::FakeTree;
use super::ports::Ports;
use super::status::{PortMonitor, State};
use crate::api::ports::Why;
use crate::bundle;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::store::Store;

const NATIVE: (u16, u16) = (0x303a, 0x1001);
const ADAPTER: (u16, u16) = (0x10c4, 0xea60);

struct Bench {
    _folder: tempfile::TempDir,
    store: Arc<Store>,
    tree: FakeTree,
    ports: Ports,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = FakeTree::new();
        let limits = bundle::BundleLimits::for_bundles_of(1 << 20);
        let store = Arc::new(Store::open(&folder.path().join("data"), None, None, limits).unwrap());
        let ports = ports(&store, &tree);
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (ports, stop) = (ports.clone(), stop.clone());
            async move { ports.run(stop).await }
        });
        Self {
            _folder: folder,
            store,
            tree,
            ports,
            stop,
            running,
        }
    }

    /// The daemon ends and another one begins.
    async fn restart(mut self) -> Self {
        self.stop.cancel();
        self.running.await.unwrap();
        self.ports = ports(&self.store, &self.tree);
        self.stop = CancellationToken::new();
        let (ports, stop) = (self.ports.clone(), self.stop.clone());
        self.running = tokio::spawn(async move { ports.run(stop).await });
        self
    }

    /// Plugs a board in; its console ends when the answer is dropped.
    fn plug(&self, place: &str, ids: (u16, u16), tty: &str) -> File {
        self.plug_as("84:F7:03:00:00:01", place, ids, tty)
    }

    /// The same with another serial number.
    fn plug_as(&self, serial: &str, place: &str, ids: (u16, u16), tty: &str) -> File {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let node = self.tree.sources().dev.join(tty);
        symlink(ptsname_r(&master).unwrap(), node).unwrap();
        self.tree.plug(place, "1.0", ids, serial, tty);
        // sysfs tells nobody, a node in /dev does: once more, now that all is there
        let hint = self.tree.sources().dev.join("hint");
        drop(File::create(&hint).unwrap());
        std::fs::remove_file(hint).unwrap();
        File::from(OwnedFd::from(master))
    }

    async fn reaches(&self, name: &str, state: State) -> Arc<PortMonitor> {
        let reached = async {
            loop {
                if let Ok(board) = self.ports.monitor(name) {
                    board.until(|status| status.state == state).await;
                    return board;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached)
            .await
            .unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

fn ports(store: &Arc<Store>, tree: &FakeTree) -> Ports {
    let metrics = Arc::new(Metrics::default());
    let config = crate::config::parse("").unwrap().config;
    let ingest = Ingest::new(Arc::clone(store), Arc::clone(&metrics), config.coredumps);
    let recorder = CrashRecorder::new(Arc::new(ingest), Arc::clone(store), Box::new(|_| None));
    let state = store.data_dir.state();
    Ports::new(
        recorder,
        metrics,
        tree.sources(),
        &state,
        config.serial,
        1 << 20,
    )
    .unwrap()
}

#[tokio::test]
async fn a_board_that_comes_back_under_another_name_is_the_same_port() {
    let bench = Bench::new();
    let mut wire = bench.plug("1-1.4", NATIVE, "ttyACM0");
    let board = bench.reaches("ttyACM0", State::Listening).await;
    wire.write_all(b"I (1) main: one\n").unwrap();
    board.until(|status| status.bytes == 16).await;
    bench.tree.unplug("ttyACM0");
    drop(wire);
    bench.reaches("1-1.4", State::Absent).await;
    let mut wire = bench.plug("1-1.4", NATIVE, "ttyACM1");
    let again = bench.reaches("ttyACM1", State::Listening).await;
    wire.write_all(b"I (2) main: two\n").unwrap();
    again.until(|status| status.bytes == 32).await;
    assert_eq!(again.log().0, ["I (1) main: one", "I (2) main: two"]);
    bench.stop().await;
}

#[tokio::test]
async fn another_peoples_adapter_is_opened_only_once_claimed_and_that_is_remembered() {
    let bench = Bench::new();
    let _wire = bench.plug("1-2", ADAPTER, "ttyUSB0");
    bench.reaches("ttyUSB0", State::Seen).await;
    let mark = bench.store.data_dir.state().join("listened/1-2");
    assert!(!mark.exists(), "udev takes it for claimed");
    bench.ports.claim("ttyUSB0").await.unwrap();
    bench.reaches("ttyUSB0", State::Listening).await;
    // udev is told beside the listening
    let told = async {
        while !mark.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told)
        .await
        .unwrap();
    let bench = bench.restart().await;
    let board = bench.reaches("ttyUSB0", State::Listening).await;
    assert_eq!(board.status().why, Some(Why::Claimed.into()));
    bench.ports.release("1-2", None).await.unwrap();
    let bench = bench.restart().await;
    bench.reaches("ttyUSB0", State::Released).await;
    bench.stop().await;
    assert!(!mark.exists(), "udev takes it for claimed still");
}

#[tokio::test]
async fn a_port_whose_task_died_is_listened_to_again() {
    let bench = Bench::new();
    let mut wire = bench.plug("1-1", NATIVE, "ttyACM0");
    let before = bench.reaches("ttyACM0", State::Listening).await;
    let supervisor = &bench.ports.0;
    supervisor
        .find("ttyACM0", |_, entry| entry.tasks[0].abort())
        .unwrap();
    let again = async {
        loop {
            supervisor.rescan_requested.notify_one();
            let board = bench.reaches("ttyACM0", State::Listening).await;
            if !Arc::ptr_eq(&board, &before) {
                return board;
            }
            tokio::task::yield_now().await;
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(60), again)
        .await
        .unwrap();
    wire.write_all(b"I (1) main: one\n").unwrap();
    again.until(|status| status.bytes == 16).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_port_that_was_lent_when_the_daemon_ended_stays_lent_for_a_while() {
    let bench = Bench::new();
    let _wire = bench.plug("1-1", NATIVE, "ttyACM0");
    bench.reaches("ttyACM0", State::Listening).await;
    let lease = bench.ports.lend("ttyACM0").await.unwrap();
    let bench = bench.restart().await;
    drop(lease);
    bench.reaches("ttyACM0", State::Lent).await;
    bench.ports.claim("ttyACM0").await.unwrap();
    bench.reaches("ttyACM0", State::Listening).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_native_board_that_restarts_again_and_again_has_no_bad_cable() {
    let bench = Bench::new();
    for round in 0..8 {
        let tty = format!("ttyACM{round}");
        let mut wire = bench.plug("1-1", NATIVE, &tty);
        let board = bench.reaches(&tty, State::Listening).await;
        let before = board.status().bytes;
        wire.write_all(b"I (1) main: on\n").unwrap();
        board.until(|status| status.bytes == before + 15).await;
        bench.tree.unplug(&tty);
        drop(wire);
        let board = bench.reaches("1-1", State::Absent).await;
        assert_eq!(board.status().note, None);
    }
    bench.stop().await;
}

#[tokio::test]
async fn what_a_person_releases_after_a_loan_that_a_restart_cut_stays_released() {
    let bench = Bench::new();
    let _wire = bench.plug("1-1", NATIVE, "ttyACM0");
    bench.reaches("ttyACM0", State::Listening).await;
    let _cut = bench.ports.lend("ttyACM0").await.unwrap();
    let bench = bench.restart().await;
    bench.reaches("ttyACM0", State::Lent).await;
    let again = bench.ports.lend("ttyACM0").await.unwrap();
    let refused = bench.ports.release("ttyACM0", None).await;
    assert!(matches!(refused, Err(super::error::Error::Lent(_))));
    drop(again);
    bench.reaches("ttyACM0", State::Listening).await;
    bench.ports.release("ttyACM0", None).await.unwrap();
    bench.reaches("ttyACM0", State::Released).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_board_whose_firmware_shows_another_usb_device_keeps_its_name() {
    let bench = Bench::new();
    let known = |bench: &Bench, name: &str| {
        let list = bench.ports.list();
        let port = list.into_iter().find(|port| port.name == name);
        port.and_then(|port| port.mac)
    };
    let mac = Some(String::from("84f703000001"));
    for (serial, tty, starts) in [("84F703000001", "ttyACM1", 1), ("123456", "ttyACM2", 2)] {
        let wire = bench.plug("1-1", NATIVE, "ttyACM0");
        bench.reaches("ttyACM0", State::Listening).await;
        bench.tree.unplug("ttyACM0");
        drop(wire);
        bench.reaches("1-1", State::Absent).await;
        // and over its own restarts
        for _ in 0..starts {
            let wire = bench.plug_as(serial, "1-1", (0x303a, 0x4001), tty);
            bench.reaches(tty, State::Listening).await;
            assert_eq!(known(&bench, tty), mac, "{serial}");
            bench.tree.unplug(tty);
            drop(wire);
            bench.reaches("1-1", State::Absent).await;
        }
    }
    let _wire = bench.plug_as("123456", "1-2", (0x303a, 0x4001), "ttyACM3");
    bench.reaches("ttyACM3", State::Listening).await;
    assert_eq!(known(&bench, "ttyACM3"), None, "another place");
    bench.stop().await;
}
