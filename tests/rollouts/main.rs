//! A simulated fleet drives the rules of rollouts: what must never happen does not, and how
//! many devices a bad build reaches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod any_order;
mod figures;
mod fleet;
mod never;
