//! What signatures promise, on crashes of every class.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../common/dumps.rs"]
mod dumps;

mod assembled;
mod compiled;
mod fixtures;
mod hostile;
mod same;
