//! The steps of a session, in their order.

use super::outcome::ReadStage;

/// What is being waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Sync,
    SecurityInfo,
    Magic,
    Encryption,
    MacLow,
    MacHigh { low: u32 },
    Attach,
    FlashSize,
    Calibration,
    SlowClock { calibration: u32 },
    Speed { baud: u32, first: u32 },
    FastSync { baud: u32 },
    Table { read: u32 },
    Dump,
}

impl Phase {
    /// The step as shown to people.
    pub(super) fn stage(self) -> ReadStage {
        match self {
            Self::Sync => ReadStage::Connecting,
            Self::SecurityInfo
            | Self::Magic
            | Self::Encryption
            | Self::MacLow
            | Self::MacHigh { .. } => ReadStage::Identifying,
            Self::Attach
            | Self::FlashSize
            | Self::Calibration
            | Self::SlowClock { .. }
            | Self::Speed { .. }
            | Self::FastSync { .. } => ReadStage::AttachingFlash,
            Self::Table { .. } => ReadStage::ReadingTable,
            Self::Dump => ReadStage::ReadingDump,
        }
    }
}
