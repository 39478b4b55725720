//! What ESP-IDF builds: application images.
//!
//! Facts from ESP-IDF's "App Image Format" page, `esp_app_format.h`,
//! `esp_app_desc.h` and `esp_image_format.c`.

pub mod app_image;
pub mod image_check;
pub mod wrong_file;
