//! The HTTP edge.

pub mod conditional;
