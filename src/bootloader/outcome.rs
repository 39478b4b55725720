//! Results and progress of a session with a bootloader.

use std::fmt;

use super::partition::{AppSlot, BadTable};
use crate::device::{Chip, MacAddress};

/// A coredump as it is in flash: header, payload and checksum, unverified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawDump {
    pub bytes: Vec<u8>,
    pub chip: Chip,
    /// `None` if the eFuses hold none.
    pub mac: Option<MacAddress>,
    /// Where in flash the dump begins.
    pub offset: u32,
    pub partition_size: u32,
}

/// Why no coredump could be read. Each is one line for a person.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("no answer from the bootloader: {0}")]
    NoAnswer(LineActivity),
    /// It responded at first.
    #[error("bootloader stopped responding while {0}")]
    Lost(ReadStage),
    /// No response after its speed was raised to this.
    #[error("bootloader does not respond at {0} baud")]
    SpeedLost(u32),
    #[error("flash cannot be read: chip is in secure download mode")]
    SecureDownload,
    #[error("unsupported chip ({0})")]
    UnknownChip(String),
    #[error("coredump cannot be read: flash is encrypted")]
    Encrypted,
    #[error("no valid partition table at {offset:#x}: {cause}")]
    Table { offset: u32, cause: BadTable },
    #[error("partition table has no coredump partition")]
    NoPartition,
    #[error("coredump partition is empty")]
    Empty,
    /// The length in the header is impossible.
    #[error("invalid coredump header: length {length}, partition has {available} bytes")]
    Implausible { length: u32, available: u32 },
    #[error("coredump too large: {length} bytes, limit {limit}")]
    TooLarge { length: u32, limit: u32 },
    /// Past the 16 MiB that a ROM can address.
    #[error("coredump partition at {offset:#x} is beyond the 16 MiB that the bootloader can read")]
    OutOfReach { offset: u32 },
    #[error("bootloader refused while {stage}: {}", refusal(*.stage, *.reason))]
    Refused { stage: ReadStage, reason: u8 },
}

/// What a ROM's reason means, and what to do about it.
fn refusal(stage: ReadStage, reason: u8) -> String {
    let meaning = match reason {
        0x05 => "command not supported",
        0x06 => "command failed",
        0x07 => "checksum of the request wrong",
        0x08 => "flash write failed",
        0x09 => "flash read failed",
        0x0A => "too many bytes requested",
        0x0B => "data cannot be unpacked",
        _ => "unknown reason",
    };
    let advice = match stage {
        ReadStage::AttachingFlash => {
            "; flash chip does not answer: check its supply and wiring, and the flash pins in the eFuses"
        }
        _ => "",
    };
    format!("{meaning} (error {reason:#04x}){advice}")
}

/// What was received instead of a reply; more specific values are greater.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LineActivity {
    Silent,
    /// Text, but not the bootloader's.
    OtherText,
    /// The bootloader's own prompt: it runs and does not receive us.
    DownloadPrompt,
}

impl fmt::Display for LineActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "no data received; check power and wiring",
            Self::OtherText => {
                "application is running; check that DTR and RTS are wired to IO0 and EN"
            }
            Self::DownloadPrompt => "bootloader is ready but receives nothing; check the TX wire",
        })
    }
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadStage {
    Connecting,
    Identifying,
    AttachingFlash,
    ReadingTable,
    ReadingDump,
}

impl fmt::Display for ReadStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Identifying => "identifying the chip",
            Self::AttachingFlash => "attaching the flash",
            Self::ReadingTable => "reading the partition table",
            Self::ReadingDump => "reading the coredump",
        })
    }
}

/// Progress of a session; both numbers are 0 until the dump's length is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadProgress {
    pub stage: ReadStage,
    /// The board's, once it was read.
    pub mac: Option<MacAddress>,
    /// Where its application is, once the partition table was read; `None` also if its
    /// flash is encrypted.
    pub app: Option<AppSlot>,
    pub done: u32,
    pub total: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let text = |stage, reason| Error::Refused { stage, reason }.to_string();
        let attach = text(ReadStage::AttachingFlash, 0x06);
        for words in ["attaching the flash", "command failed", "0x06", "wiring"] {
            assert!(attach.contains(words), "{attach}");
        }
        let read = text(ReadStage::ReadingDump, 0x09);
        assert!(read.contains("flash read failed") && !read.contains("wiring"));
    }
}
