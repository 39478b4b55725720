//! What signatures promise, on crashes of every class.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod fixtures;
mod hostile;
mod same;
