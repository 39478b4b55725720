//! What can be asked of, and said about, the serial ports.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::api::OpenEnum;
use crate::config;
use crate::metrics::Metrics;
use crate::store;

use super::discover::PortSources;
use super::error::Error;
use super::intake::Intake;
use super::keeper::Keeper;
use super::request::{Read, ReadError, Request};
use super::status::{Board, PortStatus, Reading, State};

/// The handle to all ports; clones are the same.
#[derive(Clone)]
pub struct Ports(pub(super) Arc<Keeper>);

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

impl Ports {
    /// All ports below `sources`, none of them opened before [`Ports::run`].
    /// `state` is the folder of `ports.json`.
    ///
    /// # Errors
    /// If `ports.json` cannot be read.
    pub fn new(
        intake: Intake,
        metrics: Arc<Metrics>,
        sources: PortSources,
        state: &Path,
        settings: config::Serial,
        max_dump_bytes: usize,
    ) -> store::Result<Self> {
        let keeper = Keeper::new(intake, metrics, sources, state, settings, max_dump_bytes)?;
        Ok(Self(Arc::new(keeper)))
    }

    /// Keeps the ports until `stop`; returns when all are closed, their boards
    /// run their applications, and what was captured is stored.
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
    pub fn board(&self, name: &str) -> Result<Arc<Board>, Error> {
        self.0.find(name, |_, entry| Arc::clone(&entry.board))
    }

    /// Listens to a port from now on, whatever the rules say; a port that was
    /// released is taken back.
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
        self.0.look.notify_one();
        Ok(())
    }

    /// Leaves a port alone, for a while or until it is claimed. When this
    /// returns, the port is closed.
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
        self.0.let_go(name, duration, false).await?;
        Ok(())
    }

    /// Begins to read the coredump from the flash of a port's board. The board
    /// is reset twice and does not run its application meanwhile.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::BeingRead`]
    pub fn begin_read(&self, name: &str) -> Result<Begun, Error> {
        let (board, requests) = self.0.find(name, |_, entry| {
            (Arc::clone(&entry.board), entry.requests.clone())
        })?;
        let reading = board.begin_reading();
        Ok(Begun {
            reading: reading.ok_or_else(|| Error::BeingRead(name.to_owned()))?,
            board,
            requests,
        })
    }
}

/// A read of a board's flash that nobody else can begin meanwhile.
pub struct Begun {
    board: Arc<Board>,
    reading: Reading,
    requests: mpsc::Sender<Request>,
}

impl Begun {
    /// Reads, and stores what was read. Dropping the future does not break off
    /// the read.
    ///
    /// # Errors
    /// Why there is no dump.
    pub async fn finish(self) -> Result<Read, ReadError> {
        match self.board.status().state {
            OpenEnum::Known(State::Listening | State::ReadingFlash) => {}
            OpenEnum::Known(State::Absent) => return Err(ReadError::Absent),
            _ => return Err(ReadError::NotOpen),
        }
        let (reply, answer) = oneshot::channel();
        let request = Request {
            crash: None,
            reading: self.reading,
            reply: Some(reply),
        };
        if self.requests.send(request).await.is_err() {
            return Err(ReadError::BrokenOff);
        }
        answer.await.unwrap_or(Err(ReadError::BrokenOff))
    }
}
