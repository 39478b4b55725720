//! ESP32s on serial ports.

pub mod discover;
pub mod hotplug;
pub mod link;
pub mod policy;
pub mod state;
pub mod status;
pub mod whose;
