//! What a board says of itself while it boots.

use std::fmt;
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
    /// The ROM waits for a flasher instead of booting.
    pub in_download_mode: bool,
    /// Why the bootloader started no application.
    pub failure: Option<BootFailure>,
}

/// Why no application was started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BootFailure {
    /// The ROM found no bootloader that it can start.
    Bootloader,
    PartitionTable,
    /// No partition has an application that can be started.
    Application,
}

impl BootFailure {
    /// The failure that a line of ROM or bootloader tells, if it is the last one
    /// that they try.
    pub(super) fn in_line(line: &str) -> Option<Self> {
        let told = |texts: &[&str]| texts.iter().any(|text| line.contains(text));
        if told(&[
            "boot: Failed to verify partition table",
            "boot: load partition table error!",
        ]) {
            return Some(Self::PartitionTable);
        }
        if told(&["boot: No bootable app partitions in the partition table"]) {
            return Some(Self::Application);
        }
        let rom = ["invalid header: 0x", "flash read err, ", "csum err:0x"];
        let rom = rom.iter().any(|text| line.starts_with(text));
        (rom || line.starts_with("Invalid image block, can't boot")).then_some(Self::Bootloader)
    }
}

impl fmt::Display for BootFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bootloader => "no valid bootloader in flash",
            Self::PartitionTable => "invalid partition table",
            Self::Application => "no bootable application",
        })
    }
}

impl Boot {
    /// Why this boot did not come to an application, if it is known that it did not.
    pub fn failure(&self) -> Option<BootFailure> {
        let application = [
            &self.project,
            &self.version,
            &self.app_elf_sha256,
            &self.idf_version,
        ];
        let started = application.into_iter().any(Option::is_some);
        self.failure.filter(|_| !started)
    }

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

    /// The ROM waits for a flasher; answers whether that is news of this boot.
    pub(super) fn waits_for_download(&mut self) -> bool {
        !std::mem::replace(&mut self.boot.in_download_mode, true)
    }

    /// No application was started; counts only for a boot that is under way, since
    /// applications print some of these lines as well.
    pub(super) fn failed(&mut self, failure: BootFailure) {
        if self.open_since.is_some() {
            self.boot.failure.get_or_insert(failure);
        }
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

#[cfg(test)]
mod tests {
    use super::super::{Event, events_in};
    use super::*;

    fn boots(recording: &str) -> (Vec<Boot>, usize) {
        let events = events_in(recording.as_bytes());
        let waits = |event: &&Event| **event == Event::WaitingForDownload;
        let waiting = events.iter().filter(waits).count();
        let boot = |event| match event {
            Event::Boot(boot) => Some(boot),
            _ => None,
        };
        (events.into_iter().filter_map(boot).collect(), waiting)
    }

    #[test]
    fn a_boot_that_comes_to_no_application_says_why() {
        let rom = "ets Jul 29 2019 12:21:46\r\n\r\n\
            rst:0x3 (SW_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n";
        let app = "I (305) cpu_start: App version:      1.0.0\r\n";
        let table = "E (88) flash_parts: partition 4 invalid - offset 0x110000 size 0x100000 \
            exceeds flash chip size 0x200000\r\nE (99) boot: Failed to verify partition table\r\n\
            E (104) boot: load partition table error!\r\n";
        let none = "E (61) boot: Factory app partition is not bootable\r\n\
            E (66) boot: No bootable app partitions in the partition table\r\n";
        for (said, expected) in [
            (table, Some(BootFailure::PartitionTable)),
            (none, Some(BootFailure::Application)),
            (
                "invalid header: 0xffffffff\r\ninvalid header: 0xffffffff\r\n",
                Some(BootFailure::Bootloader),
            ),
            ("flash read err, 1000\r\n", Some(BootFailure::Bootloader)),
            // another partition was started
            (
                &format!("E (61) boot: OTA app partition slot 0 is not bootable\r\n{app}"),
                None,
            ),
            (&format!("{none}{app}"), None),
            (app, None),
            ("", None),
        ] {
            let (boots, waiting) = boots(&format!("{rom}{said}{rom}"));
            assert_eq!(boots[0].failure(), expected, "{said}");
            assert_eq!(waiting, 0);
        }
    }

    #[test]
    fn a_board_in_its_bootloader_is_told_once_a_boot() {
        let enter = "rst:0x10 (RTCWDT_RTC_RESET),boot:0x3 (UART_BOOT(UART0))\r\n";
        let told = |text: &str| {
            let (boots, waiting) = boots(text);
            assert!(boots.iter().all(|boot| boot.in_download_mode), "{text}");
            waiting
        };
        assert_eq!(told(enter), 1);
        assert_eq!(told(&format!("{enter}wait uart0 download\r\n")), 1);
        assert_eq!(told(&format!("{enter}{enter}")), 2);
        assert_eq!(told("waiting for download\r\n"), 1);
    }
}
