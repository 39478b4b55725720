//! ESP-IDF coredumps, recognised from their bytes alone.
//!
//! [`examine`] never refuses: whatever arrives gets a [`Verdict`] and as much
//! description as its bytes support. [`load`] also gives the contents, as one
//! [`Dump`] for all chips and payloads.
//!
//! ```text
//! bytes ── examine ─┬─ binary         an image (header, length, checksum) or an ELF
//!                   ├─ console_text   logs and base64 (base64_text)
//!                   ├─ panic_text     a panic without a dump (panic_lines)
//!                   └─ headerless     a binary payload without its header
//!                        │
//!          elf_payload (notes) or binary_payload, frame
//!                        │
//!                      Dump ── fingerprint, xtensa (call chains)
//! ```

mod base64_text;
mod binary;
mod binary_payload;
mod console_text;
mod dump;
mod elf_payload;
mod examine;
mod fingerprint;
mod found;
mod frame;
mod headerless;
mod image;
mod memory;
mod notes;
pub mod panic_text;
mod registers;
mod wrapping;
pub mod xtensa;

use std::fmt;

use crate::device::Chip;

pub use console_text::{Crashes, is_log, no_crash, replaces};
pub use dump::{Checksum, ChecksumKind, Dump, Exception, ExtraInfo, Interrupted, Task};
pub use examine::{examine, load, load_all};
pub use fingerprint::{Fingerprint, fingerprint};
pub use memory::{Memory, Region, RegionKind};
pub use registers::Registers;

/// What a file is worth to somebody who wants to read the crash.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    Valid,
    /// Whole after missing constant bytes were put back.
    Repaired,
    Truncated,
    ChecksumMismatch,
    UnsupportedVersion,
    UnsupportedChip,
    /// A panic printed on the console, with no dump.
    PanicOnly,
    NotACoredump,
}

impl Verdict {
    /// The word used in sidecars, reports and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Repaired => "repaired",
            Self::Truncated => "truncated",
            Self::ChecksumMismatch => "checksum-mismatch",
            Self::UnsupportedVersion => "unsupported-version",
            Self::UnsupportedChip => "unsupported-chip",
            Self::PanicOnly => "panic-only",
            Self::NotACoredump => "not-a-coredump",
        }
    }

    /// The verdict spelled `text`.
    pub fn from_word(text: &str) -> Option<Self> {
        [
            Self::Valid,
            Self::Repaired,
            Self::Truncated,
            Self::ChecksumMismatch,
            Self::UnsupportedVersion,
            Self::UnsupportedChip,
            Self::PanicOnly,
            Self::NotACoredump,
        ]
        .into_iter()
        .find(|verdict| verdict.as_str() == text)
    }

    /// How much a dump with this verdict tells; higher is better.
    pub fn rank(self) -> u8 {
        match self {
            Self::Valid => 7,
            Self::Repaired => 6,
            Self::ChecksumMismatch => 5,
            Self::Truncated => 4,
            Self::UnsupportedChip => 3,
            Self::UnsupportedVersion => 2,
            Self::PanicOnly => 1,
            Self::NotACoredump => 0,
        }
    }

    /// Whether nothing of the dump is missing.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Valid | Self::Repaired)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the payload is wrapped in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Container {
    /// ESP-IDF's image: header, payload, checksum.
    Raw,
    /// The payload's ELF alone.
    BareElf,
    /// The image as base64 lines.
    Base64,
    /// A console log with the image or a panic in it.
    Console,
}

impl Container {
    /// The word used in sidecars and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::BareElf => "bare-elf",
            Self::Base64 => "base64",
            Self::Console => "console",
        }
    }
}

/// How the payload is organised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PayloadFormat {
    Elf,
    Binary,
    PanicText,
    /// Zephyr's own, kept as the text that it was printed in.
    Zephyr,
}

impl PayloadFormat {
    /// The word used in sidecars and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Elf => "elf",
            Self::Binary => "binary",
            Self::PanicText => "panic-text",
            Self::Zephyr => "zephyr",
        }
    }
}

/// What [`examine`] found in some bytes. What is not known is `None`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Examination {
    pub verdict: Verdict,
    /// Why the verdict is not `valid`, one sentence each.
    pub problems: Vec<String>,
    pub container: Option<Container>,
    pub format: Option<PayloadFormat>,
    /// Major and minor of the image's version word.
    pub header_version: Option<(u8, u8)>,
    pub chip: Option<Chip>,
    /// The application's ELF hash as far as the dump carries it (lower-case hex).
    pub app_elf_sha256: Option<String>,
    pub panic_reason: Option<String>,
    /// Name of the crashed task.
    pub task: Option<String>,
    /// 16 hex digits that are the same for the same crash of the same build.
    pub fingerprint: Option<String>,
    /// The recipe of the fingerprint, 1 or 2.
    pub fingerprint_algorithm: Option<u32>,
    /// What the first release called the same crash, if that was another.
    pub former_fingerprint: Option<String>,
    /// The canonical payload, if whole: the bytes that a dump's id is made of,
    /// the same however the dump travelled.
    pub canonical: Option<Vec<u8>>,
    /// How many crashes there are in the log that this is the last of.
    pub crashes: Option<usize>,
    /// What the bytes were wrapped in, the outermost first: `gzip`, `json`,
    /// `multipart`, `hex`.
    pub wrapping: Vec<&'static str>,
}

impl Examination {
    /// An examination that found nothing but its verdict.
    pub fn unknown(verdict: Verdict) -> Self {
        Self {
            verdict,
            problems: Vec::new(),
            container: None,
            format: None,
            header_version: None,
            chip: None,
            app_elf_sha256: None,
            panic_reason: None,
            task: None,
            fingerprint: None,
            fingerprint_algorithm: None,
            former_fingerprint: None,
            canonical: None,
            crashes: None,
            wrapping: Vec::new(),
        }
    }

    /// `container/format`, as the sidecar's `format` has it.
    pub fn format_label(&self) -> Option<String> {
        let container = self.container?;
        Some(match self.format {
            Some(format) => format!("{}/{}", container.as_str(), format.as_str()),
            None => container.as_str().to_owned(),
        })
    }
}
