//! A read of a board's flash: who asks for it, and what it brings.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::device::DeviceKey;
use crate::ingest::Received;

use super::flash::FlashError;
use super::intake::Captured;
use super::status::Reading;

/// What a flash read brought.
#[derive(Clone, Debug)]
pub struct Read {
    pub received: Received,
    pub device: DeviceKey,
}

/// Why a flash read brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the configuration says read_flash = \"never\" for this port")]
    Never,
    #[error("the port is not listened to; `espgate ports claim` takes it")]
    NotOpen,
    #[error("nothing is plugged in there")]
    Absent,
    #[error(transparent)]
    Flash(#[from] FlashError),
    #[error("cannot store the coredump")]
    Store(#[source] crate::store::Error),
    #[error("the read was broken off")]
    BrokenOff,
}

/// Asks a port's task to read.
#[derive(Debug)]
pub(super) struct Request {
    /// The crash for which it is read, if it is for one.
    pub(super) crash: Option<Arc<Captured>>,
    pub(super) reading: Reading,
    /// To whoever waits for the dump.
    pub(super) reply: Option<oneshot::Sender<Result<Read, ReadError>>>,
}

/// Who waits for a dump that was read from flash.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reading: Reading,
    pub(super) reply: oneshot::Sender<Result<Read, ReadError>>,
}
