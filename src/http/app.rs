//! What all handlers share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Moment;
use crate::config::Config;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::worker::{self, Heartbeat};

use super::tls::Tls;

/// The daemon, as handlers see it.
#[derive(Debug)]
pub struct App {
    pub store: Arc<Store>,
    pub ingest: Arc<Ingest>,
    pub metrics: Arc<Metrics>,
    pub config: watch::Receiver<Arc<Config>>,
    pub tls: Arc<Tls>,
    pub stopping: CancellationToken,
    pub worker_heartbeat: Arc<Heartbeat>,
    pub started: Moment,
    /// Permits for coredump bodies held in memory.
    pub uploads: Semaphore,
    facts: Mutex<Facts>,
}

/// What the status shows and nothing else keeps.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Addresses that HTTPS listens on.
    pub listeners: Vec<String>,
    /// What is not as it should be, one sentence each.
    pub degraded: Vec<String>,
    /// When a dump last came in over HTTPS, and from whom.
    pub last_intake: Option<(String, String)>,
    /// Dumps since the start.
    pub received: u64,
    /// Whether all folders of dumps have been read.
    pub index_ready: bool,
}

impl App {
    /// Puts the parts together.
    pub fn new(
        store: Arc<Store>,
        ingest: Arc<Ingest>,
        metrics: Arc<Metrics>,
        tls: Arc<Tls>,
        config: watch::Receiver<Arc<Config>>,
        stopping: CancellationToken,
    ) -> Self {
        let uploads = Semaphore::new(config.borrow().http.max_uploads);
        Self {
            store,
            ingest,
            metrics,
            config,
            tls,
            stopping,
            worker_heartbeat: Arc::default(),
            started: Moment::now(),
            uploads,
            facts: Mutex::default(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// What the worker needs of all this.
    pub fn worker_parts(&self) -> worker::Parts {
        worker::Parts {
            store: Arc::clone(&self.store),
            ingest: Arc::clone(&self.ingest),
            metrics: Arc::clone(&self.metrics),
            config: self.config.clone(),
            heartbeat: Arc::clone(&self.worker_heartbeat),
        }
    }

    /// What the status shows.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
