//! The formats and what fuzzing does with them; see `targets`.

#[path = "../../src/console/mod.rs"]
pub mod console;
#[path = "../../src/coredump/mod.rs"]
pub mod coredump;
#[path = "../../src/device.rs"]
pub mod device;
#[path = "../../src/digest.rs"]
pub mod digest;
#[path = "../../src/reader.rs"]
pub mod reader;

pub mod targets;
