//! HTTPS for devices, CI and people; the control socket for the command line.

pub mod app;
pub mod auth;
pub mod body;
pub mod conditional;
pub mod coredump_intake;
pub mod coredumps;
pub mod device_caller;
pub mod error;
pub mod leftover;
pub mod query;
pub mod routes;
pub mod system;
pub mod upload_scripts;

pub use app::App;
pub mod server;
pub mod tls;
