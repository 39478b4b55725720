//! ESP32s on serial ports.

pub mod link;
