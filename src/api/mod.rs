//! What the HTTP API is asked and what it answers: the types that `http` writes
//! and `cli` reads. `docs/api.md` is made from them.
//!
//! The JSON may only grow. An answer of another release is read all the same:
//! fields that this one does not know are passed over, those that are not there
//! have their defaults, and words that it does not know are kept ([`Word`]).

pub mod coredumps;
pub mod devices;
pub mod errors;
pub mod firmware;
pub mod models;
pub mod ports;
pub mod status;
pub mod tls;
pub mod tokens;

pub use crate::store::word::Word;
