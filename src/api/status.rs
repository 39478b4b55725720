//! Gateway status.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::OpenEnum;
use super::ports::PortStatus;
use crate::store::coredumps::Source;
use crate::store::last_shutdown::{self, ShutdownCause};

/// Gateway status.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Never changes, also after a move to another machine.
    pub gateway_id: String,
    pub started_at: String,
    /// Seconds since the start; `null` if the clock went back.
    pub uptime_s: Option<u64>,
    pub data_dir: PathBuf,
    /// HTTPS listen addresses.
    pub listeners: Vec<String>,
    /// `synced` or `unsynced`
    pub clock: String,
    /// The latest coredump; `null` if none is stored.
    pub last_intake: Option<LastIntake>,
    /// Coredumps stored since the daemon started.
    pub received_since_start: u64,
    pub counts: Counts,
    pub disk: Disk,
    pub ports: Vec<PortStatus>,
    /// Live rollouts, a line each.
    pub rollouts: Vec<String>,
    /// Whether all folders of dumps have been read.
    pub index_ready: bool,
    /// Warnings, a sentence each.
    pub degraded: Vec<String>,
    /// The last unclean shutdown of the daemon.
    pub last_bad_end: Option<UncleanShutdown>,
}

/// The latest coredump.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LastIntake {
    pub at: String,
    pub device_key: String,
    pub source: OpenEnum<Source>,
}

/// Number of stored and registered items.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Counts {
    pub coredumps: u64,
    pub not_decoded_yet: u64,
    pub devices: u64,
    pub models: u64,
    /// Tokens, except those of devices.
    pub tokens: u64,
}

/// The disk of the coredumps.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Disk {
    /// Bytes used by coredumps.
    pub coredump_bytes: u64,
    pub free_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
}

/// An unclean shutdown of the daemon.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct UncleanShutdown {
    /// When the next start detected it.
    pub found_at: String,
    /// When that daemon had started.
    pub started_at: String,
    pub how: OpenEnum<ShutdownCause>,
}

impl From<last_shutdown::UncleanShutdown> for UncleanShutdown {
    fn from(end: last_shutdown::UncleanShutdown) -> Self {
        Self {
            found_at: end.found_at,
            started_at: end.started_at,
            how: end.how.into(),
        }
    }
}

/// The daemon is alive.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Health {
    /// `ok`
    pub status: String,
}

/// Whether a coredump can be accepted now.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Readiness {
    pub ready: bool,
    /// Reasons if not ready, a sentence each.
    pub reasons: Vec<String>,
}

/// Name and version of the program.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Version {
    /// `espgate`
    pub name: String,
    pub version: String,
}
