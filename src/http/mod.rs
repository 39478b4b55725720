//! The HTTP edge.

pub mod conditional;
pub mod upload_scripts;
