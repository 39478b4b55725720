//! What the daemon makes of ESP32s that print on serial ports, played by
//! simulated boards on pseudo terminals.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "common/board.rs"]
mod board;
#[path = "common/dumps.rs"]
mod dumps;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use espgate::config;
use espgate::coredump::Verdict;
use espgate::ingest::Ingest;
use espgate::metrics::Metrics;
use espgate::serial::discover::Roots;
use espgate::serial::intake::Intake;
use espgate::serial::status::{Board as Shown, State};
use espgate::serial::{Error, Ports};
use espgate::store::Store;
use espgate::store::coredumps::{Entry, Source};
use nix::fcntl::{Flock, FlockArg};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

#[path = "common/simulated_board/mod.rs"]
mod simulated_board;

use board::{Board, PROMPT, boot, dump, panic};
use dumps::{risc_v, xtensa};
use simulated_board::flash_image::FlashImage;
use simulated_board::registers::Chip;
use simulated_board::{SimulatedBoard, Spec, console};

/// A gateway with one configured port, and the board that may be plugged in there.
struct Site {
    _folder: tempfile::TempDir,
    store: Arc<Store>,
    ports: Ports,
    board: Board,
    stop: CancellationToken,
    running: JoinHandle<()>,
    name: String,
}

impl Site {
    fn with(port: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("port");
        let path = link.display();
        let text = format!("[[serial.port]]\npath = \"{path}\"\n{port}\n");
        let config = config::parse(&text).unwrap().config;
        let store = Arc::new(
            Store::open(
                &folder.path().join("data"),
                None,
                None,
                espgate::bundle::Limits::for_bundles_of(1 << 20),
            )
            .unwrap(),
        );
        let metrics = Arc::new(Metrics::default());
        let ingest = Ingest::new(
            Arc::clone(&store),
            Arc::clone(&metrics),
            config.coredumps.clone(),
        );
        let model = |hash: &str| {
            hash.starts_with("1b43c5e74")
                .then(|| "demo".parse().unwrap())
        };
        let intake = Intake::new(Arc::new(ingest), Arc::clone(&store), Box::new(model));
        let roots = Roots {
            sys: folder.path().join("sys"),
            dev: folder.path().to_owned(),
        };
        let state = folder.path().join("data/state");
        let limit = config.coredumps.max_upload_bytes;
        let ports = Ports::new(intake, metrics, roots, &state, config.serial, limit).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (ports, stop) = (ports.clone(), stop.clone());
            async move { ports.run(stop).await }
        });
        Self {
            _folder: folder,
            store,
            ports,
            board: Board::at(&link),
            stop,
            running,
            name: path.to_string(),
        }
    }

    /// A gateway that listens to a board which is plugged in.
    async fn listening(port: &str) -> Self {
        let mut site = Self::with(port);
        site.board.plug();
        site.reaches(State::Listening).await;
        site
    }

    async fn shown(&self) -> Arc<Shown> {
        loop {
            match self.ports.board(&self.name) {
                Ok(shown) => return shown,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn until(&self, holds: impl Fn(&espgate::serial::status::PortStatus) -> bool) {
        let shown = self.shown().await;
        let reached = timeout(Duration::from_secs(60), shown.until(holds)).await;
        assert!(reached.is_ok(), "{:?}", shown.status());
    }

    async fn reaches(&self, state: State) {
        self.until(|status| status.state == state).await;
    }

    async fn stored(&self, count: u64) {
        self.until(|status| status.stored == count).await;
    }

    fn dumps(&self) -> Vec<Entry> {
        self.store.coredumps.collect(|_, entry| Some(entry.clone()))
    }

    /// Reads a file that stands beside the only dump.
    fn beside(&self, extension: &str) -> String {
        let devices = self.store.coredumps.devices().unwrap();
        let stem = &self.dumps()[0].stem;
        let path: PathBuf = self
            .store
            .coredumps
            .root()
            .join(devices[0].as_str())
            .join(format!("{stem}.{extension}"));
        std::fs::read_to_string(path).unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(Duration::from_secs(60), self.running)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn a_printed_dump_is_stored_with_its_banner_and_its_log() {
    let site = Site::listening("").await;
    let spec = xtensa();
    let noise = "I (200) wifi: ssid=Hut psk=hunter2\r\n";
    site.board
        .print(format!(
            "{}{noise}{}{}",
            boot(&spec, "1.2.3"),
            panic(&spec),
            dump(&spec, 0x0102)
        ))
        .await;
    site.stored(1).await;
    let dumps = site.dumps();
    assert_eq!(
        (dumps.len(), dumps[0].verdict, dumps[0].source),
        (1, Verdict::Valid, Source::Uart)
    );
    assert_eq!(dumps[0].firmware_version.as_deref(), Some("1.2.3"));
    assert_eq!(dumps[0].model_code.as_deref(), Some("demo"));
    let log = site.beside("log");
    for line in [
        "psk=***",
        "abort() was called at PC 0x400d66b9",
        "Coredump checksum='",
        "Rebooting...",
    ] {
        assert!(log.contains(line), "{line} in\n{log}");
    }
    let sidecar: serde_json::Value = serde_json::from_str(&site.beside("json")).unwrap();
    assert_eq!(
        (&sidecar["identity"], &sidecar["problems"]),
        (&"place".into(), &serde_json::json!([]))
    );
    let status = site.shown().await.status();
    assert_eq!(
        (status.resets["RTC_SW_CPU_RST"], status.dumps, status.panics),
        (1, 1, 0)
    );
    site.stop().await;
}

#[tokio::test]
async fn a_configured_port_names_device_and_model() {
    let site = Site::listening("device_key = \"bench7\"\nmodel = \"pump\"").await;
    site.board.print(dump(&risc_v(), 0x0104)).await;
    site.stored(1).await;
    assert_eq!(
        site.store.coredumps.devices().unwrap()[0].as_str(),
        "bench7"
    );
    let sidecar: serde_json::Value = serde_json::from_str(&site.beside("json")).unwrap();
    assert_eq!(
        (&sidecar["identity"], &sidecar["model_code"]),
        (&"configured".into(), &"pump".into())
    );
    site.stop().await;
}

#[tokio::test]
async fn what_was_printed_before_the_plug_was_pulled_is_stored_and_the_next_plug_listened_to() {
    let mut site = Site::listening("").await;
    let spec = xtensa();
    let printed = dump(&spec, 0x0102);
    site.board.print(&printed.as_bytes()[..700]).await;
    site.until(|status| status.bytes == 700).await;
    site.board.unplug();
    site.stored(1).await;
    site.reaches(State::Absent).await;
    assert_eq!(site.dumps()[0].verdict, Verdict::Truncated);
    let first = site.shown().await.status().bytes;
    site.board.plug();
    site.reaches(State::Listening).await;
    site.board.print(printed).await;
    site.stored(2).await;
    assert!(site.shown().await.status().bytes > first);
    assert!(
        site.dumps()
            .iter()
            .any(|dump| dump.verdict == Verdict::Valid)
    );
    site.stop().await;
}

#[tokio::test]
async fn a_port_that_another_program_holds_is_left_to_it_until_it_is_free() {
    let mut site = Site::with("");
    let folder = PathBuf::from(&site.name);
    // held before anybody can look: plugged in under another name
    let mut elsewhere = Board::at(&folder.with_extension("other"));
    let path = elsewhere.plug();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    std::os::unix::fs::symlink(&path, &folder).unwrap();
    site.reaches(State::Busy).await;
    drop(lock);
    site.reaches(State::Listening).await;
    site.board = elsewhere;
    site.board.print(dump(&xtensa(), 0x0102)).await;
    site.stored(1).await;
    site.stop().await;
}

#[tokio::test]
async fn enter_is_pressed_unless_the_configuration_forbids_it() {
    let site = Site::listening("").await;
    site.board.print(PROMPT).await;
    assert_eq!(
        timeout(Duration::from_secs(60), site.board.hear())
            .await
            .unwrap(),
        b'\n'
    );
    site.stop().await;

    let mut site = Site::listening("press_enter = false").await;
    site.board
        .print(format!("{PROMPT}I (9) main: on\r\n"))
        .await;
    let line = |status: &espgate::serial::status::PortStatus| {
        status.last_line.as_deref() == Some("I (9) main: on")
    };
    site.until(line).await;
    site.board.unplug();
    site.stop().await;
}

#[tokio::test]
async fn a_crash_loop_is_counted_and_its_first_three_dumps_are_kept() {
    let site = Site::listening("").await;
    for round in 0..8u8 {
        let mut spec = xtensa();
        spec.segments[0].1[0] = round;
        site.board
            .print(format!(
                "{}{}{}",
                boot(&spec, "1.2.3"),
                panic(&spec),
                dump(&spec, 0x0102)
            ))
            .await;
        site.stored(u64::from(round) + 1).await;
    }
    assert_eq!(site.dumps().len(), 3);
    let status = site.shown().await.status();
    assert_eq!(status.dumps, 8);
    assert!(!status.last_crash.unwrap().kept);
    site.stop().await;
}

#[tokio::test]
async fn a_panic_without_a_dump_is_a_record_of_its_own() {
    let site = Site::listening("").await;
    let spec = xtensa();
    site.board
        .print(format!(
            "{}{}Rebooting...\r\n{}",
            boot(&spec, "1.2.3"),
            panic(&spec),
            boot(&spec, "1.2.3")
        ))
        .await;
    site.stored(1).await;
    assert_eq!(site.dumps()[0].verdict, Verdict::PanicOnly);
    assert!(site.beside("dmp").starts_with("abort() was called"));
    site.stop().await;
}

/// A board whose bootloader answers, plugged in at the site's port.
fn plug_in(site: &Site, flash: &[u8], console: Vec<console::Piece>) -> SimulatedBoard {
    let image = FlashImage::erased().with_table(Some(esp_idf_part::Flags::empty()));
    let simulated = SimulatedBoard::start(Spec {
        idle: Duration::from_millis(400),
        console,
        ..Spec::new(Chip::Esp32, image.with_dump(flash).into_bytes())
    });
    std::os::unix::fs::symlink(simulated.path(), &site.name).unwrap();
    simulated
}

#[tokio::test]
async fn a_dump_that_was_printed_and_is_read_from_flash_is_one_dump() {
    let site = Site::with("device_key = \"bench7\"");
    let spec = xtensa();
    let printed = console::crash(&spec.image(0x0102, false), Duration::ZERO, Duration::ZERO);
    let _board = plug_in(&site, &spec.image(0x0102, true), printed);
    site.stored(1).await;
    let (progress, seen) = tokio::sync::watch::channel(None);
    let read = site.ports.read(&site.name, progress).await;
    let read = read.unwrap().unwrap();
    assert_eq!(read.device.as_str(), "bench7");
    assert!(!read.received.kept);
    let seen = seen.borrow().unwrap();
    assert_eq!(seen.done, seen.total);
    let dumps = site.dumps();
    assert_eq!(
        (dumps.len(), dumps[0].verdict, dumps[0].source),
        (1, Verdict::Valid, Source::Uart)
    );
    let sidecar: serde_json::Value = serde_json::from_str(&site.beside("json")).unwrap();
    let sightings = sidecar["sightings"].as_array().unwrap();
    assert!(sightings.iter().any(|seen| seen["source"] == "flash"));
    let noted = site._folder.path().join("data/state/ports.json");
    assert!(
        !std::fs::read_to_string(noted)
            .unwrap()
            .contains("in_bootloader\": true")
    );
    site.stop().await;
}

#[tokio::test]
async fn the_flash_is_read_after_a_panic_without_a_dump_if_the_configuration_says_so() {
    let site = Site::with("read_flash = \"on-crash\"");
    let spec = xtensa();
    let text = format!(
        "{}{}Rebooting...\r\n{}",
        boot(&spec, "1.2.3"),
        panic(&spec),
        boot(&spec, "1.2.3")
    );
    let printed = vec![console::Piece::Print(text.into_bytes())];
    let _board = plug_in(&site, &spec.image(0x0102, true), printed);
    let read = |status: &espgate::serial::status::PortStatus| {
        status.device_key.as_deref() == Some("30aea44b417c")
    };
    site.until(read).await;
    assert!(site.dumps().iter().any(|dump| {
        (dump.verdict, dump.source) == (Verdict::Valid, Source::Flash)
            && dump.model_code.as_deref() == Some("demo")
    }));
    site.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_the_port_is_listened_to_again() {
    let site = Site::with("");
    let read = async || {
        let progress = tokio::sync::watch::Sender::new(None);
        let read = site.ports.read(&site.name, progress).await.unwrap();
        read.unwrap_err().to_string()
    };
    site.reaches(State::Absent).await;
    assert_eq!(read().await, "nothing is plugged in there");
    let _board = plug_in(&site, &[], vec![]);
    site.reaches(State::Listening).await;
    assert_eq!(read().await, "the coredump partition is empty");
    assert_eq!(site.shown().await.status().state, State::Listening);
    site.stop().await;
}

#[tokio::test]
async fn a_released_port_is_free_for_others_until_it_is_claimed() {
    let site = Site::listening("").await;
    site.ports.release(&site.name, None).await.unwrap();
    site.reaches(State::Released).await;
    let file = File::options()
        .read(true)
        .write(true)
        .open(&site.name)
        .unwrap();
    drop(Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap());
    site.ports.claim(&site.name).await.unwrap();
    site.reaches(State::Listening).await;
    site.stop().await;
}

#[tokio::test]
async fn a_release_ends_by_itself() {
    let site = Site::listening("").await;
    site.ports
        .release(&site.name, Some(Duration::from_secs(1)))
        .await
        .unwrap();
    site.reaches(State::Listening).await;
    site.stop().await;
}

#[tokio::test]
async fn a_lent_port_comes_back_when_its_borrower_is_done_also_after_a_replug() {
    let mut site = Site::listening("").await;
    let lease = site.ports.lend(&site.name).await.unwrap();
    site.reaches(State::Lent).await;
    assert!(matches!(
        site.ports.lend(&site.name).await,
        Err(Error::Lent(_))
    ));
    site.board.unplug();
    site.board.plug();
    let file = File::options()
        .read(true)
        .write(true)
        .open(&site.name)
        .unwrap();
    drop(Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap());
    drop(lease);
    site.reaches(State::Listening).await;
    site.stop().await;
}

#[tokio::test]
async fn stopping_stores_what_is_half_captured() {
    let mut site = Site::listening("").await;
    site.board
        .print(&dump(&xtensa(), 0x0102).as_bytes()[..900])
        .await;
    site.until(|status| status.bytes == 900).await;
    site.stop.cancel();
    timeout(Duration::from_secs(60), &mut site.running)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(site.dumps()[0].verdict, Verdict::Truncated);
}

#[tokio::test]
async fn an_unknown_port_is_named_as_such() {
    let site = Site::with("");
    let error = site.ports.claim("ttyNOPE").await.unwrap_err();
    assert!(error.to_string().contains("ttyNOPE"), "{error}");
    site.stop().await;
}
