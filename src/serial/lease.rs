//! A port lent to one program, such as a flasher, and taken back afterwards.

use std::sync::Arc;
use std::time::Duration;

use super::keeper::Keeper;
use super::ports::{Error, Ports};
use crate::journal::Event;

/// A lent port. It is taken back when this is dropped; if the daemon itself
/// ends meanwhile, some minutes later, since the program goes on.
pub struct Lease {
    keeper: Arc<Keeper>,
    id: String,
    /// The device node to use.
    pub path: String,
}

impl Ports {
    /// Lends a port. When this returns, it is closed and stays so, also when
    /// it leaves the bus and comes back under another name.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Lent`], [`Error::State`], [`Error::Stuck`]
    pub async fn lend(&self, name: &str) -> Result<Lease, Error> {
        let id = self.0.id_of(name)?;
        if !self.0.lent(&id, true) {
            return Err(Error::Lent(name.to_owned()));
        }
        match self.0.let_go(name, Some(LENT), true).await {
            Ok(path) => Ok(Lease {
                keeper: Arc::clone(&self.0),
                id,
                path,
            }),
            Err(error) => {
                self.0.lent(&id, false);
                Err(error)
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper.lent(&self.id, false);
        if self.keeper.stop.is_cancelled() {
            return;
        }
        let (keeper, id, path) = (Arc::clone(&self.keeper), self.id.clone(), self.path.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            // if it cannot be written, the deadline takes it back
            let _ = keeper.remember(id, |port| port.released = None).await;
            keeper.look.notify_one();
            Event::PortChanged
                .entry()
                .port(&path)
                .say(format_args!("{path} is taken back"));
        });
    }
}

/// How long a lease outlives a daemon that ended without giving it back.
const LENT: Duration = Duration::from_secs(900);
