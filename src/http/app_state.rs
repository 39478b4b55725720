//! [`AppState`], which all handlers get.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Moment;
use crate::config::Config;
use crate::firmware::{DeliveredRanges, Sequences};
use crate::fleet::fleet_tokens::FleetTokens;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::rollouts::Rollouts;
use crate::serial::Ports;
use crate::store::Store;
use crate::store::last_shutdown::{Outage, UncleanShutdown};
use crate::worker;

use super::firmware::ImageCache;
use super::tls::Tls;
use super::upload_limit::{self, UploadSlots};
use crate::device::DeviceKey;

/// The state shared by all handlers.
#[derive(Debug)]
pub struct AppState {
    pub store: Arc<Store>,
    pub ingest: Arc<Ingest>,
    pub metrics: Arc<Metrics>,
    pub config: watch::Receiver<Arc<Config>>,
    pub tls: Arc<Tls>,
    pub ports: Ports,
    pub stopping: CancellationToken,
    pub worker: Arc<worker::Handle>,
    pub started: Moment,
    /// How many boards the fleet tokens may register.
    pub fleet_tokens: FleetTokens,
    /// Memory for the bodies of coredump uploads.
    pub uploads: UploadSlots,
    /// Uploads that are being read and stored, whether or not their connection is still there.
    pub storing: TaskTracker,
    /// Which build devices that fetch ranges began with.
    pub sequences: Sequences,
    /// How much of their image those devices have got.
    pub delivered_ranges: DeliveredRanges,
    /// Images that are being downloaded.
    pub images: ImageCache,
    pub rollouts: Rollouts,
    facts: Mutex<Facts>,
    missing_configs: Mutex<HashSet<DeviceKey>>,
}

/// Values for the status that are kept nowhere else.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// HTTPS listen addresses.
    pub listeners: Vec<String>,
    /// Warnings, one sentence each.
    pub degraded: Vec<String>,
    /// Who holds the most HTTPS connections, while they are short.
    pub connections_short: Option<String>,
    /// Whether all folders of dumps have been read.
    pub index_ready: bool,
    /// The last unclean shutdown of a daemon on this data.
    pub last_bad_end: Option<UncleanShutdown>,
    /// The last times in which the gateway was not reachable.
    pub outages: Vec<Outage>,
}

impl AppState {
    /// Puts the parts together.
    pub fn new(
        store: Arc<Store>,
        ingest: Arc<Ingest>,
        metrics: Arc<Metrics>,
        tls: Arc<Tls>,
        ports: Ports,
        config: watch::Receiver<Arc<Config>>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            rollouts: Rollouts::new(
                Arc::clone(&store),
                Arc::clone(ingest.crashes()),
                config.clone(),
            ),
            store,
            ingest,
            metrics,
            config,
            tls,
            ports,
            stopping,
            worker: Arc::default(),
            started: Moment::now(),
            fleet_tokens: FleetTokens::default(),
            uploads: UploadSlots::new(upload_limit::MEMORY),
            storing: TaskTracker::new(),
            sequences: Sequences::default(),
            delivered_ranges: DeliveredRanges::default(),
            images: ImageCache::default(),
            facts: Mutex::default(),
            missing_configs: Mutex::default(),
        }
    }

    /// The current configuration.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// The parts that the worker needs.
    pub fn worker_parts(&self) -> worker::Parts {
        worker::Parts {
            store: Arc::clone(&self.store),
            crashes: Arc::clone(self.ingest.crashes()),
            intake: self.ingest.watch_intake(),
            metrics: Arc::clone(&self.metrics),
            config: self.config.clone(),
            handle: Arc::clone(&self.worker),
        }
    }

    /// The address that people and CI reach this gateway by: the configured
    /// one, else the certificate's name with the port that is listened on.
    pub fn public_url(&self) -> String {
        let configured = self.config().http.public_url.clone();
        if !configured.is_empty() {
            return configured.trim_end_matches('/').to_owned();
        }
        let port = self
            .facts()
            .listeners
            .iter()
            .find_map(|address| address.rsplit(':').next()?.parse::<u16>().ok())
            .unwrap_or(8443);
        let names = self.tls.show().server.names;
        let name = names.first().map_or("espgate.internal", String::as_str);
        format!("https://{name}:{port}")
    }

    /// Whether this is the device's first request for a missing configuration.
    pub fn first_missing_config(&self, device: &DeviceKey) -> bool {
        let mut seen = self
            .missing_configs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.insert(device.clone())
    }

    /// What the status shows.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
