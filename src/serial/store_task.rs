//! Stores a port's crashes in a task of its own: a slow disk must not delay the
//! reading of the port.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Moment;
use crate::ingest::Received;
use crate::journal::{Event, chain};

use super::automatic_read;
use super::crash_backlog::{BacklogReceiver, NextCrash};
use super::crash_recorder::{CapturedCrash, Crash, CrashRecorder, RepeatKey};
use super::flash_read;
use super::flash_read_request::{FlashRead, FlashReadError, FlashReadRequest, ReadRequester};
use super::state_writer::StateWriter;
use super::status::PortMonitor;

/// The task that stores one port's crashes.
pub(super) struct StoreTask {
    pub(super) crashes: BacklogReceiver,
    pub(super) monitor: Arc<PortMonitor>,
    pub(super) recorder: Arc<CrashRecorder>,
    /// To request a flash read, if the dump from the console is incomplete.
    pub(super) requests: mpsc::Sender<FlashReadRequest>,
    /// Records for which crashes that was done.
    pub(super) state_writer: Arc<StateWriter>,
    pub(super) stop: CancellationToken,
}

impl StoreTask {
    /// Stores one crash after the other until the port's task is gone.
    pub(super) async fn run(self) {
        while let Some(next) = self.crashes.next().await {
            let NextCrash {
                number,
                captured,
                asked,
            } = next;
            let outcome = self.store(number, &captured, asked.as_ref()).await;
            let stored = outcome.as_ref().ok().map(|read| &read.received);
            self.crashes.done(number, stored.and_then(RepeatKey::of));
            if let Crash::Flash(_) = captured.crash {
                flash_read::report_result(&captured.context.plan, &outcome);
            } else if let Some(received) = stored {
                self.read_flash(captured, received);
            }
            if let Some(ReadRequester { reading, reply }) = asked {
                drop(reading);
                // the requester may have left
                let _ = reply.send(outcome);
            }
        }
    }

    /// Requests a flash read, if this crash needs it.
    fn read_flash(&self, captured: Arc<CapturedCrash>, received: &Received) {
        let (plan, now) = (&captured.context.plan, Moment::now());
        let id = plan.id.clone();
        let reads = self.state_writer.state.read().of(&id).automatic_reads;
        if !automatic_read::should_read(plan, received, &reads, &now) {
            return;
        }
        let Some(reading) = self.monitor.start_read() else {
            return; // a read is running already
        };
        // nobody waits for the result, it is in the journal
        let request = FlashReadRequest {
            crash: Some(captured),
            reading,
            reply: None,
        };
        if self.requests.try_send(request).is_err() {
            return;
        }
        let crash = received.fingerprint.clone();
        self.state_writer.record(move |state| {
            automatic_read::record_read(
                &mut state.ensure(&id).automatic_reads,
                crash.as_deref(),
                &now,
            );
        });
    }

    /// Stores a crash, with retries for as long as it takes. A requester that
    /// waits gets the first error instead: the dump is still in the flash.
    async fn store(
        &self,
        number: u64,
        captured: &Arc<CapturedCrash>,
        asked: Option<&ReadRequester>,
    ) -> Result<FlashRead, FlashReadError> {
        let path = captured.context.plan.path.display();
        let mut pause = FIRST_PAUSE;
        loop {
            let work = (Arc::clone(captured), Arc::clone(&self.recorder));
            let stored = tokio::task::spawn_blocking(move || {
                let (captured, recorder) = work;
                recorder.store(&captured.crash, &captured.context)
            });
            let error = match stored.await {
                Ok(Ok((received, device))) => {
                    self.monitor.stored(&received, &device);
                    return Ok(FlashRead { received, device });
                }
                Ok(Err(error)) => error,
                // a panic costs this crash, not the daemon
                Err(panic) => {
                    let why = format!("internal error while storing: {panic}");
                    self.crashes.lost(number, &why);
                    return Err(FlashReadError::Aborted);
                }
            };
            if asked.is_some_and(|asked| !asked.reply.is_closed()) {
                return Err(FlashReadError::Store(error));
            }
            Event::PortTrouble.entry().port(&path).say(format_args!(
                "{path}: cannot store crash, retrying: {}",
                chain(&error)
            ));
            self.crashes.failed(number);
            let stopping = self.stop.is_cancelled();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled(), if !stopping => {}
            }
            if !self.crashes.try_again(number) {
                // the daemon stops, and has reported the loss
                return Err(FlashReadError::Aborted);
            }
            pause = if self.stop.is_cancelled() {
                FIRST_PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
        }
    }
}

/// Pause between attempts while the disk is full or fails.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::super::crash_backlog::CrashBacklog;
    use super::super::crash_recorder::{self, CaptureContext};
    use super::super::status;
    use super::super::udev_marks::UdevMarks;
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
        let recorder = Arc::new(CrashRecorder::new(ingest, Arc::clone(&store), maker));
        let state = store.data_dir.state();
        let file = StateFile::open(&state, "ports.json").unwrap();
        let state_writer = StateWriter::new(file, UdevMarks::below(&state), Arc::clone(&recorder));

        let (plan, monitor) = status::tests::port("/dev/ttyUSB0");
        let (sender, crashes) = CrashBacklog::new(Arc::clone(&metrics)).of(&plan.id, &monitor);
        let abort = "abort() was called at PC 0x400d66b9 on core 0\r\n";
        for text in [
            &format!("{abort}ELF file SHA256: 0123456789abcdef\r\n"),
            abort,
        ] {
            let context = CaptureContext {
                plan: plan.clone(),
                mac: None,
            };
            sender.push(crash_recorder::tests::panic(text), context, None);
        }
        drop(sender);
        let task = StoreTask {
            crashes,
            monitor: Arc::clone(&monitor),
            recorder,
            requests: mpsc::channel(1).0,
            state_writer: Arc::new(state_writer),
            stop: CancellationToken::new(),
        };
        task.run().await;
        let status = monitor.status();
        assert_eq!((status.dropped, status.stored), (1, 1));
        assert_eq!(metrics.serial_crashes_dropped.get(), 1);
        assert_eq!(metrics.serial_waiting_bytes.get(), 0);
    }
}
