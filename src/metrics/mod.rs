//! Prometheus metrics. No label comes from a device. docs/monitoring.md explains each.

pub mod fleet;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use fleet::{Fleet, ModelFigures};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct IntakeLabels {
    source: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StatusLabel {
    status: u32,
}

/// All counters of one daemon.
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

/// All outcomes that are counted. They are shown from the start, so that the first one
/// is seen as an increase.
const SOURCES: [&str; 3] = ["https", "uart", "flash"];
const RESULTS: [&str; 4] = ["stored", "counted", "full", "failed"];
const REFUSALS: [u32; 6] = [400, 401, 403, 408, 409, 413];
const DOWNLOADS: [&str; 4] = ["complete", "broken-off", "not-modified", "incompatible"];
const DECODES: [&str; 3] = ["done", "no-elf", "failed"];
const BUNDLES: [&str; 3] = ["stored", "refused", "failed"];

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
    fn begin_counts(&self) {
        for source in SOURCES {
            for result in RESULTS {
                let labels = IntakeLabels { source, result };
                let _ = self.intake.get_or_create(&labels);
                let _ = self.intake_bytes.get_or_create(&labels);
            }
        }
        for status in REFUSALS {
            let _ = self.refused_uploads.get_or_create(&StatusLabel { status });
        }
        for (family, outcomes) in [
            (&self.downloads, &DOWNLOADS[..]),
            (&self.decodes, &DECODES),
            (&self.bundles, &BUNDLES),
        ] {
            for &outcome in outcomes {
                let _ = family.get_or_create(&OutcomeLabel { outcome });
            }
        }
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register(
            "coredumps_received",
            "Coredumps by source and result",
            self.intake.clone(),
        );
        r.register(
            "coredumps_received_bytes",
            "Bytes of coredumps by source and result",
            self.intake_bytes.clone(),
        );
        r.register(
            "coredump_store_seconds",
            "Time from the complete body to durable data",
            self.intake_seconds.clone(),
        );
        r.register(
            "refused_uploads",
            "Refused coredump uploads by HTTP status",
            self.refused_uploads.clone(),
        );
        r.register(
            "firmware_downloads",
            "Downloads by outcome: complete, broken-off, not-modified, incompatible",
            self.downloads.clone(),
        );
        r.register(
            "firmware_downloaded_bytes",
            "Bytes of firmware sent",
            self.downloaded_bytes.clone(),
        );
        r.register(
            "decodes",
            "Decoded dumps by outcome: done, no-elf, failed",
            self.decodes.clone(),
        );
        r.register(
            "bundles",
            "Firmware uploads by outcome: stored, refused, failed",
            self.bundles.clone(),
        );
        r.register(
            "unreadable_bundles",
            "Failed reads of an active bundle",
            self.unreadable_bundles.clone(),
        );
        r.register(
            "refused_connections",
            "Connections closed before a request was answered",
            self.refused_connections.clone(),
        );
        r.register("connections", "Open connections", self.connections.clone());
        r.register(
            "serial_received_bytes",
            "Bytes read from serial ports",
            self.serial_bytes.clone(),
        );
        r.register(
            "serial_ports",
            "Serial ports listened to",
            self.serial_ports.clone(),
        );
        r.register(
            "serial_crashes_dropped",
            "Crashes on serial ports dropped because storage was too slow",
            self.serial_crashes_dropped.clone(),
        );
        r.register(
            "serial_waiting_bytes",
            "Bytes of captured crashes waiting for storage",
            self.serial_waiting_bytes.clone(),
        );
        r.register(
            "stored_coredumps",
            "Coredumps on the disk",
            self.stored_dumps.clone(),
        );
        r.register(
            "stored_coredump_bytes",
            "Bytes used by coredumps",
            self.stored_bytes.clone(),
        );
        r.register(
            "disk_free_bytes",
            "Free bytes on the coredumps' filesystem",
            self.disk_free_bytes.clone(),
        );
        r.register(
            "disk_total_bytes",
            "Size of the coredumps' filesystem in bytes",
            self.disk_total_bytes.clone(),
        );
        r.register(
            "disk_min_free_bytes",
            "Free bytes that min_free asks for",
            self.disk_min_free_bytes.clone(),
        );
        r.register(
            "certificate_expiry_timestamp_seconds",
            "Expiry time of the server certificate",
            self.certificate_expiry.clone(),
        );
        r.register(
            "clock_synced",
            "1 if the wall clock is synchronised",
            self.clock_synced.clone(),
        );
        r.register_collector(Box::new(Arc::clone(&self.fleet)));
    }

    /// Counts one received dump.
    pub fn intake(&self, source: &'static str, result: &'static str, bytes: u64, took: Duration) {
        let labels = IntakeLabels { source, result };
        self.intake.get_or_create(&labels).inc();
        self.intake_bytes.get_or_create(&labels).inc_by(bytes);
        self.intake_seconds.observe(took.as_secs_f64());
    }

    /// Counts one upload that was refused with this status.
    pub fn refused_upload(&self, status: u16) {
        let status = u32::from(status);
        self.refused_uploads
            .get_or_create(&StatusLabel { status })
            .inc();
    }

    /// Counts one firmware download: `complete`, `broken-off`, `not-modified` or
    /// `incompatible`.
    pub fn download(&self, outcome: &'static str, bytes: u64) {
        self.downloads
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
        self.downloaded_bytes.inc_by(bytes);
    }

    /// Counts one decoding: `done`, `no-elf` or `failed`.
    pub fn decode(&self, outcome: &'static str) {
        self.decodes.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts one firmware upload: `stored`, `refused` or `failed`.
    pub fn bundle(&self, outcome: &'static str) {
        self.bundles.get_or_create(&OutcomeLabel { outcome }).inc();
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_appear_in_the_text() {
        let metrics = Metrics::default();
        metrics.intake("https", "stored", 100, Duration::from_millis(3));
        metrics.refused_upload(400);
        metrics.download("complete", 5);
        let text = metrics.text();
        for line in [
            "espgate_coredumps_received_total{source=\"https\",result=\"stored\"} 1",
            "espgate_coredumps_received_bytes_total{source=\"https\",result=\"stored\"} 100",
            "espgate_refused_uploads_total{status=\"400\"} 1",
            "espgate_firmware_downloads_total{outcome=\"complete\"} 1",
            "espgate_firmware_downloaded_bytes_total 5",
            // what did not happen yet
            "espgate_coredumps_received_total{source=\"flash\",result=\"full\"} 0",
            "espgate_refused_uploads_total{status=\"413\"} 0",
            "espgate_decodes_total{outcome=\"failed\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
