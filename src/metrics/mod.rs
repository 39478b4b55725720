//! Prometheus metrics. No label comes from a device. docs/monitoring.md explains each.

mod counts;
pub mod fleet;
mod names;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use counts::{IntakeLabels, OutcomeLabel, StatusLabel};
use fleet::{Fleet, ModelFigures};

/// All metrics of one daemon.
pub struct Metrics {
    registry: Registry,
    intake: Family<IntakeLabels, Counter>,
    intake_bytes: Family<IntakeLabels, Counter>,
    intake_seconds: Histogram,
    refused_uploads: Family<StatusLabel, Counter>,
    downloads: Family<OutcomeLabel, Counter>,
    downloaded_bytes: Counter,
    decodes: Family<OutcomeLabel, Counter>,
    bundles: Family<OutcomeLabel, Counter>,
    pub unreadable_bundles: Counter,
    pub refused_connections: Counter,
    pub connections: Gauge,
    pub serial_bytes: Counter,
    pub serial_ports: Gauge,
    pub serial_crashes_dropped: Counter,
    pub serial_waiting_bytes: Gauge,
    pub stored_dumps: Gauge,
    pub stored_bytes: Gauge,
    pub disk_free_bytes: Gauge,
    pub disk_total_bytes: Gauge,
    pub disk_min_free_bytes: Gauge,
    pub certificate_expiry: Gauge,
    pub clock_synced: Gauge,
    fleet: Arc<Fleet>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("espgate"),
            intake: Family::default(),
            intake_bytes: Family::default(),
            // 1 ms to 16 s
            intake_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            refused_uploads: Family::default(),
            downloads: Family::default(),
            downloaded_bytes: Counter::default(),
            decodes: Family::default(),
            bundles: Family::default(),
            unreadable_bundles: Counter::default(),
            refused_connections: Counter::default(),
            connections: Gauge::default(),
            serial_bytes: Counter::default(),
            serial_ports: Gauge::default(),
            serial_crashes_dropped: Counter::default(),
            serial_waiting_bytes: Gauge::default(),
            stored_dumps: Gauge::default(),
            stored_bytes: Gauge::default(),
            disk_free_bytes: Gauge::default(),
            disk_total_bytes: Gauge::default(),
            disk_min_free_bytes: Gauge::default(),
            certificate_expiry: Gauge::default(),
            clock_synced: Gauge::default(),
            fleet: Arc::default(),
        };
        metrics.begin_counts();
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// Shows these models and builds, and no others.
    pub fn set_fleet(&self, models: Vec<ModelFigures>) {
        self.fleet.set(models);
    }

    /// Everything, as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
