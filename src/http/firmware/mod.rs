//! Firmware routes: downloads of devices, uploads of CI, management.

pub mod config;
pub mod device;
mod download_report;
mod file_response;
mod image_cache;
pub mod manage;
pub mod manifest;
pub mod offered;
pub mod upload;

pub use image_cache::ImageCache;
