//! A port's status, its newest lines and the progress of a flash read, while the
//! daemon runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::api::ports::{AppSlot, LastCrash};
pub use crate::api::ports::{PortStatus, State};
use crate::bootloader::ReadProgress;
use crate::clock::{Moment, iso8601};
use crate::device::DeviceKey;
use crate::ingest::Received;

use super::discover::Usb;
use super::port_plan::PortPlan;

/// A port's status and newest lines, shared between its task and its readers.
#[derive(Debug)]
pub struct PortMonitor {
    status: Mutex<PortStatus>,
    tail: Mutex<VecDeque<String>>,
    lines: broadcast::Sender<String>,
    changed: watch::Sender<()>,
    /// The progress of a flash read, if there is one.
    reading: Mutex<Option<Option<ReadProgress>>>,
}

/// A flash read, from the request until the dump is stored or the read failed.
/// Dropping this ends it.
#[derive(Debug)]
pub(super) struct ActiveRead(Arc<PortMonitor>);

impl ActiveRead {
    /// Sets the progress.
    pub(super) fn show(&self, progress: ReadProgress) {
        *lock(&self.0.reading) = Some(Some(progress));
        if let Some(app) = progress.app {
            let slot = AppSlot {
                offset: app.offset,
                choice_offset: app.choice.map(|(offset, _)| offset),
                choice_size: app.choice.map(|(_, size)| size),
            };
            let known = lock(&self.0.status).app_slot;
            if known != Some(slot) {
                self.0.change(|status| status.app_slot = Some(slot));
            }
        }
    }
}

impl Drop for ActiveRead {
    fn drop(&mut self) {
        *lock(&self.0.reading) = None;
    }
}

impl PortMonitor {
    /// The status of a port that was just found.
    pub(super) fn new(plan: &PortPlan, name: String) -> Self {
        let status = PortStatus {
            state: State::Seen.into(),
            ..PortStatus::default()
        };
        let monitor = Self {
            status: Mutex::new(status),
            tail: Mutex::default(),
            lines: broadcast::channel(FOLLOWER_LINES).0,
            changed: watch::Sender::new(()),
            reading: Mutex::default(),
        };
        monitor.describe(plan, name);
        monitor
    }

    /// Applies a new plan.
    pub(super) fn describe(&self, plan: &PortPlan, name: String) {
        self.change(|status| {
            // another adapter means another board
            let identity = |usb: &Option<Usb>| usb.as_ref().map(Usb::identity);
            if status.usb.is_some() && identity(&status.usb) != identity(&plan.usb) {
                *status = PortStatus {
                    state: status.state.clone(),
                    bytes: status.bytes,
                    ..PortStatus::default()
                };
            }
            status.name = name;
            status.path.clone_from(&plan.path);
            status.place.clone_from(&plan.id);
            status.adapter = plan.usb.as_ref().and_then(Usb::kind).map(str::to_owned);
            status.usb.clone_from(&plan.usb);
            status.why = Some(plan.why.into());
            status.baud = plan.settings.baud;
            let released = plan.released.and_then(|released| released.remaining);
            status.released_seconds = released.map(|remaining| remaining.as_secs());
            if let Some(key) = &plan.settings.device_key {
                status.device_key = Some(key.to_string());
            }
            if let Some(model) = &plan.settings.model {
                status.model_code = Some(model.to_string());
            }
        });
    }

    /// Starts a flash read, unless there is one.
    pub(super) fn start_read(self: &Arc<Self>) -> Option<ActiveRead> {
        let mut reading = lock(&self.reading);
        if reading.is_some() {
            return None;
        }
        *reading = Some(None);
        Some(ActiveRead(Arc::clone(self)))
    }

    /// The progress of the flash read: `None` if there is none, `Some(None)` if it
    /// has not started yet.
    pub fn read_progress(&self) -> Option<Option<ReadProgress>> {
        *lock(&self.reading)
    }

    /// A copy of the status.
    pub fn status(&self) -> PortStatus {
        lock(&self.status).clone()
    }

    /// The newest lines, oldest first, and those that follow.
    pub fn log(&self) -> (Vec<String>, broadcast::Receiver<String>) {
        // subscribed before the tail is copied, under its lock: none is missed
        let tail = lock(&self.tail);
        (tail.iter().cloned().collect(), self.lines.subscribe())
    }

    /// Waits until `holds` is true for the status.
    pub async fn until(&self, holds: impl Fn(&PortStatus) -> bool) {
        let mut changed = self.changed.subscribe();
        // our own sender is never dropped, so this ends only when it holds
        while !holds(&lock(&self.status)) && changed.changed().await.is_ok() {}
    }

    pub(super) fn change<R>(&self, change: impl FnOnce(&mut PortStatus) -> R) -> R {
        let answer = change(&mut lock(&self.status));
        self.changed.send_replace(());
        answer
    }

    pub(super) fn received(&self, bytes: usize) {
        self.change(|status| status.bytes += bytes as u64);
    }

    pub(super) fn line(&self, line: String) {
        let mut tail = lock(&self.tail);
        if tail.len() >= TAIL_LINES {
            tail.pop_front();
        }
        if self.lines.receiver_count() > 0 {
            let _ = self.lines.send(line.clone());
        }
        tail.push_back(line);
    }

    /// Updates what is too costly to update with every line.
    pub(super) fn refresh(&self) {
        let last = lock(&self.tail).back().cloned();
        let now = iso8601(Moment::now().wall);
        self.change(|status| {
            status.last_line = last.or(status.last_line.take());
            status.last_data_at = Some(now);
        });
    }

    /// A crash was stored.
    pub(super) fn stored(&self, received: &Received, device: &DeviceKey) {
        let at = iso8601(Moment::now().wall);
        self.change(|status| {
            status.device_key = Some(device.to_string());
            status.stored += 1;
            status.last_crash = Some(LastCrash {
                at,
                coredump_id: received.id.clone(),
                filename: received.filename.clone(),
                verdict: received.verdict.to_string(),
                kept: received.kept,
            });
        });
    }

    /// A new state; `note` says what is wrong, if anything.
    pub(super) fn enter(&self, state: State, note: Option<String>) {
        self.change(|status| {
            if state == State::Absent {
                // another board may come
                status.app_slot = None;
            }
            status.state = state.into();
            status.note = note;
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lines that are kept for `ports log`; at most 4 KiB each.
const TAIL_LINES: usize = 200;
/// Lines by which a follower may fall behind.
const FOLLOWER_LINES: usize = 1024;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::serial::selection::{self, ConfiguredPath};
    use crate::serial::state::PortsState;

    /// A configured port that is not on USB.
    pub(in crate::serial) fn port(path: &str) -> (PortPlan, Arc<PortMonitor>) {
        let text = format!("[[serial.port]]\npath = \"{path}\"\n");
        let config = crate::config::parse(&text).unwrap().config.serial;
        let named = [ConfiguredPath {
            path: path.into(),
            target: Some(path.into()),
        }];
        let state = PortsState::default();
        let plan = selection::plan_ports(&[], &named, &config, &state, &Moment::now()).remove(0);
        let monitor = Arc::new(PortMonitor::new(&plan, path.to_owned()));
        (plan, monitor)
    }

    #[test]
    fn a_read_is_over_whichever_way_it_ends() {
        let (_, monitor) = port("/dev/ttyUSB0");
        assert_eq!(monitor.read_progress(), None);
        let reading = monitor.start_read().unwrap();
        assert_eq!(monitor.read_progress(), Some(None));
        assert!(monitor.start_read().is_none(), "two at once");
        drop(reading);
        assert_eq!(monitor.read_progress(), None);
        assert!(monitor.start_read().is_some());
    }

    #[test]
    fn where_an_application_is_written_is_known_until_the_board_is_gone() {
        let (_, monitor) = port("/dev/ttyUSB0");
        let slot = || monitor.status().app_slot;
        let mut progress = ReadProgress {
            stage: crate::bootloader::ReadStage::ReadingDump,
            mac: None,
            app: None,
            done: 0,
            total: 0,
        };
        let reading = monitor.start_read().unwrap();
        reading.show(progress);
        assert_eq!(slot(), None);
        progress.app = Some(crate::bootloader::partition::AppSlot {
            offset: 0x1_0000,
            choice: Some((0xD000, 0x2000)),
        });
        reading.show(progress);
        progress.app = None;
        reading.show(progress);
        drop(reading);
        let found = slot().unwrap();
        assert_eq!(
            (found.offset, found.choice_offset),
            (0x1_0000, Some(0xD000))
        );
        monitor.enter(State::Listening, None);
        assert!(slot().is_some());
        monitor.enter(State::Absent, None);
        assert_eq!(slot(), None);
    }

    #[test]
    fn a_port_is_seen_until_its_task_says_more() {
        let monitor = PortMonitor::new(&PortPlan::configured("/dev/ttyS0"), String::from("ttyS0"));
        let said = serde_json::to_value(monitor.status()).unwrap();
        assert_eq!(said["state"], "seen");
        monitor.enter(State::ReadingFlash, None);
        let said = serde_json::to_value(monitor.status()).unwrap();
        assert_eq!(said["state"], "reading-flash");
    }
}
