//! What fuzzing does with the program; see `targets`.

pub mod targets;
