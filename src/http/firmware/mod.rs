//! Firmware: out to devices, in from CI, managed by people.

pub mod device;
pub mod manage;
mod memory;
pub mod upload;

pub use memory::ImagesInMemory;
