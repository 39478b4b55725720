//! ESP32s on serial ports: what they print, what they keep in flash.
//!
//! [`Ports`] finds the ports ([`discover`], [`hotplug`]), decides which to open
//! ([`selection`], [`state`]) and runs a task for each (`supervisor`,
//! `port_lifecycle`). The task owns the [`link`], feeds the console capture
//! (`console_listener`) and queues crashes (`crash_backlog`, `crash_queue`), which
//! `store_task` stores ([`crash_recorder`]). It reads the flash on request
//! (`flash_read`, [`flash_session`]).
//!
//! No task of a port waits for the disk: crashes wait in `crash_backlog`, other
//! changes in `state_writer`.

mod automatic_read;
mod console_listener;
mod crash_backlog;
mod crash_queue;
pub mod crash_recorder;
pub mod device_identity;
pub mod discover;
mod error;
mod flash_read;
mod flash_read_request;
pub mod flash_session;
pub mod hotplug;
mod lease;
pub mod link;
mod port_health;
mod port_lifecycle;
pub mod port_plan;
mod port_task;
mod ports;
mod release;
pub mod reset;
mod same_place;
pub mod selection;
pub mod state;
mod state_writer;
pub mod status;
mod store_task;
mod supervisor;
#[cfg(test)]
mod supervisor_tests;
mod udev_marks;
mod usb_serial;

pub use error::Error;
pub use flash_read_request::{FlashRead, FlashReadError};
pub use lease::Lease;
pub use ports::{Ports, StartedRead};
