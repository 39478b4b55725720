//! What the gateway promises over HTTPS and the control socket, tried on the
//! real binary with real TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/board.rs"]
mod board;
#[path = "../common/daemon.rs"]
mod daemon;
#[path = "../common/dumps.rs"]
mod dumps;
#[path = "../common/firmware.rs"]
mod firmware_files;
#[path = "../common/preload.rs"]
mod preload;

mod bodies;
mod builds;
mod busy;
mod clock;
mod coredumps;
mod crash;
mod crash_groups;
mod delivered;
mod disk;
mod firmware;
mod firmware_refusals;
mod fleet;
mod fleet_limits;
mod hostile;
mod lifecycle;
mod mending;
mod metrics;
mod refused;
mod reload;
mod roles;
mod rollout_evidence;
mod rollout_starts;
mod rollout_troubles;
mod rollouts;
mod signatures;
mod stalled_disk;
mod test_gateway;
mod update_clients;
mod upload_script;
