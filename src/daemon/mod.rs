//! The daemon: builds everything, runs it, reloads it, stops it.

mod after_restore;
mod child_decoder;
mod critical_tasks;
mod data_dir_check;
mod effective_config;
mod fleet_registrations;
mod listeners;
mod memory;
mod periodic;
mod reload;
mod rollouts;
mod signals;
mod start;
mod status_line;
mod watchdog;

pub use effective_config::Options;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Moment, iso8601};
use crate::config::Config;
use crate::firmware;
use crate::http::app_state::AppState;
use crate::http::server::Server;
use crate::http::tls::{self, Tls};
use crate::journal::{self, Event, chain};
use crate::store::last_shutdown::{RunRecord, ShutdownCause};
use crate::store::restored::Restored;
use crate::{systemd, worker};
use child_decoder::ChildDecoder;
use critical_tasks::CriticalTasks;
use effective_config::EffectiveConfig;
use listeners::Listening;
use signals::{Signals, Told};
use status_line::ConnectionMetrics;
use watchdog::Watchdog;

/// Exit status for a rejected configuration (EX_CONFIG of sysexits).
const EXIT_CONFIG: u8 = 78;
/// Time for requests to finish at shutdown.
const DRAIN: Duration = Duration::from_secs(20);
/// Time for the whole shutdown; the unit's TimeoutStopSec is 60.
const STOP: Duration = Duration::from_secs(45);
/// Time for the last journal entries after that.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// Runs until told to stop. `greet` is called once requests are answered.
pub fn run(options: &Options, greet: impl FnOnce(&Greeting)) -> ExitCode {
    memory::give_back_large_blocks();
    journal::install();
    let status = run_with_journal(options, greet);
    journal::flush(LAST_WORDS);
    status
}

fn run_with_journal(options: &Options, greet: impl FnOnce(&Greeting)) -> ExitCode {
    let chosen = match options.choose() {
        Ok(chosen) => chosen,
        Err(error) => {
            Event::ConfigurationFaulty
                .entry()
                .say(format_args!("cannot start: {}", chain(&error)));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // the package allows 256 tasks
        .max_blocking_threads(64)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(serve(options, chosen, greet));
            runtime.shutdown_timeout(Duration::from_secs(2));
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            match error.downcast_ref::<tls::Error>() {
                Some(error) if error.is_configured() => ExitCode::from(EXIT_CONFIG),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Data for the greeting on a terminal.
#[derive(Debug)]
pub struct Greeting {
    pub addresses: Vec<SocketAddr>,
    pub data_dir: PathBuf,
    pub ca: Option<PathBuf>,
    pub control_socket: PathBuf,
}

/// Everything that runs.
struct Daemon<'a> {
    options: &'a Options,
    app: Arc<AppState>,
    server: Server,
    tls: Arc<Tls>,
    config: watch::Sender<Arc<Config>>,
    tasks: TaskTracker,
    critical: CriticalTasks,
    stop: CancellationToken,
    /// The present HTTPS sockets.
    listening: Vec<Listening>,
    sockets_passed: bool,
    /// The record of this run and whether the run before ended uncleanly, until they are
    /// written and told. From before anybody was heard.
    life: Option<(RunRecord, bool)>,
}

async fn serve(
    options: &Options,
    chosen: EffectiveConfig,
    greet: impl FnOnce(&Greeting),
) -> anyhow::Result<()> {
    // first of all: an early signal would end the process with what it accepted
    let mut signals = Signals::new()?;
    let (running, chosen) = start::start(options, chosen)?;
    let start::Running {
        mut daemon,
        addresses,
        control_socket,
    } = running;
    let store = Arc::clone(&daemon.app.store);
    daemon.begin_work(&control_socket);
    periodic::warn_if_open(&chosen.config);
    daemon.begin_life();
    go_on(Restored::announce(&store.data_dir.state()));
    // Start also with a full disk: retention frees space.
    go_on(effective_config::keep(
        &store.data_dir.state(),
        &chosen.text,
    ));
    Event::Started.entry().say(format_args!(
        "espgate {} is ready on {}, data in {}",
        env!("CARGO_PKG_VERSION"),
        shown(&addresses),
        store.data_dir.root().display()
    ));
    systemd::ready();
    greet(&Greeting {
        addresses,
        data_dir: store.data_dir.root().to_owned(),
        ca: Some(store.data_dir.tls().join("ca.pem")).filter(|path| path.exists()),
        control_socket,
    });
    let outcome = daemon.run(&mut signals).await;
    let run = outcome.is_ok().then(|| store.data_dir.run());
    daemon.end(run).await;
    outcome
}

impl Daemon<'_> {
    fn listen_control(&self) -> anyhow::Result<PathBuf> {
        let (control, path) = listeners::control(&self.app.store.data_dir.run())?;
        let (server, stop) = (self.server.clone(), self.stop.clone());
        self.critical.spawn("control socket", async move {
            server.control(control, stop).await;
        });
        Ok(path)
    }

    /// Accepts HTTPS on these sockets; those that there were before and are not
    /// among them are closed.
    fn accept_on(&mut self, listening: Vec<(Listening, Option<TcpListener>)>) -> Vec<SocketAddr> {
        let (mut kept, mut addresses) = (Vec::new(), Vec::new());
        for (listening, opened) in listening {
            if let Some(socket) = opened {
                let (server, tls) = (self.server.clone(), Arc::clone(&self.tls));
                let (name, until) = (listening.name(), listening.until.clone());
                self.critical
                    .spawn_until(&name, &listening.until, async move {
                        server.https(socket, tls, until).await;
                    });
            }
            addresses.push(listening.address);
            kept.push(listening);
        }
        for gone in std::mem::replace(&mut self.listening, kept) {
            let is_kept = |kept: &Listening| kept.address == gone.address;
            if !self.listening.iter().any(is_kept) {
                gone.until.cancel();
            }
        }
        go_on(listeners::note_addresses(
            &self.app.store.data_dir.run(),
            &addresses,
        ));
        self.app.facts().listeners = addresses.iter().map(ToString::to_string).collect();
        addresses
    }

    /// Starts the background tasks.
    fn begin_work(&self, control_socket: &Path) {
        let (app, stop) = (Arc::clone(&self.app), self.stop.clone());
        let decoder = ChildDecoder::default();
        let critical = &self.critical;
        critical.spawn(
            "worker",
            worker::run(app.worker_parts(), decoder, stop.clone()),
        );
        let (ports, until) = (app.ports.clone(), stop.clone());
        critical.spawn("serial ports", async move { ports.run(until).await });
        critical.spawn(
            "certificate",
            tls::follow(Arc::clone(&self.tls), stop.clone()),
        );
        critical.spawn(
            "every minute",
            periodic::every_minute(Arc::clone(&app), stop.clone()),
        );
        critical.spawn(
            "registrations",
            fleet_registrations::keep_written(Arc::clone(&app), stop.clone()),
        );
        critical.spawn("rollouts", rollouts::go_on(Arc::clone(&app), stop.clone()));
        let figures = ConnectionMetrics::new(Arc::clone(&app), self.server.clone());
        critical.spawn("figures", figures.keep(stop.clone()));
        let watchdog = Watchdog {
            socket: control_socket.to_owned(),
            app: Arc::clone(&app),
            server: self.server.clone(),
            critical: critical.clone(),
        };
        // what ends or hangs here is noticed by systemd
        self.tasks.spawn(watchdog.feed(stop));
        // Reading every folder takes a while; intake does not wait for it.
        self.tasks.spawn(async move {
            let reading = Arc::clone(&app);
            let read = move || {
                reading.store.complete_rebuilt();
                firmware::say_missing(&reading.store);
                reading.ingest.crashes().complete();
            };
            match tokio::task::spawn_blocking(read).await {
                Ok(()) => app.facts().index_ready = true,
                Err(error) => {
                    let trouble = format!("cannot read stored coredumps: {error}");
                    log::error!("{trouble}");
                    app.facts().degraded.push(trouble);
                }
            }
            app.worker.wake();
        });
    }

    /// Reports an unclean shutdown of the previous daemon.
    fn begin_life(&mut self) {
        let Some((life, ended_badly)) = self.life.take() else {
            return;
        };
        let run = self.app.store.data_dir.run();
        go_on(life.write(&run));
        if let Some(end) = life.last_bad_end.as_ref().filter(|_| ended_badly) {
            let entry = Event::EndedBadly.entry();
            let started = &end.started_at;
            match end.how {
                ShutdownCause::Alone => entry.say(format_args!(
                    "unclean shutdown of the daemon started at {started}: crashed, killed, or \
                     ended by the watchdog"
                )),
                ShutdownCause::WithMachine => entry.at(log::Level::Info).say(format_args!(
                    "unclean shutdown of the daemon started at {started}: power loss or machine \
                     reset"
                )),
            }
        }
        self.app.facts().last_bad_end = life.last_bad_end;
    }

    /// Waits for signals until one says stop. A reload may wait for the disk
    /// here: this is the main thread, which nothing else runs on.
    async fn run(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let stopped = self.stop.clone();
        loop {
            tokio::select! {
                () = stopped.cancelled() => {
                    Event::CriticalTaskEnded
                        .entry()
                        .say("critical task exited: stopping for a restart");
                    anyhow::bail!("critical task exited");
                }
                told = signals.next() => match told {
                    Told::Stop => return Ok(()),
                    Told::Reload => self.reload(),
                },
            }
        }
    }

    /// Stops in order: no new connections, a bounded wait for those there are,
    /// then everything else, as far as the time allows: a disk that stalls must
    /// not keep the daemon until systemd kills it. Records the regular stop in `run`.
    async fn end(self, run: Option<PathBuf>) {
        let until = tokio::time::Instant::now() + STOP;
        systemd::stopping();
        let feeding = tokio::spawn(watchdog::feed_to_the_end());
        Event::Stopping.entry().say("stopping");
        let closed_at = iso8601(Moment::now().wall);
        self.stop.cancel();
        self.server.drain(DRAIN).await;
        self.tasks.close();
        self.app.storing.close();
        let _ = timeout_at(until, self.app.storing.wait()).await;
        let _ = timeout_at(until, self.tasks.wait()).await;
        let app = Arc::clone(&self.app);
        let write = move || {
            let written = periodic::write_notes(&app);
            if let Some(run) = run {
                end_life(&run, closed_at);
            }
            written
        };
        match timeout_at(until, tokio::task::spawn_blocking(write)).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                log::warn!("cannot save pending state at shutdown: {}", chain(&error));
            }
            Ok(Err(error)) => log::warn!("cannot save pending state at shutdown: {error}"),
            Err(_) => log::warn!("cannot save pending state at shutdown: storage too slow"),
        }
        feeding.abort();
        Event::Stopped.entry().say("stopped");
    }
}

/// Records the regular stop for the next start.
fn end_life(run: &Path, closed_at: String) {
    let mut life = RunRecord::read(run);
    life.closed_at = Some(closed_at);
    life.stopped_at = Some(iso8601(Moment::now().wall));
    go_on(life.write(run));
}

/// For files written for other programs: the daemon works without them.
fn go_on(written: crate::store::Result<()>) {
    if let Err(error) = written {
        let entry = error.event().entry();
        entry.say(format_args!("cannot save: {}", chain(&error)));
    }
}

fn shown(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses
        .iter()
        .map(|address| format!("https://{address}"))
        .collect();
    addresses.join(", ")
}
