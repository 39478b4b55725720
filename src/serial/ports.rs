//! The handle to the serial ports: list, claim, release, read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::api::OpenEnum;
use crate::config;
use crate::device::DeviceKey;
use crate::metrics::Metrics;
use crate::store;

use super::crash_recorder::CrashRecorder;
use super::discover::PortSources;
use super::error::Error;
use super::flash_read_request::{FlashRead, FlashReadError, FlashReadRequest};
use super::status::{ActiveRead, PortMonitor, PortStatus, State};
use super::supervisor::Supervisor;

/// The handle to all ports; clones share them.
#[derive(Clone)]
pub struct Ports(pub(super) Arc<Supervisor>);

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

impl Ports {
    /// The ports of `sources`; none is opened before [`Ports::run`].
    /// `state` is the folder of `ports.json`.
    ///
    /// # Errors
    /// If `ports.json` cannot be read.
    pub fn new(
        recorder: CrashRecorder,
        metrics: Arc<Metrics>,
        sources: PortSources,
        state: &Path,
        settings: config::Serial,
        max_dump_bytes: usize,
    ) -> store::Result<Self> {
        let supervisor =
            Supervisor::new(recorder, metrics, sources, state, settings, max_dump_bytes)?;
        Ok(Self(Arc::new(supervisor)))
    }

    /// Runs the ports until `stop`; returns when all are closed, boards run their
    /// applications, and captured crashes are stored.
    pub async fn run(&self, stop: CancellationToken) {
        self.0.run(stop).await;
    }

    /// Takes a new configuration; only ports that it changes are reopened.
    pub fn reconfigure(&self, settings: config::Serial, max_dump_bytes: usize) {
        self.0.reconfigure(settings, max_dump_bytes);
    }

    /// All ports, by path. Blocks: call it from a thread that may.
    pub fn list(&self) -> Vec<PortStatus> {
        self.0.list()
    }

    /// The port with this name, path or place.
    ///
    /// # Errors
    /// [`Error::Unknown`]
    pub fn monitor(&self, name: &str) -> Result<Arc<PortMonitor>, Error> {
        self.0.find(name, |_, entry| Arc::clone(&entry.monitor))
    }

    /// Listens to a port from now on, regardless of the discovery rule; a
    /// released port is taken back.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Lent`], [`Error::State`]
    pub async fn claim(&self, name: &str) -> Result<(), Error> {
        let (id, path) = self
            .0
            .find(name, |id, entry| (id.to_owned(), entry.path()))?;
        if self.0.is_lent(&id) {
            return Err(Error::Lent(path));
        }
        self.0
            .remember(id, |port| {
                port.claimed = true;
                port.released = None;
            })
            .await?;
        self.0.rescan_requested.notify_one();
        Ok(())
    }

    /// Releases a port, for a while or until it is claimed. When this returns,
    /// the port is closed.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Lent`], [`Error::State`], [`Error::Stuck`]
    pub async fn release(&self, name: &str, duration: Option<Duration>) -> Result<(), Error> {
        let (id, path) = self
            .0
            .find(name, |id, entry| (id.to_owned(), entry.path()))?;
        if self.0.is_lent(&id) {
            return Err(Error::Lent(path));
        }
        self.0.close_port(name, duration, false).await?;
        Ok(())
    }

    /// Has the board of a device boot, if it is attached to a port where boards may be reset
    /// without a person (`read_flash = "on-crash"`, and a reset circuit that leaves the port
    /// in place). Whether it is attached. Blocks.
    pub fn reset_board_of(&self, device: &DeviceKey) -> bool {
        let is_it = |port: &PortStatus| port.device_key.as_deref() == Some(device.as_str());
        let Some(port) = self.list().into_iter().find(is_it) else {
            return false;
        };
        let reset = self.0.find(&port.name, |_, entry| {
            entry.reset_requested.notify_one();
        });
        reset.is_ok()
    }

    /// Starts a read of the coredump from the flash of a port's board. The board
    /// is reset twice and does not run its application meanwhile.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::BeingRead`]
    pub fn start_flash_read(&self, name: &str) -> Result<StartedRead, Error> {
        let (monitor, requests) = self.0.find(name, |_, entry| {
            (Arc::clone(&entry.monitor), entry.requests.clone())
        })?;
        let reading = monitor.start_read();
        Ok(StartedRead {
            reading: reading.ok_or_else(|| Error::BeingRead(name.to_owned()))?,
            monitor,
            requests,
        })
    }
}

/// A started read of a board's flash; there is one at a time.
pub struct StartedRead {
    monitor: Arc<PortMonitor>,
    reading: ActiveRead,
    requests: mpsc::Sender<FlashReadRequest>,
}

impl StartedRead {
    /// Reads and stores the dump. The read goes on if the future is dropped.
    ///
    /// # Errors
    /// Why there is no dump.
    pub async fn finish(self) -> Result<FlashRead, FlashReadError> {
        match self.monitor.status().state {
            OpenEnum::Known(State::Listening | State::ReadingFlash) => {}
            OpenEnum::Known(State::Absent) => return Err(FlashReadError::Absent),
            _ => return Err(FlashReadError::NotOpen),
        }
        let (reply, answer) = oneshot::channel();
        let request = FlashReadRequest {
            crash: None,
            reading: self.reading,
            reply: Some(reply),
        };
        if self.requests.send(request).await.is_err() {
            return Err(FlashReadError::Aborted);
        }
        answer.await.unwrap_or(Err(FlashReadError::Aborted))
    }
}
