//! Stores what a port captured, beside the task that reads: a slow disk must
//! not make a board's bytes overflow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Moment;
use crate::ingest::Received;
use crate::journal::{Event, chain};

use super::backlog::{Outlet, Taken};
use super::intake::{Captured, Crash, Intake, Likeness};
use super::notes::Notes;
use super::on_crash;
use super::reading;
use super::request::{Asked, Read, ReadError, Request};
use super::status::Board;

/// What a port captured on its way to the store.
pub(super) struct Storing {
    pub(super) crashes: Outlet,
    pub(super) board: Arc<Board>,
    pub(super) intake: Arc<Intake>,
    /// To ask the port's task for the flash, if the console gave too little.
    pub(super) requests: mpsc::Sender<Request>,
    /// Where it is noted for which crashes that was done.
    pub(super) notes: Arc<Notes>,
    pub(super) stop: CancellationToken,
}

impl Storing {
    /// Stores one crash after the other until the port's task is gone.
    pub(super) async fn run(self) {
        while let Some(taken) = self.crashes.next().await {
            let Taken {
                number,
                captured,
                asked,
            } = taken;
            let outcome = self.store(number, &captured, asked.as_ref()).await;
            let stored = outcome.as_ref().ok().map(|read| &read.received);
            self.crashes.done(number, stored.and_then(Likeness::of));
            if let Crash::Flash(_) = captured.crash {
                reading::say(&captured.site.plan, &outcome);
            } else if let Some(received) = stored {
                self.read_flash(captured, received);
            }
            if let Some(Asked { reading, reply }) = asked {
                drop(reading);
                // whoever asked may have left
                let _ = reply.send(outcome);
            }
        }
    }

    /// Asks for the flash, if this crash is worth it.
    fn read_flash(&self, captured: Arc<Captured>, received: &Received) {
        let (plan, now) = (&captured.site.plan, Moment::now());
        let id = plan.id.clone();
        let reads = self.notes.state.read().of(&id).unasked_reads;
        if !on_crash::wants(plan, received, &reads, &now) {
            return;
        }
        let Some(reading) = self.board.begin_reading() else {
            return; // it is being read as it is
        };
        // nobody waits for it: what comes of it is in the journal
        let request = Request {
            crash: Some(captured),
            reading,
            reply: None,
        };
        if self.requests.try_send(request).is_err() {
            return;
        }
        let crash = received.fingerprint.clone();
        self.notes.note(move |state| {
            on_crash::remember(&mut state.ensure(&id).unasked_reads, crash.as_deref(), &now);
        });
    }

    /// Stores a crash, however long the disk takes and however often it has to
    /// be tried. Whoever waits for it is told the first failure: the dump is
    /// still in the board's flash.
    async fn store(
        &self,
        number: u64,
        captured: &Arc<Captured>,
        asked: Option<&Asked>,
    ) -> Result<Read, ReadError> {
        let path = captured.site.plan.path.display();
        let mut pause = FIRST_PAUSE;
        loop {
            let work = (Arc::clone(captured), Arc::clone(&self.intake));
            let stored = tokio::task::spawn_blocking(move || {
                let (captured, intake) = work;
                intake.take(&captured.crash, &captured.site)
            });
            let error = match stored.await {
                Ok(Ok((received, device))) => {
                    self.board.stored(&received, &device);
                    return Ok(Read { received, device });
                }
                Ok(Err(error)) => error,
                // one dump may cost its attempt, not the daemon
                Err(panic) => {
                    let why = format!("storing it failed inside espgate: {panic}");
                    self.crashes.lost(number, &why);
                    return Err(ReadError::BrokenOff);
                }
            };
            if asked.is_some_and(|asked| !asked.reply.is_closed()) {
                return Err(ReadError::Store(error));
            }
            Event::PortTrouble.entry().port(&path).say(format_args!(
                "{path}: a crash cannot be stored yet, and is tried again: {}",
                chain(&error)
            ));
            self.crashes.failed(number);
            let stopping = self.stop.is_cancelled();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled(), if !stopping => {}
            }
            if !self.crashes.try_again(number) {
                // the daemon ends, and has said that the crash is lost
                return Err(ReadError::BrokenOff);
            }
            pause = if self.stop.is_cancelled() {
                FIRST_PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
        }
    }
}

/// Between two tries while the disk is full or failing.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::super::backlog::Backlog;
    use super::super::intake::{self, Site};
    use super::super::marks::Marks;
    use super::super::status;
    use super::*;
    use crate::bundle;
    use crate::ingest::Ingest;
    use crate::metrics::Metrics;
    use crate::store::Store;
    use crate::store::registry::StateFile;

    #[tokio::test]
    async fn a_crash_that_makes_storing_panic_is_counted_as_dropped_and_the_next_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let limits = bundle::BundleLimits::for_bundles_of(1 << 20);
        let store = Arc::new(Store::open(&folder.path().join("data"), None, None, limits).unwrap());
        let metrics = Arc::new(Metrics::default());
        let config = crate::config::parse("").unwrap().config.coredumps;
        let ingest = Arc::new(Ingest::new(
            Arc::clone(&store),
            Arc::clone(&metrics),
            config,
        ));
        // asked only for a crash that says its build
        let maker = Box::new(|_: &str| panic!("a fault"));
        let intake = Arc::new(Intake::new(ingest, Arc::clone(&store), maker));
        let state = store.data_dir.state();
        let file = StateFile::open(&state, "ports.json").unwrap();
        let notes = Notes::new(file, Marks::below(&state), Arc::clone(&intake));

        let (plan, board) = status::tests::board("/dev/ttyUSB0");
        let (inlet, crashes) = Backlog::new(Arc::clone(&metrics)).of(&plan.id, &board);
        let abort = "abort() was called at PC 0x400d66b9 on core 0\r\n";
        for text in [
            &format!("{abort}ELF file SHA256: 0123456789abcdef\r\n"),
            abort,
        ] {
            let site = Site {
                plan: plan.clone(),
                mac: None,
            };
            inlet.push(intake::tests::panic(text), site, None);
        }
        drop(inlet);
        let storing = Storing {
            crashes,
            board: Arc::clone(&board),
            intake,
            requests: mpsc::channel(1).0,
            notes: Arc::new(notes),
            stop: CancellationToken::new(),
        };
        storing.run().await;
        let status = board.status();
        assert_eq!((status.dropped, status.stored), (1, 1));
        assert_eq!(metrics.serial_crashes_dropped.get(), 1);
        assert_eq!(metrics.serial_waiting_bytes.get(), 0);
    }
}
