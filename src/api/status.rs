//! How the gateway is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::OpenEnum;
use super::ports::PortStatus;
use crate::store::coredumps::Source;
use crate::store::last_shutdown::{self, ShutdownCause};

/// The gateway on one screen.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Status {
    /// Of the daemon.
    pub version: String,
    /// The same for life, also after a move to another machine.
    pub gateway_id: String,
    pub started_at: String,
    /// Seconds since then; `null` if the machine's clock went back.
    pub uptime_s: Option<u64>,
    pub data_dir: PathBuf,
    /// Addresses that HTTPS listens on.
    pub listeners: Vec<String>,
    /// `synced` or `unsynced`
    pub clock: String,
    /// The coredump that came last; `null` if none is stored.
    pub last_intake: Option<LastIntake>,
    /// Coredumps that were stored since the daemon started.
    pub received_since_start: u64,
    pub counts: Counts,
    pub disk: Disk,
    pub ports: Vec<PortStatus>,
    /// Whether all folders of dumps have been read.
    pub index_ready: bool,
    /// What is not as it should be, a sentence each.
    pub degraded: Vec<String>,
    /// When a daemon on this data last ended without being told to.
    pub last_bad_end: Option<UncleanShutdown>,
}

/// The coredump that came last.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LastIntake {
    pub at: String,
    pub device_key: String,
    pub source: OpenEnum<Source>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Counts {
    pub coredumps: u64,
    pub not_decoded_yet: u64,
    pub devices: u64,
    pub models: u64,
    /// Those of devices are not among them.
    pub tokens: u64,
}

/// The disk of the coredumps.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Disk {
    /// What the coredumps take.
    pub coredump_bytes: u64,
    pub free_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
}

/// An end of the daemon that nobody asked for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct UncleanShutdown {
    /// When the next daemon started and found it.
    pub found_at: String,
    /// When the one that ended had started.
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

/// Whether a coredump can be taken now.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Readiness {
    pub ready: bool,
    /// Why not, a sentence each.
    pub reasons: Vec<String>,
}

/// What program answers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Version {
    /// `espgate`
    pub name: String,
    pub version: String,
}
