//! Why something cannot be done with a port.

use crate::store;

/// Why something cannot be done with a port.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no port {0}; `espgate ports list` shows them")]
    Unknown(String),
    #[error("{0} is lent to another program")]
    Lent(String),
    #[error("{0} is busy; if its flash is being read, try again when that is done")]
    Stuck(String),
    #[error("the flash behind {0} is being read already")]
    BeingRead(String),
    #[error("cannot remember it")]
    State(#[source] store::Error),
}
