//! Firmware: out to devices, in from CI, managed by people.

pub mod device;
mod image_cache;
pub mod manage;
pub mod upload;

pub use image_cache::ImageCache;
