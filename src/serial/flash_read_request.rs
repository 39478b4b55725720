//! A request to read a board's flash, and its result.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::device::DeviceKey;
use crate::ingest::Received;

use super::crash_recorder::CapturedCrash;
use super::flash_session::SessionError;
use super::status::ActiveRead;

/// The stored result of a flash read.
#[derive(Clone, Debug)]
pub struct FlashRead {
    pub received: Received,
    pub device: DeviceKey,
}

/// Why a flash read failed.
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

/// A request to a port's task.
#[derive(Debug)]
pub(super) struct FlashReadRequest {
    /// The crash that caused the read, if any.
    pub(super) crash: Option<Arc<CapturedCrash>>,
    pub(super) reading: ActiveRead,
    /// For the requester, if one waits.
    pub(super) reply: Option<oneshot::Sender<Result<FlashRead, FlashReadError>>>,
}

/// The requester that waits for the result of a read.
#[derive(Debug)]
pub(super) struct ReadRequester {
    pub(super) reading: ActiveRead,
    pub(super) reply: oneshot::Sender<Result<FlashRead, FlashReadError>>,
}
