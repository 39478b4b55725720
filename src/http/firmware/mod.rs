//! Firmware: out to devices, in from CI, managed by people.

mod choice;
pub mod device;
pub mod manage;
mod memory;
pub mod remove;
mod sequence;
pub mod upload;

pub use memory::ImagesInMemory;
pub use sequence::Sequences;
