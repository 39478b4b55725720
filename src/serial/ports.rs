//! All serial ports: finds them, keeps one task for each, takes what people
//! say about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Moment;
use crate::config;
use crate::console::{self, Masks};
use crate::journal::{Event, chain};
use crate::metrics::Metrics;
use crate::store;
use crate::store::registry::StateFile;

use super::discover::{self, Roots};
use super::hotplug::Watcher;
use super::intake::Intake;
use super::policy::{self, Named, Plan};
use super::port::Port;
use super::state::{PortsState, Release, Remembered};
use super::status::{Board, PortStatus};
use super::storing;

/// Why something cannot be done with a port.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no port {0}; `espgate ports list` shows them")]
    Unknown(String),
    #[error("{0} is lent to another program")]
    Lent(String),
    #[error("{0} was not let go in time")]
    Stuck(String),
    #[error("cannot remember it")]
    State(#[source] store::Error),
}

/// The handle to all ports; clones are the same.
#[derive(Clone)]
pub struct Ports(pub(super) Arc<Inner>);

pub(super) struct Inner {
    intake: Arc<Intake>,
    metrics: Arc<Metrics>,
    roots: Roots,
    settings: Mutex<config::Serial>,
    console: watch::Sender<console::Settings>,
    pub(super) state: StateFile<PortsState>,
    entries: Mutex<BTreeMap<String, Entry>>,
    /// Ports whose borrower is still there.
    leases: Mutex<BTreeSet<String>>,
    pub(super) look: Notify,
    tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

/// One port that is, or was, there.
struct Entry {
    plan: watch::Sender<Plan>,
    board: Arc<Board>,
    open: watch::Receiver<bool>,
}

impl Ports {
    /// All ports below `roots`, none of them opened before [`Ports::run`].
    ///
    /// # Errors
    /// If `ports.json` in `state` cannot be read.
    pub fn new(
        intake: Intake,
        metrics: Arc<Metrics>,
        roots: Roots,
        state: &Path,
        settings: config::Serial,
        max_dump_bytes: usize,
    ) -> store::Result<Self> {
        let console = watch::Sender::new(console_settings(&settings, max_dump_bytes));
        Ok(Self(Arc::new(Inner {
            intake: Arc::new(intake),
            metrics,
            roots,
            settings: Mutex::new(settings),
            console,
            state: StateFile::open(state, "ports.json")?,
            entries: Mutex::default(),
            leases: Mutex::default(),
            look: Notify::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })))
    }

    /// Keeps the ports until `stop`; returns when all are closed and what they
    /// captured is stored.
    pub async fn run(&self, stop: CancellationToken) {
        let inner = &self.0;
        let mut watcher = match Watcher::new() {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                Event::PortTrouble.entry().say(format_args!(
                    "cannot watch for new serial ports ({error}); they are looked for every minute"
                ));
                None
            }
        };
        while !stop.is_cancelled() {
            let wait = inner.look_around(watcher.as_mut());
            tokio::select! {
                heard = hear(watcher.as_mut()) => match heard {
                    // nodes come in bursts, and udev needs a moment for each
                    Ok(()) => tokio::time::sleep(SETTLE).await,
                    Err(_) => watcher = None,
                },
                () = inner.look.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        inner.stop.cancel();
        inner.tasks.close();
        inner.tasks.wait().await;
    }

    /// Takes a new configuration; only ports that it changes are reopened.
    pub fn reconfigure(&self, settings: config::Serial, max_dump_bytes: usize) {
        self.0
            .console
            .send_replace(console_settings(&settings, max_dump_bytes));
        *lock(&self.0.settings) = settings;
        self.0.look.notify_one();
    }

    /// All ports, by path.
    pub fn list(&self) -> Vec<PortStatus> {
        let entries = lock(&self.0.entries);
        let mut list: Vec<PortStatus> =
            entries.values().map(|entry| entry.board.status()).collect();
        list.sort_by(|a, b| a.path.cmp(&b.path));
        list
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
        Event::PortChanged
            .entry()
            .port(&path)
            .say(format_args!("{path} is claimed"));
        self.0.look.notify_one();
        Ok(())
    }

    /// Leaves a port alone, for a while or until it is claimed. When this
    /// returns, the port is closed.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::State`], [`Error::Stuck`]
    pub async fn release(&self, name: &str, duration: Option<Duration>) -> Result<(), Error> {
        let path = self.0.let_go(name, duration, false).await?;
        match duration {
            Some(duration) => Event::PortChanged.entry().port(&path).say(format_args!(
                "{path} is released for {} s",
                duration.as_secs()
            )),
            None => Event::PortChanged
                .entry()
                .port(&path)
                .say(format_args!("{path} is released until it is claimed")),
        }
        Ok(())
    }
}

impl Inner {
    /// Finds out what there is and tells the tasks; answers with how long it
    /// is until something ends by itself.
    fn look_around(self: &Arc<Self>, watcher: Option<&mut Watcher>) -> Duration {
        let settings = lock(&self.settings).clone();
        let paths = || settings.port.iter().filter_map(|port| port.path.as_deref());
        // watched before looking: what comes in between is heard
        if let Some(watcher) = watcher {
            let target = |path: &Path| Some(path.with_file_name(fs::read_link(path).ok()?));
            let mut watched: Vec<PathBuf> = paths().filter_map(target).collect();
            watched.extend(paths().map(Path::to_owned));
            watched.push(self.roots.dev.join("tty"));
            watcher.watch(watched.iter().map(PathBuf::as_path));
        }
        let found = discover::scan(&self.roots);
        let named: Vec<Named> = paths()
            .map(|path| Named {
                path: path.to_owned(),
                target: fs::canonicalize(path).ok(),
            })
            .collect();
        let now = Moment::now();
        let mut state = PortsState::clone(&self.state.read());
        // a lease lasts as long as its borrower, not as its deadline
        for id in lock(&self.leases).iter() {
            state.ensure(id).released = Some(Release::new(None, true, &now));
        }
        let plans = policy::plan(&found, &named, &settings, &state, &now);
        let over = plans
            .iter()
            .filter_map(|plan| plan.released?.remaining)
            .min();
        self.follow(plans);
        over.map_or(LOOK_AROUND, |over| (over + SETTLE).min(LOOK_AROUND))
    }

    /// Makes the tasks follow these plans.
    fn follow(self: &Arc<Self>, plans: Vec<Plan>) {
        let mut entries = lock(&self.entries);
        let here: Vec<String> = plans.iter().map(|plan| plan.id.clone()).collect();
        for plan in plans {
            let name = policy::name_of(&plan.path, &self.roots.dev);
            match entries.get(&plan.id) {
                Some(entry) => entry.take(plan, name),
                None => {
                    entries.insert(plan.id.clone(), self.begin(plan, name));
                }
            }
        }
        // what is on USB may come back; what left the configuration does not
        entries.retain(|id, entry| here.contains(id) || entry.plan.borrow().usb.is_some());
        let mut absent = 0;
        for (id, entry) in entries.iter().filter(|(id, _)| !here.contains(id)) {
            let gone = Plan {
                present: false,
                ..entry.plan.borrow().clone()
            };
            entry.take(gone, policy::name_of(Path::new(id), &self.roots.dev));
            absent += 1;
        }
        if absent > MOST_ABSENT {
            entries.retain(|id, _| here.contains(id));
        }
    }

    fn begin(self: &Arc<Self>, plan: Plan, name: String) -> Entry {
        let board = Arc::new(Board::new(&plan, name));
        let (crashes, captured) = mpsc::channel(storing::WAITING);
        let (open, is_open) = watch::channel(false);
        let plan = watch::Sender::new(plan);
        let port = Port {
            board: Arc::clone(&board),
            plan: plan.subscribe(),
            open,
            stop: self.stop.clone(),
            console: self.console.subscribe(),
            crashes,
            metrics: Arc::clone(&self.metrics),
            intake: Arc::clone(&self.intake),
        };
        self.tasks.spawn(port.run());
        self.tasks.spawn(storing::store(
            captured,
            Arc::clone(&board),
            Arc::clone(&self.intake),
        ));
        Entry {
            plan,
            board,
            open: is_open,
        }
    }

    fn find<R>(&self, name: &str, found: impl Fn(&str, &Entry) -> R) -> Result<R, Error> {
        let target = fs::canonicalize(name).ok();
        let entries = lock(&self.entries);
        let fits = |(id, entry): &(&String, &Entry)| {
            let status = entry.board.status();
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

    /// Releases a port and waits until it is closed; answers with its path.
    pub(super) async fn let_go(
        self: &Arc<Self>,
        name: &str,
        duration: Option<Duration>,
        lent: bool,
    ) -> Result<String, Error> {
        let (id, path, mut open) = self.find(name, |id, entry| {
            (id.to_owned(), entry.path(), entry.open.clone())
        })?;
        let release = Release::new(duration, lent, &Moment::now());
        self.remember(id, move |port| {
            port.claimed &= lent || duration.is_some();
            port.released = Some(release);
        })
        .await?;
        self.look.notify_one();
        let closed = tokio::time::timeout(LET_GO, open.wait_for(|open| !open)).await;
        match closed {
            Ok(_) => Ok(path),
            Err(_) => Err(Error::Stuck(path)),
        }
    }

    /// Changes what is remembered of a port, on disk before it counts.
    pub(super) async fn remember(
        self: &Arc<Self>,
        id: String,
        change: impl FnOnce(&mut Remembered) + Send + 'static,
    ) -> Result<(), Error> {
        let inner = Arc::clone(self);
        let work = move || {
            inner.state.change(|state| {
                change(state.ensure(&id));
                state.tidy(&Moment::now());
                Ok::<_, std::convert::Infallible>(())
            })
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Err(error)) => Err(Error::State(error)),
            Err(_) => Err(Error::Stuck(String::from("the state of the ports"))),
        }
    }

    /// Whether the port's borrower is still there.
    pub(super) fn is_lent(&self, id: &str) -> bool {
        lock(&self.leases).contains(id)
    }

    /// Notes that a borrower came or went; `false` if that was so already.
    pub(super) fn lent(&self, id: &str, lent: bool) -> bool {
        let mut leases = lock(&self.leases);
        if lent {
            leases.insert(id.to_owned())
        } else {
            leases.remove(id)
        }
    }

    /// The id of a port, for what outlives its entry.
    pub(super) fn id_of(&self, name: &str) -> Result<String, Error> {
        self.find(name, |id, _| id.to_owned())
    }
}

impl Entry {
    fn take(&self, plan: Plan, name: String) {
        self.board.describe(&plan, name);
        // a plan that says the same again is a hint to try now
        self.plan.send_replace(plan);
    }

    fn path(&self) -> String {
        self.plan.borrow().path.display().to_string()
    }
}

async fn hear(watcher: Option<&mut Watcher>) -> std::io::Result<()> {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}

fn console_settings(settings: &config::Serial, max_dump_bytes: usize) -> console::Settings {
    let rules = settings.mask.iter().filter_map(|rule| match rule.parse() {
        Ok(rule) => Some(rule),
        Err(error) => {
            Event::ConfigurationFaulty
                .entry()
                .say(format_args!("serial.mask: {rule:?}: {}", chain(&error)));
            None
        }
    });
    console::Settings {
        max_dump_bytes,
        masks: Masks::with(rules),
        ..console::Settings::default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a burst of changes may take.
const SETTLE: Duration = Duration::from_millis(100);
/// Even if nothing was heard.
const LOOK_AROUND: Duration = Duration::from_secs(60);
/// A port that is closed at once may still have to finish a read of its flash.
const LET_GO: Duration = Duration::from_secs(10);
/// Unplugged ports that are still listed.
const MOST_ABSENT: usize = 64;
