//! What the daemon makes of ESP32s that print on serial ports, played by
//! simulated boards on pseudo terminals.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../common/board.rs"]
mod board;
#[path = "../common/dumps.rs"]
mod dumps;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use espgate::config;
use espgate::crashes::Crashes;
use espgate::ingest::Ingest;
use espgate::metrics::Metrics;
use espgate::serial::Ports;
use espgate::serial::crash_recorder::CrashRecorder;
use espgate::serial::discover::PortSources;
use espgate::serial::status::{PortMonitor as Shown, State};
use espgate::store::Store;
use espgate::store::coredumps::Entry;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

#[path = "../common/simulated_board/mod.rs"]
mod simulated_board;

mod console;
mod flash;
mod one_record;
mod ports;

use board::Board;

/// A gateway with one configured port, and the board that may be plugged in there.
struct Site {
    folder: tempfile::TempDir,
    /// The configuration's text.
    config: String,
    store: Arc<Store>,
    crashes: Arc<Crashes>,
    metrics: Arc<Metrics>,
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
        let text = format!("[[serial.port]]\npath = \"{}\"\n{port}\n", link.display());
        Self::begin(folder, Board::at(&link), &text)
    }

    fn begin(folder: tempfile::TempDir, board: Board, text: &str) -> Self {
        let config = config::parse(text).unwrap().config;
        let name = folder.path().join("port").display().to_string();
        let store = Arc::new(
            Store::open(
                &folder.path().join("data"),
                None,
                None,
                espgate::bundle::BundleLimits::for_bundles_of(1 << 20),
            )
            .unwrap(),
        );
        let metrics = Arc::new(Metrics::default());
        let ingest = Ingest::new(
            Arc::clone(&store),
            Arc::clone(&metrics),
            config.coredumps.clone(),
        );
        let crashes = Arc::clone(ingest.crashes());
        let maker = |hash: &str| {
            hash.starts_with("1b43c5e74")
                .then(|| ("demo".parse().unwrap(), "1.2.2".parse().unwrap()))
        };
        let intake = CrashRecorder::new(Arc::new(ingest), Arc::clone(&store), Box::new(maker));
        let sources = PortSources {
            sys: folder.path().join("sys"),
            dev: folder.path().to_owned(),
            list: Arc::new(Vec::new),
        };
        let state = folder.path().join("data/state");
        let limit = config.coredumps.max_upload_bytes;
        let ports = Ports::new(
            intake,
            Arc::clone(&metrics),
            sources,
            &state,
            config.serial,
            limit,
        )
        .unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (ports, stop) = (ports.clone(), stop.clone());
            async move { ports.run(stop).await }
        });
        Self {
            folder,
            config: text.to_owned(),
            store,
            crashes,
            metrics,
            ports,
            board,
            stop,
            running,
            name,
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
            match self.ports.monitor(&self.name) {
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

    /// How often each crash of each device happened.
    fn occurrences(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        for device in self.store.coredumps.devices().unwrap() {
            let counted = self.store.coredumps.with(&device, |folder| {
                counts.extend(folder.crashes().iter().map(|crash| crash.occurrences));
                Ok(())
            });
            counted.unwrap();
        }
        let grouped = self.crashes.with(|groups| {
            let counts = groups.groups().map(|group| group.occurrences);
            counts.sum::<u64>()
        });
        assert_eq!(
            grouped,
            counts.iter().sum::<u64>(),
            "the crash groups count the same"
        );
        counts
    }

    /// The sidecar of the newest dump.
    fn sidecar(&self) -> serde_json::Value {
        let dumps = self.dumps();
        let newest = dumps.iter().max_by_key(|dump| dump.sequence).unwrap();
        let found = self.store.coredumps.collect(|device, entry| {
            let path = self.store.coredumps.root().join(device.as_str());
            (entry.stem == newest.stem).then(|| path.join(format!("{}.json", entry.stem)))
        });
        serde_json::from_slice(&std::fs::read(&found[0]).unwrap()).unwrap()
    }

    /// The console's log that stands beside this sidecar.
    fn log_of(&self, sidecar: &serde_json::Value) -> String {
        let found = self.store.coredumps.collect(|device, entry| {
            let path = self.store.coredumps.root().join(device.as_str());
            (sidecar["id"] == entry.id.to_string())
                .then(|| path.join(format!("{}.log", entry.stem)))
        });
        std::fs::read_to_string(&found[0]).unwrap()
    }

    /// The daemon ends and another one begins.
    async fn restart(self) -> Self {
        let Self {
            folder,
            board,
            config,
            ..
        } = self.stop().await;
        Self::begin(folder, board, &config)
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

    async fn stop(mut self) -> Self {
        self.stop.cancel();
        timeout(Duration::from_secs(60), &mut self.running)
            .await
            .unwrap()
            .unwrap();
        self
    }
}
