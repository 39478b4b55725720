//! Stores what a port captured, beside the task that reads: a slow disk must
//! not make a board's bytes overflow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Moment;
use crate::ingest::Received;
use crate::journal::{Event, chain};
use crate::store::registry::StateFile;

use super::intake::{Crash, Intake, Site};
use super::on_crash;
use super::reading::{self, Request};
use super::state::PortsState;
use super::status::Board;

/// A crash and where it came from.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) crash: Crash,
    pub(super) site: Site,
}

/// Crashes that may wait for the disk, per port.
pub(super) const WAITING: usize = 4;

/// What a port captured on its way to the store.
pub(super) struct Storing {
    pub(super) crashes: mpsc::Receiver<Captured>,
    pub(super) board: Arc<Board>,
    pub(super) intake: Arc<Intake>,
    /// To ask the port's task for the flash, if the console gave too little.
    pub(super) requests: mpsc::Sender<Request>,
    /// Where it is noted for which crashes that was done.
    pub(super) state: Arc<StateFile<PortsState>>,
}

impl Storing {
    /// Stores one crash after the other until the port's task is gone.
    pub(super) async fn run(mut self) {
        while let Some(captured) = self.crashes.recv().await {
            let captured = Arc::new(captured);
            if let Some(received) = self.store(&captured).await {
                self.read_flash(captured, &received);
            }
        }
    }

    /// Asks for the flash, if this crash is worth it.
    fn read_flash(&self, captured: Arc<Captured>, received: &Received) {
        let (plan, now) = (captured.site.plan.clone(), Moment::now());
        let reads = self.state.read().of(&plan.id).unasked_reads;
        if !on_crash::wants(&plan, received, &reads, &now) {
            return;
        }
        let progress = watch::Sender::new(None);
        // nobody waits for it: what comes of it is in the journal
        let (reply, _) = oneshot::channel();
        let request = Request {
            crash: Some(captured),
            progress,
            reply,
        };
        if self.requests.try_send(request).is_err() {
            return; // it is being read as it is
        }
        let crash = received.fingerprint.as_deref();
        reading::note(&self.state, &plan.id, |state| {
            on_crash::remember(&mut state.ensure(&plan.id).unasked_reads, crash, &now);
        });
    }

    async fn store(&self, captured: &Arc<Captured>) -> Option<Received> {
        let path = captured.site.plan.path.display();
        let mut attempts = 0;
        loop {
            let work = (Arc::clone(captured), Arc::clone(&self.intake));
            let stored = tokio::task::spawn_blocking(move || {
                let (captured, intake) = work;
                intake.take(&captured.crash, &captured.site)
            });
            attempts += 1;
            let failure = match stored.await {
                Ok(Ok((received, device))) => {
                    self.board.stored(&received, &device);
                    return Some(received);
                }
                Ok(Err(error)) if attempts < ATTEMPTS => {
                    log::debug!("{path}: storing a crash: {}", chain(&error));
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Ok(Err(error)) => chain(&error),
                // one dump may cost its attempt, not the daemon
                Err(panic) => panic.to_string(),
            };
            Event::RequestFailed
                .entry()
                .port(&path)
                .say(format_args!("a crash from {path} is lost: {failure}"));
            return None;
        }
    }
}

/// While the disk is full or failing, each crash is tried so often.
const ATTEMPTS: u32 = 12;
const PAUSE: Duration = Duration::from_secs(5);
