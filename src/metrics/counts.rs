//! What is counted by outcome.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;

use super::Metrics;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct IntakeLabels {
    source: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct StatusLabel {
    status: u32,
}

/// All outcomes that are counted. They are shown from the start, so that the first one
/// is seen as an increase.
const SOURCES: [&str; 3] = ["https", "uart", "flash"];
const RESULTS: [&str; 4] = ["stored", "counted", "full", "failed"];
const REFUSALS: [u32; 6] = [400, 401, 403, 408, 409, 413];
const DOWNLOADS: [&str; 4] = ["complete", "broken-off", "not-modified", "incompatible"];
const DECODES: [&str; 3] = ["done", "no-elf", "failed"];
const BUNDLES: [&str; 3] = ["stored", "refused", "failed"];

impl Metrics {
    /// Shows all known outcomes.
    pub(super) fn begin_counts(&self) {
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
