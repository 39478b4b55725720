//! Writes what the ports' tasks record: it is in memory at once, and a thread
//! writes it to disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::ports::Why;
use crate::clock::Moment;
use crate::console::Boot;
use crate::journal::{Event, chain};
use crate::store::registry::StateFile;

use super::crash_recorder::{CaptureContext, CrashRecorder};
use super::port_plan::PortPlan;
use super::state::PortsState;
use super::udev_marks::UdevMarks;

/// The state of all ports, with its pending changes.
pub(super) struct StateWriter {
    /// `ports.json`.
    pub(super) state: StateFile<PortsState>,
    marks: UdevMarks,
    recorder: Arc<CrashRecorder>,
    /// Which places are listened to, as of the last scan.
    listened: Mutex<BTreeMap<String, bool>>,
    /// The newest boot on each port that is not in the registry yet.
    boots: Mutex<BTreeMap<String, (CaptureContext, Boot)>>,
    changed: Notify,
}

impl StateWriter {
    pub(super) fn new(
        state: StateFile<PortsState>,
        marks: UdevMarks,
        recorder: Arc<CrashRecorder>,
    ) -> Self {
        Self {
            state,
            marks,
            recorder,
            listened: Mutex::default(),
            boots: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Changes the state; it is written to disk soon.
    pub(super) fn record(&self, change: impl Fn(&mut PortsState) + Send + Sync + 'static) {
        self.state.note(move |state| {
            change(state);
            state.tidy(&Moment::now());
        });
        self.changed.notify_one();
    }

    /// Writes pending changes of the state to disk; the handle ends when that is
    /// done or failed.
    pub(super) fn flush(self: &Arc<Self>) -> JoinHandle<()> {
        let writer = Arc::clone(self);
        tokio::task::spawn_blocking(move || writer.flush_here())
    }

    /// Marks for udev which ports are listened to.
    pub(super) fn mark_listened(&self, plans: &[PortPlan]) {
        let on_usb = plans.iter().filter(|plan| plan.usb.is_some());
        *lock(&self.listened) = on_usb
            .map(|plan| (plan.id.clone(), plan.why != Why::Seen))
            .collect();
        self.changed.notify_one();
    }

    /// Records the build that a board printed at its boot.
    pub(super) fn record_boot(&self, port: &str, context: &CaptureContext, boot: &Boot) {
        lock(&self.boots).insert(port.to_owned(), (context.clone(), boot.clone()));
        self.changed.notify_one();
    }

    /// Writes pending changes until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                () = stop.cancelled() => return,
            }
            self.write().await;
        }
    }

    /// Writes pending changes.
    pub(super) async fn write(self: &Arc<Self>) {
        let writer = Arc::clone(self);
        let work = move || {
            writer.flush_here();
            // no lock is held during what follows
            let boots = std::mem::take(&mut *lock(&writer.boots));
            let listened = std::mem::take(&mut *lock(&writer.listened));
            for (context, boot) in boots.into_values() {
                writer.recorder.record_boot(&context, &boot);
            }
            writer.marks.follow(&listened);
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            log::error!("cannot save port state: {error}");
        }
    }

    fn flush_here(&self) {
        if let Err(error) = self.state.flush() {
            Event::PortTrouble
                .entry()
                .say(format_args!("cannot save port state: {}", chain(&error)));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
