//! Scans for ports and starts, changes and ends their tasks, as found,
//! configured, claimed and released.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Moment;
use crate::config;
use crate::journal::Event;
use crate::metrics::Metrics;
use crate::store;
use crate::store::registry::StateFile;

use super::crash_backlog::CrashBacklog;
use super::crash_recorder::{CaptureContext, CrashRecorder};
use super::discover::{self, PortSources};
use super::error::Error;
use super::flash_read_request::FlashReadRequest;
use super::hotplug::HotplugWatcher;
use super::port_plan::PortPlan;
use super::port_task::{CommonSettings, PortTask};
use super::same_place::SamePlace;
use super::selection::{self, ConfiguredPath};
use super::state::{PortsState, Release};
use super::state_writer::StateWriter;
use super::status::{PortMonitor, PortStatus};
use super::store_task::StoreTask;
use super::udev_marks::UdevMarks;

/// All ports and their tasks.
pub(super) struct Supervisor {
    recorder: Arc<CrashRecorder>,
    metrics: Arc<Metrics>,
    sources: PortSources,
    settings: Mutex<config::Serial>,
    common: watch::Sender<CommonSettings>,
    pub(super) state_writer: Arc<StateWriter>,
    backlog: CrashBacklog,
    entries: Mutex<BTreeMap<String, Entry>>,
    boards: Mutex<SamePlace>,
    began: Instant,
    /// Ports lent to a program that still runs.
    pub(super) leases: Mutex<BTreeSet<String>>,
    /// A change that the watcher does not see, such as a claim.
    pub(super) rescan_requested: Notify,
    tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// One port, plugged in or absent.
pub(super) struct Entry {
    plan: watch::Sender<PortPlan>,
    pub(super) monitor: Arc<PortMonitor>,
    pub(super) open: watch::Receiver<bool>,
    pub(super) requests: mpsc::Sender<FlashReadRequest>,
    pub(super) reset_requested: Arc<Notify>,
    /// The port's own, and the one that stores.
    pub(super) tasks: [JoinHandle<()>; 2],
}

impl Supervisor {
    pub(super) fn new(
        recorder: CrashRecorder,
        metrics: Arc<Metrics>,
        sources: PortSources,
        state: &Path,
        settings: config::Serial,
        max_dump_bytes: usize,
    ) -> store::Result<Self> {
        let recorder = Arc::new(recorder);
        let file = StateFile::open(state, "ports.json")?;
        let state_writer = StateWriter::new(file, UdevMarks::below(state), Arc::clone(&recorder));
        Ok(Self {
            recorder,
            backlog: CrashBacklog::new(Arc::clone(&metrics)),
            metrics,
            sources,
            common: watch::Sender::new(CommonSettings::of(&settings, max_dump_bytes)),
            settings: Mutex::new(settings),
            state_writer: Arc::new(state_writer),
            entries: Mutex::default(),
            boards: Mutex::default(),
            began: Instant::now(),
            leases: Mutex::default(),
            rescan_requested: Notify::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    pub(super) async fn run(self: &Arc<Self>, stop: CancellationToken) {
        let mut watcher = match HotplugWatcher::new() {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                Event::PortTrouble.entry().say(format_args!(
                    "cannot watch for new serial ports: {error}; scanning every 60 seconds"
                ));
                None
            }
        };
        let state_writer = Arc::clone(&self.state_writer);
        self.tasks.spawn(state_writer.run(self.stop.clone()));
        while !stop.is_cancelled() {
            let wait = self.rescan(watcher.as_mut());
            tokio::select! {
                heard = hear(watcher.as_mut()) => match heard {
                    // nodes come in bursts, and udev needs a moment for each
                    Ok(()) => tokio::time::sleep(SETTLE).await,
                    Err(_) => watcher = None,
                },
                () = self.rescan_requested.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STORING, self.tasks.wait())
            .await
            .is_err()
        {
            self.backlog.drop_unstored();
        }
        self.state_writer.write().await;
    }

    pub(super) fn reconfigure(&self, settings: config::Serial, max_dump_bytes: usize) {
        self.common
            .send_replace(CommonSettings::of(&settings, max_dump_bytes));
        *lock(&self.settings) = settings;
        self.rescan_requested.notify_one();
    }

    /// Blocks: the device may have to be looked up in the store.
    pub(super) fn list(&self) -> Vec<PortStatus> {
        let state = self.state_writer.state.read();
        let ports: Vec<(PortStatus, PortPlan)> = lock(&self.entries)
            .values()
            .map(|entry| (entry.monitor.status(), entry.plan.borrow().clone()))
            .collect();
        let shown = |(mut status, plan): (PortStatus, PortPlan)| {
            let context = CaptureContext::of(&plan, &state);
            status.mac = context.mac.map(|mac| mac.to_string());
            // as known now: the device may have been added after its last crash
            let build = status.app_elf_sha256.as_deref();
            if let Some(identity) = self.recorder.known(&context, build) {
                status.device_key = Some(identity.device.to_string());
                status.model_code = identity.model.map(|model| model.to_string());
            }
            status
        };
        let mut list: Vec<PortStatus> = ports.into_iter().map(shown).collect();
        list.sort_by(|a, b| a.path.cmp(&b.path));
        list
    }

    /// Scans for ports and updates the tasks; returns the time until the next
    /// release ends.
    fn rescan(self: &Arc<Self>, watcher: Option<&mut HotplugWatcher>) -> Duration {
        let settings = lock(&self.settings).clone();
        let paths = || settings.port.iter().filter_map(|port| port.path.as_deref());
        // watched before the scan, so that nothing in between is missed
        if let Some(watcher) = watcher {
            let target = |path: &Path| Some(path.with_file_name(fs::read_link(path).ok()?));
            let mut watched: Vec<PathBuf> = paths().filter_map(target).collect();
            watched.extend(paths().map(Path::to_owned));
            watched.push(self.sources.dev.join("tty"));
            watcher.watch(watched.iter().map(PathBuf::as_path));
        }
        let found = discover::scan(&self.sources);
        let named: Vec<ConfiguredPath> = paths()
            .map(|path| ConfiguredPath {
                path: path.to_owned(),
                target: fs::canonicalize(path).ok(),
            })
            .collect();
        let now = Moment::now();
        let mut state = PortsState::clone(&self.state_writer.state.read());
        // a lease lasts as long as the program runs, not until its deadline
        for id in lock(&self.leases).iter() {
            state.ensure(id).released = Some(Release::new(None, true, &now));
        }
        let mut plans = selection::plan_ports(&found, &named, &settings, &state, &now);
        let mut boards = lock(&self.boards);
        boards.look(&found, self.began.elapsed());
        for plan in &mut plans {
            let silent = plan.usb.as_ref().filter(|usb| usb.mac().is_none());
            plan.board_before = silent.and_then(|usb| boards.board(&usb.place));
        }
        drop(boards);
        let over = plans
            .iter()
            .filter_map(|plan| plan.released?.remaining)
            .min();
        self.state_writer.mark_listened(&plans);
        self.follow(plans);
        over.map_or(LOOK_AROUND, |over| (over + SETTLE).min(LOOK_AROUND))
    }

    /// Applies these plans to the tasks.
    fn follow(self: &Arc<Self>, plans: Vec<PortPlan>) {
        let mut entries = lock(&self.entries);
        let here: Vec<String> = plans.iter().map(|plan| plan.id.clone()).collect();
        for plan in plans {
            let name = selection::name_of(&plan.path, &self.sources.dev);
            match entries.get(&plan.id) {
                Some(entry) if !self.has_died(entry) => entry.take(plan, name),
                _ => {
                    entries.insert(plan.id.clone(), self.begin(plan, name));
                }
            }
        }
        // a USB port may come back, one removed from the configuration does not
        entries.retain(|id, entry| here.contains(id) || entry.plan.borrow().usb.is_some());
        let mut absent = 0;
        for (id, entry) in entries.iter().filter(|(id, _)| !here.contains(id)) {
            let gone = PortPlan {
                present: false,
                ..entry.plan.borrow().clone()
            };
            entry.take(gone, selection::name_of(Path::new(id), &self.sources.dev));
            absent += 1;
        }
        if absent > MOST_ABSENT {
            entries.retain(|id, _| here.contains(id));
        }
    }

    /// Whether a task of the port panicked; it is restarted then.
    fn has_died(&self, entry: &Entry) -> bool {
        let died = entry.tasks.iter().any(JoinHandle::is_finished) && !self.stop.is_cancelled();
        if died {
            let path = entry.path();
            Event::PortTrouble
                .entry()
                .port(&path)
                .say(format_args!("{path}: port task failed, restarting"));
        }
        died
    }

    fn begin(self: &Arc<Self>, plan: PortPlan, name: String) -> Entry {
        let monitor = Arc::new(PortMonitor::new(&plan, name));
        let (crashes, captured) = self.backlog.of(&plan.id, &monitor);
        let (requests, asked) = mpsc::channel(1);
        let reset_requested = Arc::new(Notify::new());
        let (open, is_open) = watch::channel(false);
        let plan = watch::Sender::new(plan);
        let port = PortTask {
            monitor: Arc::clone(&monitor),
            plan: plan.subscribe(),
            open,
            stop: self.stop.clone(),
            common: self.common.subscribe(),
            requests: asked,
            reset_requested: Arc::clone(&reset_requested),
            state_writer: Arc::clone(&self.state_writer),
            crashes: Arc::new(crashes),
            metrics: Arc::clone(&self.metrics),
            recorder: Arc::clone(&self.recorder),
        };
        let storing = StoreTask {
            crashes: captured,
            monitor: Arc::clone(&monitor),
            recorder: Arc::clone(&self.recorder),
            requests: requests.clone(),
            state_writer: Arc::clone(&self.state_writer),
            stop: self.stop.clone(),
        };
        let tasks = [
            self.tasks.spawn(port.run()),
            self.tasks.spawn(storing.run()),
        ];
        Entry {
            tasks,
            plan,
            monitor,
            open: is_open,
            requests,
            reset_requested,
        }
    }

    pub(super) fn find<R>(
        &self,
        name: &str,
        found: impl Fn(&str, &Entry) -> R,
    ) -> Result<R, Error> {
        // a device's path: this does not touch a disk
        let is_path = Path::new(name).is_absolute();
        let target = is_path.then(|| fs::canonicalize(name).ok()).flatten();
        let entries = lock(&self.entries);
        let fits = |(id, entry): &(&String, &Entry)| {
            let status = entry.monitor.status();
            let path = Some(&status.path);
            status.name == name
                || *id == name
                || status.path == Path::new(name)
                || (target.is_some() && path == target.as_ref())
        };
        let entry = entries
            .iter()
            .find(fits)
            .map(|(id, entry)| found(id, entry));
        entry.ok_or_else(|| Error::Unknown(name.to_owned()))
    }
}

impl Entry {
    fn take(&self, plan: PortPlan, name: String) {
        self.monitor.describe(&plan, name);
        // an equal plan is sent too: the task tries again at once
        self.plan.send_replace(plan);
    }

    pub(super) fn path(&self) -> String {
        self.plan.borrow().path.display().to_string()
    }
}

async fn hear(watcher: Option<&mut HotplugWatcher>) -> std::io::Result<()> {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Time to store waiting crashes when the daemon stops; the unit's
/// TimeoutStopSec is 60.
const STORING: Duration = Duration::from_secs(40);
/// Pause after a change, for bursts and for udev.
const SETTLE: Duration = Duration::from_millis(100);
/// Interval of scans without an event.
const LOOK_AROUND: Duration = Duration::from_secs(60);
/// Most unplugged ports that are still listed.
const MOST_ABSENT: usize = 64;
