//! espgate collects, stores and decodes coredumps of ESP32s at a site, and
//! serves firmware to the devices.
//!
//! Layers, lowest first; a module uses its own topic and lower layers only
//! (`tests/layering.rs` fails the build otherwise):
//!
//! ```text
//! 5 entry    daemon  cli
//! 4 edges    http  serial  systemd
//! 3 rules    firmware  fleet  crashes  rollouts  ingest  worker
//! 2 base     config  journal  clock  identity  metrics  store  decode  api
//! 1 formats  coredump  bundle  esp  bootloader  console  reader  signature   (no I/O, no clock, no log)
//! 0 types    build_id  device  digest  printable
//! ```

pub mod api;
pub mod bootloader;
pub mod build_id;
pub mod bundle;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod coredump;
pub mod crashes;
pub mod daemon;
pub mod decode;
pub mod device;
pub mod digest;
pub mod esp;
pub mod firmware;
pub mod fleet;
pub mod http;
pub mod identity;
pub mod ingest;
pub mod journal;
pub mod metrics;
pub mod printable;
pub mod reader;
pub mod rollouts;
pub mod serial;
pub mod signature;
pub mod store;
pub mod systemd;
pub mod worker;
