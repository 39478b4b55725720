//! HTTPS for devices, CI and people; the control socket for the command line.

pub mod app_state;
pub mod authentication;
pub mod authorization;
pub mod backup;
pub mod builds;
pub mod certificates;
pub mod coredump_intake;
mod coredump_page;
pub mod coredumps;
pub mod crashes;
pub mod device_caller;
pub mod error;
pub mod export;
pub mod firmware;
pub mod fleet_figures;
pub mod gateway_status;
pub mod ports;
pub mod query;
pub mod range_requests;
pub mod registry;
mod rollout_advice;
pub mod rollouts;
pub mod routes;
pub mod server;
pub mod streamed_list;
pub mod tls;
pub mod upload_limit;
pub mod upload_scripts;
pub mod zip_stream;

pub use app_state::AppState;
