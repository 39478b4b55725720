//! A read of a board's flash: who asks for it, and what it brings.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::device::DeviceKey;
use crate::ingest::Received;

use super::crash_recorder::CapturedCrash;
use super::flash_session::SessionError;
use super::status::ActiveRead;

/// What a flash read brought.
#[derive(Clone, Debug)]
pub struct FlashRead {
    pub received: Received,
    pub device: DeviceKey,
}

/// Why a flash read brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum FlashReadError {
    #[error("flash reads are disabled for this port (read_flash = \"never\")")]
    Never,
    #[error("port is not open; claim it with `espgate ports claim`")]
    NotOpen,
    #[error("port is absent: no device plugged in")]
    Absent,
    #[error(transparent)]
    Flash(#[from] SessionError),
    #[error("cannot store the coredump")]
    Store(#[source] crate::store::Error),
    #[error("flash read aborted: port closed or daemon stopping")]
    Aborted,
}

/// Asks a port's task to read.
#[derive(Debug)]
pub(super) struct FlashReadRequest {
    /// The crash for which it is read, if it is for one.
    pub(super) crash: Option<Arc<CapturedCrash>>,
    pub(super) reading: ActiveRead,
    /// To whoever waits for the dump.
    pub(super) reply: Option<oneshot::Sender<Result<FlashRead, FlashReadError>>>,
}

/// Who waits for a dump that was read from flash.
#[derive(Debug)]
pub(super) struct ReadRequester {
    pub(super) reading: ActiveRead,
    pub(super) reply: oneshot::Sender<Result<FlashRead, FlashReadError>>,
}
