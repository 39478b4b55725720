//! HTTPS for devices, CI and people; the control socket for the command line.

pub mod app;
pub mod archive;
pub mod auth;
pub mod backup;
pub mod certificates;
pub mod conditional;
pub mod coredump_intake;
pub mod coredumps;
pub mod credential;
pub mod device_caller;
pub mod error;
pub mod export;
pub mod firmware;
pub mod ports;
pub mod query;
pub mod registers;
pub mod routes;
pub mod server;
pub mod system;
pub mod tls;
pub mod upload_scripts;
pub mod upload_slots;

pub use app::App;
