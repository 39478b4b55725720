//! ESP32s on serial ports: what they print, what they keep in flash.
//!
//! [`Ports`] finds the ports ([`discover`], [`hotplug`]), decides which to take
//! ([`policy`], [`state`]) and keeps one task for each (`task`), which owns the
//! [`link`], feeds the console capture with what arrives (`listener`) and hands
//! crashes on (`backlog`, `storing`, [`intake`]).
//!
//! No task of a port waits for the disk: crashes wait in `backlog`, all else in
//! `notes`, for threads that may.

mod backlog;
pub mod discover;
mod error;
pub mod flash;
mod health;
pub mod hotplug;
pub mod intake;
mod keeper;
#[cfg(test)]
mod keeper_tests;
mod lease;
pub mod link;
mod listener;
mod marks;
mod notes;
mod on_crash;
pub mod plan;
pub mod policy;
mod port;
mod ports;
mod reading;
mod release;
mod request;
pub mod reset;
pub mod state;
pub mod status;
mod storing;
mod task;
pub mod whose;

pub use error::Error;
pub use lease::Lease;
pub use ports::{Begun, Ports};
pub use request::{Read, ReadError};
