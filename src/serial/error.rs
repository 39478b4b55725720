//! Errors of requests about ports.

use crate::store;

/// Why a request about a port failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no such port: {0}; see `espgate ports list`")]
    Unknown(String),
    #[error("port {0} is lent to a program (`espgate ports run`)")]
    Lent(String),
    #[error(
        "port {0} did not close in time; if its flash is being read, try again when that is done"
    )]
    Stuck(String),
    #[error("flash read already running on port {0}")]
    BeingRead(String),
    #[error("cannot save port state")]
    State(#[source] store::Error),
}
