//! ESP32s on serial ports: what they print, what they keep in flash.
//!
//! [`Ports`] finds the ports ([`discover`], [`hotplug`]), decides which to take
//! ([`policy`], [`state`]) and keeps one task for each (`port`), which owns the
//! [`link`], feeds the console capture with what arrives (`listener`) and hands
//! crashes on ([`intake`], `storing`).

pub mod discover;
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
mod on_crash;
pub mod policy;
mod port;
mod ports;
mod reading;
pub mod reset;
pub mod state;
pub mod status;
mod storing;
pub mod whose;

pub use lease::Lease;
pub use ports::{Error, Ports};
pub use reading::{Read, ReadError};
