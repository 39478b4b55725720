//! What a board says of itself while it boots.

use std::time::Duration;

use crate::device::Chip;

use super::marks::Mark;

/// A boot banner. What was not printed, or not seen, is `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Boot {
    /// The ROM's code and name for why the chip was reset.
    pub reset_code: Option<u32>,
    pub reset_reason: Option<String>,
    pub chip: Option<Chip>,
    pub project: Option<String>,
    pub version: Option<String>,
    /// The beginning of the app ELF hash, lower-case hex.
    pub app_elf_sha256: Option<String>,
    pub idf_version: Option<String>,
}

impl Boot {
    /// Whether the supply voltage was the reason.
    pub fn is_brown_out(&self) -> bool {
        let reason = self.reset_reason.as_deref().unwrap_or_default();
        reason.contains("BROWN")
    }

    fn says_nothing(&self) -> bool {
        *self
            == Self {
                chip: self.chip,
                ..Self::default()
            }
    }
}

/// Collects banners line by line.
#[derive(Default)]
pub(super) struct Banner {
    boot: Boot,
    open_since: Option<Duration>,
}

impl Banner {
    /// The newest boot, as far as it is known.
    pub(super) fn boot(&self) -> &Boot {
        &self.boot
    }

    /// Takes a line's meaning; answers with a boot whose banner is over.
    pub(super) fn take(&mut self, mark: &Mark<'_>, now: Duration) -> Option<Boot> {
        match mark {
            Mark::Rom(chip) => {
                let over = self.close();
                self.open(
                    Boot {
                        chip: *chip,
                        ..Boot::default()
                    },
                    now,
                );
                over
            }
            Mark::Reset(code, reason) => {
                let fresh = self.open_since.is_some() && self.boot.says_nothing();
                let over = if fresh { None } else { self.close() };
                if !fresh {
                    self.open(
                        Boot {
                            chip: self.boot.chip,
                            ..Boot::default()
                        },
                        now,
                    );
                }
                self.boot.reset_code = Some(*code);
                self.boot.reset_reason = short(reason);
                over
            }
            Mark::ChipName(chip) => {
                self.boot.chip = Some(*chip);
                None
            }
            Mark::Project(text) => {
                self.reopen(now);
                self.boot.project = short(text);
                None
            }
            Mark::Version(text) => {
                self.reopen(now);
                self.boot.version = short(text);
                None
            }
            Mark::AppHash(text) => {
                self.reopen(now);
                let hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
                // of a build without a hash it is zeros
                let is_none = text.bytes().all(|digit| digit == b'0');
                self.boot.app_elf_sha256 = short(text)
                    .filter(|_| hex && !is_none)
                    .map(|text| text.to_ascii_lowercase());
                None
            }
            // the last of the application's lines
            Mark::IdfVersion(text) => {
                self.reopen(now);
                self.boot.idf_version = short(text);
                self.close()
            }
            _ => None,
        }
    }

    /// The boot, if its banner was still open; it is over now.
    pub(super) fn close(&mut self) -> Option<Boot> {
        self.open_since.take()?;
        (!self.boot.says_nothing()).then(|| self.boot.clone())
    }

    /// When to [`Banner::close`] although nothing ended it.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.open_since.map(|since| since + QUIET)
    }

    fn open(&mut self, boot: Boot, now: Duration) {
        self.boot = boot;
        self.open_since = Some(now);
    }

    /// The application's lines without the ROM's: somebody joined late.
    fn reopen(&mut self, now: Duration) {
        if self.open_since.is_none() {
            self.open(
                Boot {
                    chip: self.boot.chip,
                    ..Boot::default()
                },
                now,
            );
        }
    }
}

fn short(text: &str) -> Option<String> {
    let text: String = text.chars().take(MOST_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

const QUIET: Duration = Duration::from_secs(5);
const MOST_CHARS: usize = 64;
