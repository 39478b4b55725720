//! A port lent to one program, such as a flasher, and taken back afterwards.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::ports::Ports;
use super::state::{PortRecord, Release};
use super::supervisor::Supervisor;
use crate::journal::Event;

/// A lent port. It is taken back when this is dropped; after a restart of the
/// daemon it is taken back at a deadline, since the program may still run.
pub struct Lease {
    supervisor: Arc<Supervisor>,
    id: String,
    /// The device node to use.
    pub path: String,
}

impl Ports {
    /// Lends a port. When this returns, it is closed and stays closed, also when
    /// it disconnects and comes back under another name.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Lent`], [`Error::State`], [`Error::Stuck`]
    pub async fn lend(&self, name: &str) -> Result<Lease, Error> {
        let (id, path) = self
            .0
            .find(name, |id, entry| (id.to_owned(), entry.path()))?;
        if !self.0.set_lent(&id, true) {
            return Err(Error::Lent(path));
        }
        // from here on it is taken back, also if the caller is cancelled
        let mut lease = Lease {
            supervisor: Arc::clone(&self.0),
            id,
            path,
        };
        lease.path = self.0.close_port(name, Some(LENT), true).await?;
        Ok(lease)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.supervisor.set_lent(&self.id, false);
        if self.supervisor.stop.is_cancelled() {
            return;
        }
        let (supervisor, id, path) = (
            Arc::clone(&self.supervisor),
            self.id.clone(),
            self.path.clone(),
        );
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            // if this cannot be saved, the deadline takes it back; a release by a
            // person stays in force
            let lent = |release: &mut Release| release.lent;
            let give_back = move |port: &mut PortRecord| {
                port.released.take_if(lent);
            };
            let _ = supervisor.remember(id, give_back).await;
            supervisor.rescan_requested.notify_one();
            Event::PortChanged.entry().port(&path).say(format_args!(
                "{path} returned by the program that borrowed it"
            ));
        });
    }
}

/// Deadline of a lease, if the daemon ended before it was returned.
const LENT: Duration = Duration::from_secs(900);
