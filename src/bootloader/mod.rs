//! The bootloader in the ROM of every ESP32, as far as reading a coredump out
//! of flash needs it.
//!
//! The protocol is that of Espressif's [Serial Protocol] page. There is no
//! command here that writes, erases or runs anything.
//!
//! [`ReadSession`] is the whole session as a state machine without I/O: it takes
//! the bytes received and returns what to send and how long to wait.
//!
//! [Serial Protocol]: https://docs.espressif.com/projects/esptool/en/latest/esp32/advanced-topics/serial-protocol.html

pub mod chip;
pub mod command;
mod dump;
mod exchange;
mod outcome;
pub mod partition;
mod phase;
mod session;
pub mod slip;

pub use outcome::{Error, LineActivity, RawDump, ReadProgress, ReadStage};
pub use session::{ReadSession, SessionAction, SessionSettings, UnfinishedRead};

/// The speed at which every ROM listens after a reset; it measures the first
/// frame and follows other speeds too.
pub const ROM_BAUD: u32 = 115_200;
