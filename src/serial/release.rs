//! Releasing a port, and what `ports.json` keeps of it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::store;

use super::error::Error;
use super::state::{PortRecord, Release};
use super::supervisor::{Supervisor, lock};

impl Supervisor {
    /// Releases a port and waits until it is closed; returns its path. A port
    /// that does not close in time stays as it was.
    pub(super) async fn close_port(
        &self,
        name: &str,
        duration: Option<Duration>,
        lent: bool,
    ) -> Result<String, Error> {
        let (id, path, mut open) = self.find(name, |id, entry| {
            (id.to_owned(), entry.path(), entry.open.clone())
        })?;
        let before = self.state_writer.state.read().of(&id);
        let release = Release::new(duration, lent, &Moment::now());
        self.remember(id.clone(), move |port| {
            port.claimed &= lent || duration.is_some();
            port.released = Some(release);
        })
        .await?;
        self.rescan_requested.notify_one();
        let closed = tokio::time::timeout(LET_GO, open.wait_for(|open| !open));
        if closed.await.is_ok() {
            return Ok(path);
        }
        self.remember(id, move |port| {
            port.claimed = before.claimed;
            port.released = before.released;
        })
        .await?;
        self.rescan_requested.notify_one();
        Err(Error::Stuck(path))
    }

    /// Changes a port's record, on disk before it takes effect.
    pub(super) async fn remember(
        &self,
        id: String,
        change: impl FnOnce(&mut PortRecord) + Send + 'static,
    ) -> Result<(), Error> {
        let writer = Arc::clone(&self.state_writer);
        let work = move || {
            writer.state.change(|state| {
                change(state.ensure(&id));
                state.tidy(&Moment::now());
                Ok::<_, std::convert::Infallible>(())
            })
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Err(error)) => Err(Error::State(error)),
            Err(error) => {
                let path = std::path::Path::new("ports.json");
                Err(Error::State(store::Error::io("write", path, error.into())))
            }
        }
    }

    /// Whether the port is lent to a program that still runs.
    pub(super) fn is_lent(&self, id: &str) -> bool {
        lock(&self.leases).contains(id)
    }

    /// Records that a port is lent or returned; `false` if it was already.
    pub(super) fn set_lent(&self, id: &str, lent: bool) -> bool {
        let mut leases = lock(&self.leases);
        if lent {
            leases.insert(id.to_owned())
        } else {
            leases.remove(id)
        }
    }
}

/// Closing may have to wait for the end of a flash read.
const LET_GO: Duration = Duration::from_secs(10);
