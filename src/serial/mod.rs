//! ESP32s on serial ports.

pub mod flash;
pub mod link;
pub mod reset;
