//! Names and help texts.

use std::sync::Arc;

use super::Metrics;

impl Metrics {
    /// Gives all metrics to the registry.
    pub(super) fn register(&mut self) {
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
}
