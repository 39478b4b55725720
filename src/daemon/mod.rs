//! The daemon: builds everything, runs it, reloads it, stops it.

mod child_decoder;
mod figures;
mod listeners;
mod minutely;
mod registrations;
mod reload;
mod settings;
mod signals;
mod start;
mod surroundings;
mod watchdog;

pub use settings::Options;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Moment, iso8601};
use crate::config::Config;
use crate::firmware;
use crate::http::app::App;
use crate::http::server::Server;
use crate::http::tls::{self, Tls};
use crate::journal::{Event, chain};
use crate::store::backup::Restored;
use crate::store::life::{How, Life};
use crate::{systemd, worker};
use child_decoder::ChildDecoder;
use figures::Figures;
use settings::Chosen;
use signals::{Signals, Told};

/// Exit status for a configuration that cannot be run with (sysexits' EX_CONFIG).
const EXIT_CONFIG: u8 = 78;
/// How long requests may take to end when the daemon stops.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs until told to stop. `greet` is called once requests are answered.
pub fn run(options: &Options, greet: impl FnOnce(&Greeting)) -> ExitCode {
    crate::journal::install();
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

/// What a person who starts the daemon on a terminal wants to know.
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
    app: Arc<App>,
    server: Server,
    tls: Arc<Tls>,
    config: watch::Sender<Arc<Config>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the accept loops of the present HTTPS sockets.
    accepting: CancellationToken,
    sockets_passed: bool,
}

async fn serve(
    options: &Options,
    chosen: Chosen,
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
    minutely::warn_if_open(&chosen.config);
    daemon.begin_life();
    go_on(Restored::announce(&store.data_dir.state()));
    // A disk that is full must not keep the daemon down: it makes the room.
    go_on(settings::keep(&store.data_dir.state(), &chosen.text));
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
    let run = store.data_dir.run();
    daemon.end().await;
    if outcome.is_ok() {
        end_life(&run);
    }
    outcome
}

impl Daemon<'_> {
    fn listen_control(&self) -> anyhow::Result<PathBuf> {
        let (control, path) = listeners::control(&self.app.store.data_dir.run())?;
        let (server, stop) = (self.server.clone(), self.stop.clone());
        self.critical(async move { server.control(control, stop).await });
        Ok(path)
    }

    /// Accepts HTTPS, in place of the sockets there were.
    fn accept_on(
        &mut self,
        sockets: Vec<tokio::net::TcpListener>,
    ) -> anyhow::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = sockets
            .iter()
            .map(tokio::net::TcpListener::local_addr)
            .collect::<Result<_, _>>()?;
        self.accepting.cancel();
        self.accepting = self.stop.child_token();
        for socket in sockets {
            let (server, tls) = (self.server.clone(), Arc::clone(&self.tls));
            let accepting = self.accepting.clone();
            self.tasks
                .spawn(async move { server.https(socket, tls, accepting).await });
        }
        go_on(listeners::note_addresses(
            &self.app.store.data_dir.run(),
            &addresses,
        ));
        self.app.facts().listeners = addresses.iter().map(ToString::to_string).collect();
        Ok(addresses)
    }

    /// Runs a task without which the daemon is of no use: if it ends or panics
    /// before it is told to stop, the daemon ends too, to be restarted.
    fn critical(&self, task: impl Future<Output = ()> + Send + 'static) {
        struct EndsTheDaemon(CancellationToken);
        impl Drop for EndsTheDaemon {
            fn drop(&mut self) {
                self.0.cancel();
            }
        }
        let guard = EndsTheDaemon(self.stop.clone());
        self.tasks.spawn(async move {
            let _guard = guard;
            task.await;
        });
    }

    /// Starts what goes on beside the requests.
    fn begin_work(&self, control_socket: &Path) {
        let (app, stop) = (Arc::clone(&self.app), self.stop.clone());
        let decoder = ChildDecoder::default();
        self.critical(worker::run(app.worker_parts(), decoder, stop.clone()));
        let (ports, until) = (app.ports.clone(), stop.clone());
        self.critical(async move { ports.run(until).await });
        self.critical(tls::follow(Arc::clone(&self.tls), stop.clone()));
        self.critical(minutely::every_minute(Arc::clone(&app), stop.clone()));
        self.critical(registrations::keep_written(Arc::clone(&app), stop.clone()));
        let figures = Figures::new(Arc::clone(&app), self.server.clone());
        self.critical(figures.keep(stop.clone()));
        let socket = control_socket.to_owned();
        self.tasks
            .spawn(watchdog::feed(socket, Arc::clone(&app), stop));
        // Reading every folder takes a while; intake does not wait for it.
        tokio::task::spawn_blocking(move || {
            app.store.complete_rebuilt();
            firmware::say_missing(&app.store);
            app.facts().index_ready = true;
            app.worker.wake();
        });
    }

    /// Says how the daemon before this one ended, if nobody had told it to.
    fn begin_life(&self) {
        let run = self.app.store.data_dir.run();
        let (life, ended_badly) = Life::read(&run).next(&Moment::now());
        go_on(life.write(&run));
        if let Some(end) = life.last_bad_end.as_ref().filter(|_| ended_badly) {
            let entry = Event::EndedBadly.entry();
            let started = &end.started_at;
            match end.how {
                How::Alone => entry.say(format_args!(
                    "the daemon that started at {started} was not stopped: it crashed, was \
                     killed, or hung until the watchdog ended it"
                )),
                How::WithMachine => entry.at(log::Level::Info).say(format_args!(
                    "the machine went down without stopping the daemon that started at {started}"
                )),
            }
        }
        self.app.facts().last_bad_end = life.last_bad_end;
    }

    /// Waits for signals until one says stop.
    async fn run(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let stopped = self.stop.clone();
        loop {
            tokio::select! {
                () = stopped.cancelled() => {
                    Event::CriticalTaskEnded
                        .entry()
                        .say("a task that must not end ended; the daemon stops to be restarted");
                    anyhow::bail!("a critical task ended");
                }
                told = signals.next() => match told {
                    Told::Stop => return Ok(()),
                    Told::Reload => self.reload(),
                },
            }
        }
    }

    /// Stops in order: no new connections, a bounded wait for those there are,
    /// then everything else.
    async fn end(self) {
        systemd::stopping();
        Event::Stopping.entry().say("stopping");
        self.stop.cancel();
        self.server.drain(DRAIN).await;
        self.tasks.close();
        let _ = tokio::time::timeout(DRAIN, self.tasks.wait()).await;
        let app = Arc::clone(&self.app);
        let flushed = tokio::task::spawn_blocking(move || minutely::write_notes(&app)).await;
        if let Ok(Err(error)) = flushed {
            log::warn!("not everything was written at the end: {}", chain(&error));
        }
        Event::Stopped.entry().say("stopped");
    }
}

/// Writes down that this daemon was told to end, for the next one.
fn end_life(run: &Path) {
    let mut life = Life::read(run);
    life.stopped_at = Some(iso8601(Moment::now().wall));
    go_on(life.write(run));
}

/// For what is written down for others: without it the daemon runs as well.
fn go_on(written: crate::store::Result<()>) {
    if let Err(error) = written {
        let entry = error.event().entry();
        entry.say(format_args!("not written down: {}", chain(&error)));
    }
}

fn shown(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses
        .iter()
        .map(|address| format!("https://{address}"))
        .collect();
    addresses.join(", ")
}
