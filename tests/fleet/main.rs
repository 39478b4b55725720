//! A fleet of simulated devices takes rollouts from one real daemon, over TLS: each device
//! boots, uploads its dump, asks, downloads in its client's way, flashes, reboots, runs, and
//! crashes, goes silent or rolls back as its build makes it. What is promised of rollouts is
//! seen from the devices' side.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/daemon.rs"]
mod daemon;
#[path = "../common/dumps.rs"]
mod dumps;
#[path = "../common/firmware.rs"]
mod firmware_files;
#[path = "../common/preload.rs"]
mod preload;

mod bad_builds;
mod client;
mod device;
mod downloads;
mod firmware;
mod good_builds;
mod ledger;
mod link;
mod odd_devices;
mod people;
mod restarts;
mod site;
