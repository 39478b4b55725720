//! Starts with a configuration, or with the last one that worked if it cannot be
//! used.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::critical_tasks::CriticalTasks;
use super::effective_config::{EffectiveConfig, Options};
use super::{Daemon, after_restore, data_dir_check, listeners};
use crate::clock::Moment;
use crate::config::Config;
use crate::http::app_state::AppState;
use crate::http::routes;
use crate::http::server::{Limits, Server};
use crate::http::tls::Tls;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::serial::Ports;
use crate::serial::crash_recorder::CrashRecorder;
use crate::serial::discover::PortSources;
use crate::store::Store;
use crate::store::last_shutdown::RunRecord;

/// A daemon that can be reached.
pub(super) struct Running<'a> {
    pub(super) daemon: Daemon<'a>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) control_socket: PathBuf,
}

/// Starts with a configuration; if that names what cannot be used (a
/// certificate, a folder, an address), with the last one that worked.
pub(super) fn start(
    options: &Options,
    chosen: EffectiveConfig,
) -> anyhow::Result<(Running<'_>, EffectiveConfig)> {
    let error = match Running::with(options, &chosen) {
        Ok(running) => return Ok((running, chosen)),
        Err(error) => error,
    };
    let Some(last) = options.last_instead_of(&chosen, &error) else {
        return Err(error);
    };
    match Running::with(options, &last) {
        Ok(running) => {
            last.say_degraded();
            Ok((running, last))
        }
        // it is not the configuration, then
        Err(_) => Err(error),
    }
}

impl<'a> Running<'a> {
    fn with(options: &'a Options, chosen: &EffectiveConfig) -> anyhow::Result<Self> {
        let config = Arc::new(chosen.config.clone());
        let root = options.data_dir(Some(&config));
        let coredumps = folder_override("COREDUMPS_DIR", config.coredumps.dir.as_deref());
        let assets = folder_override("ASSETS_DIR", config.firmware.dir.as_deref());
        let missing: Vec<&PathBuf> = [&coredumps, &assets]
            .into_iter()
            .flatten()
            .filter(|folder| !folder.exists())
            .collect();
        let store = Arc::new(Store::open(
            &root,
            coredumps.as_deref(),
            assets.as_deref(),
            crate::bundle::BundleLimits::for_bundles_of(config.firmware.max_bundle_bytes),
        )?);
        data_dir_check::look(&store);
        data_dir_check::made(&missing);
        let metrics = Arc::new(Metrics::default());
        let ingest = Arc::new(Ingest::new(
            Arc::clone(&store),
            Arc::clone(&metrics),
            config.coredumps.clone(),
        ));
        let tls = Arc::new(Tls::open(&store.data_dir.tls(), config.tls.clone())?);
        // systemd's sockets can be taken once: what else may fail comes before
        let (sockets, sockets_passed) = listeners::https(&config.http.listen)?;
        let (sender, receiver) = watch::channel(Arc::clone(&config));
        let stop = CancellationToken::new();
        let ports = serial_ports(&store, &ingest, &metrics, &config)?;
        let app = Arc::new(AppState::new(
            Arc::clone(&store),
            ingest,
            metrics,
            Arc::clone(&tls),
            ports,
            receiver,
            stop.clone(),
        ));
        // before anybody can ask
        after_restore::wait_for_a_person(&app)?;
        app.rollouts.resume_all();
        app.facts().degraded.extend(chosen.degraded.clone());
        let life = next_run(&store);
        app.facts().outages.clone_from(&life.0.outages);
        let server = Server::new(routes::router(Arc::clone(&app)), Limits::from(&config.http));
        let tasks = TaskTracker::new();
        let sockets = sockets
            .into_iter()
            .map(|socket| listeners::fresh(socket, &stop))
            .collect::<io::Result<_>>()?;
        let mut daemon = Daemon {
            options,
            app,
            server,
            tls,
            config: sender,
            critical: CriticalTasks::new(tasks.clone(), stop.clone()),
            tasks,
            stop,
            listening: Vec::new(),
            sockets_passed,
            life: Some(life),
        };
        let control_socket = daemon.listen_control()?;
        let addresses = daemon.accept_on(sockets);
        Ok(Self {
            daemon,
            addresses,
            control_socket,
        })
    }
}

/// The record of this run, and whether the run before ended uncleanly. Nothing is written.
fn next_run(store: &Store) -> (RunRecord, bool) {
    let devices = store.registry.devices.read();
    let contacts = devices
        .devices
        .values()
        .filter_map(|device| device.last_seen.as_deref());
    RunRecord::read(&store.data_dir.run()).next(&Moment::now(), contacts.max())
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
        CrashRecorder::new(Arc::clone(ingest), Arc::clone(store), maker),
        Arc::clone(metrics),
        PortSources::default(),
        &store.data_dir.state(),
        config.serial.clone(),
        config.coredumps.max_upload_bytes,
    )
}

fn folder_override(variable: &str, configured: Option<&Path>) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| configured.map(Path::to_owned))
}
