//! The daemon: builds everything, runs it, reloads it, stops it.

mod child_decoder;
mod figures;
mod listeners;
mod settings;
mod signals;
mod surroundings;
mod watchdog;

pub use settings::Options;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Moment;
use crate::config::{AuthMode, Config};
use crate::http::app::App;
use crate::http::routes;
use crate::http::server::{Limits, Server};
use crate::http::tls::{self, Tls};
use crate::ingest::Ingest;
use crate::journal::{Event, chain};
use crate::metrics::Metrics;
use crate::serial::Ports;
use crate::serial::discover::Roots;
use crate::serial::intake::Intake;
use crate::store::Store;
use crate::store::registry::Gateway;
use crate::{systemd, worker};
use child_decoder::ChildDecoder;
use figures::Figures;
use signals::{Signals, Told};

/// Exit status for a configuration that cannot be run with (sysexits' EX_CONFIG).
const EXIT_CONFIG: u8 = 78;
/// How long requests may take to end when the daemon stops.
const DRAIN: Duration = Duration::from_secs(20);
/// How often the registers' notes are written and the clock is looked at.
const MINUTE: Duration = Duration::from_secs(60);

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
            ExitCode::FAILURE
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
    chosen: settings::Chosen,
    greet: impl FnOnce(&Greeting),
) -> anyhow::Result<()> {
    // first of all: an early signal would end the process with what it accepted
    let mut signals = Signals::new()?;
    let config = Arc::new(chosen.config);
    let root = options.data_dir(Some(&config));
    let store = Arc::new(Store::open(
        &root,
        folder_override("COREDUMPS_DIR", config.coredumps.dir.as_deref()).as_deref(),
        folder_override("ASSETS_DIR", config.firmware.dir.as_deref()).as_deref(),
        crate::bundle::Limits::for_bundles_of(config.firmware.max_bundle_bytes),
    )?);
    surroundings::look(&store);
    let metrics = Arc::new(Metrics::default());
    let ingest = Arc::new(Ingest::new(
        Arc::clone(&store),
        Arc::clone(&metrics),
        config.coredumps.clone(),
    ));
    let tls = Arc::new(Tls::open(&store.data_dir.tls(), config.tls.clone())?);
    let (sender, receiver) = watch::channel(Arc::clone(&config));
    let stop = CancellationToken::new();
    let ports = serial_ports(&store, &ingest, &metrics, &config)?;
    let app = Arc::new(App::new(
        Arc::clone(&store),
        ingest,
        metrics,
        Arc::clone(&tls),
        ports,
        receiver,
        stop.clone(),
    ));
    app.facts().degraded.extend(chosen.degraded);
    let server = Server::new(routes::router(Arc::clone(&app)), Limits::from(&config.http));
    let mut daemon = Daemon {
        options,
        app,
        server,
        tls,
        config: sender,
        tasks: TaskTracker::new(),
        stop,
        accepting: CancellationToken::new(),
        sockets_passed: false,
    };
    let control_socket = daemon.listen_control()?;
    let addresses = daemon.listen_https(&config)?;
    daemon.begin_work(&control_socket);
    warn_if_open(&config);
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
    daemon.end().await;
    outcome
}

impl Daemon<'_> {
    fn listen_control(&self) -> anyhow::Result<PathBuf> {
        let (control, path) = listeners::control(&self.app.store.data_dir.run())?;
        let (server, stop) = (self.server.clone(), self.stop.clone());
        self.critical(async move { server.control(control, stop).await });
        Ok(path)
    }

    /// Listens for HTTPS, in place of the sockets there were.
    fn listen_https(&mut self, config: &Config) -> anyhow::Result<Vec<SocketAddr>> {
        let (sockets, passed) = listeners::https(&config.http.listen)?;
        self.sockets_passed = passed;
        self.accept_on(sockets)
    }

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
        self.critical(every_minute(Arc::clone(&app), stop.clone()));
        let figures = Figures::new(Arc::clone(&app), self.server.clone());
        self.critical(figures.keep(stop.clone()));
        let socket = control_socket.to_owned();
        self.tasks
            .spawn(watchdog::feed(socket, Arc::clone(&app), stop));
        // Reading every folder takes a while; intake does not wait for it.
        tokio::task::spawn_blocking(move || {
            app.store.coredumps.collect(|_, _| None::<()>);
            app.facts().index_ready = true;
            app.ingest.wake();
        });
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

    /// Takes the configuration file's present text into use, or says what is
    /// wrong with it and goes on as before.
    fn reload(&mut self) {
        systemd::reloading();
        match self.try_reload() {
            Ok(()) => {
                self.app.facts().degraded.clear();
                Event::ConfigurationReloaded
                    .entry()
                    .say("the configuration was read again and is in force");
            }
            Err(error) => {
                let message = format!("the new configuration is not used: {error:#}");
                let mut facts = self.app.facts();
                facts.degraded.clear();
                facts.degraded.push(message.clone());
                drop(facts);
                Event::ConfigurationFaulty.entry().say(&message);
            }
        }
        systemd::ready();
        figures::say(&self.app);
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let (text, loaded) = self.options.read()?.unwrap_or_else(|| {
            let loaded = crate::config::Loaded {
                config: Config::default(),
                unknown: Vec::new(),
            };
            (String::new(), loaded)
        });
        if let Some(unknown) = loaded.unknown.first() {
            anyhow::bail!("{unknown}");
        }
        let (old, new) = (self.app.config(), Arc::new(loaded.config));
        if old.data_dir != new.data_dir
            || old.coredumps.dir != new.coredumps.dir
            || old.firmware.dir != new.firmware.dir
        {
            anyhow::bail!("folders change with a restart only");
        }
        // What can fail comes first; after it nothing does.
        self.tls.reload(new.tls.clone())?;
        if old.http.listen != new.http.listen && !self.sockets_passed {
            let kept: Vec<SocketAddr> = new.http.listen.clone();
            match listeners::bind_all(&kept) {
                Ok(sockets) => {
                    self.accept_on(sockets)?;
                }
                Err(error) => {
                    self.tls.reload(old.tls.clone())?;
                    return Err(error.into());
                }
            }
        }
        self.server.set_limits(Limits::from(&new.http));
        self.app.ingest.reconfigure(new.coredumps.clone());
        self.app
            .ports
            .reconfigure(new.serial.clone(), new.coredumps.max_upload_bytes);
        self.config.send_replace(Arc::clone(&new));
        warn_if_open(&new);
        go_on(settings::keep(&self.app.store.data_dir.state(), &text));
        Ok(())
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
        let flushed = tokio::task::spawn_blocking(move || write_notes(&app)).await;
        if let Ok(Err(error)) = flushed {
            log::warn!("not everything was written at the end: {}", chain(&error));
        }
        Event::Stopped.entry().say("stopped");
    }
}

/// For what is written down for others: without it the daemon runs as well.
fn go_on(written: crate::store::Result<()>) {
    if let Err(error) = written {
        Event::DiskFull
            .entry()
            .say(format_args!("not written down: {}", chain(&error)));
    }
}

fn serial_ports(
    store: &Arc<Store>,
    ingest: &Arc<Ingest>,
    metrics: &Arc<Metrics>,
    config: &Config,
) -> crate::store::Result<Ports> {
    let builds = Arc::clone(store);
    let maker = Box::new(move |hash: &str| {
        let (model, build) = builds.firmware.maker(hash).ok()??;
        Some((model, build.version))
    });
    Ports::new(
        Intake::new(Arc::clone(ingest), Arc::clone(store), maker),
        Arc::clone(metrics),
        Roots::default(),
        &store.data_dir.state(),
        config.serial.clone(),
        config.coredumps.max_upload_bytes,
    )
}

/// Writes what is only noted in memory: crash counts, when devices were seen.
fn write_notes(app: &App) -> crate::store::Result<()> {
    app.store
        .coredumps
        .flush()
        .and(app.store.registry.devices.flush())
}

/// Dumps that came before the clock was right get their time by this.
fn note_boot(app: &App) {
    let now = Moment::now();
    let gateway = &app.store.registry.gateway;
    let mut changed = Gateway::clone(&gateway.read());
    if !changed.note_boot(&now) {
        return;
    }
    let noted = gateway.change(|gateway| Ok::<_, Infallible>(gateway.note_boot(&now)));
    if let Err(error) = noted {
        log::warn!("cannot note when this boot began: {}", chain(&error));
    }
}

async fn every_minute(app: Arc<App>, stop: CancellationToken) {
    let mut synced = crate::clock::is_synced();
    if !synced {
        Event::ClockUnsynced
            .entry()
            .say("the clock is not synchronised: dumps are kept, their times are marked unsynced");
    }
    if synced {
        note_boot(&app);
    }
    let mut minutes = 0u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(MINUTE) => {}
        }
        minutes += 1;
        if minutes.is_multiple_of(60) {
            warn_if_open(&app.config());
        }
        let now_synced = crate::clock::is_synced();
        if now_synced && !synced {
            Event::ClockSynced
                .entry()
                .say("the clock is synchronised now");
        }
        synced = now_synced;
        if synced {
            note_boot(&app);
        }
        let noted = Arc::clone(&app);
        let outcome = tokio::task::spawn_blocking(move || write_notes(&noted)).await;
        if let Ok(Err(error)) = outcome {
            Event::DiskFull.entry().say(format_args!(
                "cannot write what was noted: {}",
                chain(&error)
            ));
        }
    }
}

fn warn_if_open(config: &Config) {
    if config.auth.devices == AuthMode::Open {
        Event::AuthenticationOpen
            .entry()
            .say("auth.devices is \"open\": whoever reaches the gateway can speak for any device");
    }
    if config.auth.pipeline == AuthMode::Open {
        Event::AuthenticationOpen
            .entry()
            .say("auth.pipeline is \"open\": whoever is on this machine can upload firmware");
    }
}

fn folder_override(variable: &str, configured: Option<&Path>) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| configured.map(Path::to_owned))
}

fn shown(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses
        .iter()
        .map(|address| format!("https://{address}"))
        .collect();
    addresses.join(", ")
}
