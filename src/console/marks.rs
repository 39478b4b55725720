//! What one console line means. The texts are ESP-IDF's and the boot ROMs'.

use crate::device::Chip;

use super::dialect::{self, Role};

/// The meaning of a line.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Mark<'a> {
    DumpStart,
    /// With what stood before the marker on the same line.
    DumpEnd(&'a str),
    /// The hex digits of the printed checksum.
    Checksum(&'a str),
    /// The ROM begins to boot.
    Rom(Option<Chip>),
    /// The ROM names the reason: code and name.
    Reset(u32, &'a str),
    /// The ROM waits for a flasher.
    WaitingForDownload,
    ChipName(Chip),
    Project(&'a str),
    Version(&'a str),
    AppHash(&'a str),
    IdfVersion(&'a str),
    /// A crash, or what may come before one.
    Crash(Role),
    /// A panic's first words within a line, and where.
    Inside(usize),
    /// The heading of a panic's registers.
    Registers,
    /// A backtrace with at least one address in it.
    Backtrace,
    /// The application's hash, as a panic prints it.
    PanicHash,
    /// A board says that it restarts now.
    Rebooting,
    Prompt,
    FlashSaved,
    FlashCorrupted,
    BrownOut,
    /// An ordinary log line, such as `I (123) wifi: ..`.
    Log,
    Other,
}

/// Reads a cleaned line.
pub(super) fn read(line: &str) -> Mark<'_> {
    // idf monitor's own report has "ESP32 CORE DUMP START" in its title
    if let Some(at) = line.find("= CORE DUMP ") {
        let (before, marker) = line.split_at(at + 2);
        if marker.starts_with("CORE DUMP START") {
            return Mark::DumpStart;
        }
        if marker.starts_with("CORE DUMP END") {
            return Mark::DumpEnd(before.trim_end_matches([' ', '=']));
        }
    }
    if let Some((_, digits)) = line.split_once("Coredump checksum='") {
        return Mark::Checksum(digits.split('\'').next().unwrap_or_default());
    }
    boot_line(line)
        .or_else(|| crash_line(line))
        .unwrap_or_else(|| {
            if log_message(line).is_some() {
                Mark::Log
            } else {
                Mark::Other
            }
        })
}

/// Whether `line` asks for Enter before a dump is printed.
pub(super) fn is_prompt(line: &str) -> bool {
    line.contains("Press Enter to print core dump to UART...")
}

/// Whether a ROM says with its reset reason that it boots into its own bootloader:
/// `rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))`.
pub(super) fn is_download_boot(line: &str) -> bool {
    let mode = line.split_once("),boot:0x").map(|(_, mode)| mode);
    let name = mode.and_then(|mode| mode.split_once(" (")).map(|(_, n)| n);
    name.is_some_and(|name| name.starts_with("DOWNLOAD") || name.starts_with("UART_BOOT"))
}

fn boot_line(line: &str) -> Option<Mark<'_>> {
    if let Some((_, name)) = line.split_once("ESP-ROM:") {
        let chip = match name.split('-').next().unwrap_or_default() {
            // the ESP32-C2 under the name it had before
            "esp8684" => Some(Chip::Esp32C2),
            chip => chip.parse().ok(),
        };
        return Some(Mark::Rom(chip));
    }
    // the ESP32's own ROM names only its date; the ESP8266's has "rst cause"
    if let Some(date) = line.strip_prefix("ets ")
        && MONTHS.iter().any(|month| date.starts_with(month))
        && !line.contains("rst cause")
    {
        return Some(Mark::Rom(Some(Chip::Esp32)));
    }
    if let Some((_, reset)) = line.split_once("rst:0x")
        && let Some((code, rest)) = reset.split_once(' ')
        && let Ok(code) = u32::from_str_radix(code, 16)
    {
        let name = rest
            .strip_prefix('(')
            .and_then(|rest| rest.split(')').next());
        return Some(Mark::Reset(code, name.unwrap_or_default()));
    }
    if [
        "waiting for download",
        "wait uart0 download",
        "wait usb download",
    ]
    .iter()
    .any(|text| line.contains(text))
    {
        return Some(Mark::WaitingForDownload);
    }
    log_level(line)?;
    if let Some((_, rest)) = line.split_once(" boot.esp32") {
        let suffix = rest.split(':').next().unwrap_or_default();
        return format!("esp32{suffix}").parse().ok().map(Mark::ChipName);
    }
    let (_, entry) = line
        .split_once("cpu_start: ")
        .or_else(|| line.split_once("app_init: "))?;
    let value = |name| entry.strip_prefix(name).map(str::trim);
    value("Project name:")
        .map(Mark::Project)
        .or_else(|| value("App version:").map(Mark::Version))
        .or_else(|| value("ELF file SHA256:").map(|hash| Mark::AppHash(hash.trim_end_matches('.'))))
        .or_else(|| value("ESP-IDF:").map(Mark::IdfVersion))
}

fn crash_line(line: &str) -> Option<Mark<'_>> {
    if let Some((role, _)) = dialect::says(line) {
        return Some(Mark::Crash(role));
    }
    if let Some(rest) = line.strip_prefix("Backtrace:") {
        let rest = rest.trim_start();
        let digits = rest.strip_prefix("0x").unwrap_or_default();
        return match digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
            true => Some(Mark::Backtrace),
            false => None,
        };
    }
    if is_register_heading(line) {
        return Some(Mark::Registers);
    }
    if let Some(digits) = line.strip_prefix("ELF file SHA256:") {
        let digits = digits.trim().trim_end_matches('.');
        let hex = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        return hex.then_some(Mark::PanicHash);
    }
    if line.starts_with("Rebooting...") {
        return Some(Mark::Rebooting);
    }
    if is_prompt(line) {
        return Some(Mark::Prompt);
    }
    if line.contains("Core dump has been saved to flash") {
        return Some(Mark::FlashSaved);
    }
    if line.contains("Core dump flash config is corrupted!") {
        return Some(Mark::FlashCorrupted);
    }
    if line.contains("Brownout detector was triggered") {
        return Some(Mark::BrownOut);
    }
    dialect::inside(line).map(Mark::Inside)
}

/// `Core  0 register dump:`, and `Register dump:` of ESP-IDF up to 3.0.
fn is_register_heading(line: &str) -> bool {
    line == "Register dump:"
        || line
            .strip_prefix("Core ")
            .and_then(|rest| rest.trim_start().split_once(' '))
            .is_some_and(|(core, rest)| core.len() == 1 && rest.starts_with("register dump:"))
}

/// Whether `line` is an ordinary log line.
pub(super) fn is_log(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| log_level(line).is_some())
}

/// The level letter of ESP-IDF's log format, `L (time) tag: text`.
fn log_level(line: &str) -> Option<char> {
    idf_message(line).map(|(level, _)| level)
}

fn idf_message(line: &str) -> Option<(char, &str)> {
    let mut chars = line.chars();
    let level = chars.next().filter(|c| "EWIDV".contains(*c))?;
    let rest = chars.as_str().strip_prefix(" (")?;
    let (time, message) = rest.split_once(") ")?;
    let clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | '-' | ' ');
    (!time.is_empty() && time.chars().all(clock)).then_some((level, message))
}

/// What a log line says, tag included: of ESP-IDF, Arduino and ESPHome
/// (`[E][tag:12]: `), Zephyr (`<err> tag: `), Rust's loggers (`INFO - `).
pub(super) fn log_message(line: &str) -> Option<&str> {
    if let Some((_, message)) = idf_message(line) {
        return Some(message);
    }
    // a time that was not taken off
    let bare = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .filter(|(time, _)| {
            time.bytes()
                .all(|b| b.is_ascii_digit() || b" :.,-T".contains(&b))
        })
        .map_or(line, |(_, rest)| rest.trim_start());
    let level = |text: &str| text.len() == 1 && "EWIDVC".contains(text);
    if let Some((tag, message)) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && (level(tag) || tag.len() <= 2 && tag.starts_with('V'))
        && message.starts_with(['[', ' ', ':'])
    {
        return Some(message);
    }
    let named = ["<err> ", "<wrn> ", "<inf> ", "<dbg> "];
    if let Some(message) = named.iter().find_map(|level| bare.strip_prefix(level)) {
        return Some(message);
    }
    let words = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    words.iter().find_map(|level| {
        let rest = bare.trim_start_matches('[').strip_prefix(level)?;
        let rest = rest.strip_prefix(']').unwrap_or(rest).trim_start();
        rest.strip_prefix("- ").or_else(|| rest.strip_prefix("("))
    })
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_into_the_bootloader_is_told_from_one_into_flash() {
        for (line, expected) in [
            (
                "rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))",
                true,
            ),
            ("rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1))", true),
            (
                "rst:0x10 (RTCWDT_RTC_RESET),boot:0x23 (UART_BOOT(UART0))",
                true,
            ),
            (
                "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)",
                false,
            ),
            ("UART_BOOT is not used here", false),
        ] {
            assert_eq!(is_download_boot(line), expected, "{line}");
        }
        for line in [
            "waiting for download",
            "wait uart0 download",
            "wait usb download",
        ] {
            assert_eq!(read(line), Mark::WaitingForDownload, "{line}");
        }
    }

    #[test]
    fn the_lines_that_matter_are_told_apart() {
        for (line, expected) in [
            (
                "================= CORE DUMP START =================",
                Mark::DumpStart,
            ),
            (
                "I (3) wi================= CORE DUMP START =====",
                Mark::DumpStart,
            ),
            (
                "AQ==================== CORE DUMP END =================",
                Mark::DumpEnd("AQ"),
            ),
            ("Coredump checksum='4c634608'", Mark::Checksum("4c634608")),
            ("ets Jul 29 2019 12:21:46", Mark::Rom(Some(Chip::Esp32))),
            (" ets Jan  8 2013,rst cause:1, boot mode:(3,6)", Mark::Other),
            (
                "ESP-ROM:esp32c3-api1-20210207",
                Mark::Rom(Some(Chip::Esp32C3)),
            ),
            (
                "ESP-ROM:esp8684-api2-20220127",
                Mark::Rom(Some(Chip::Esp32C2)),
            ),
            (
                "rst:0x1 (POWERON_RESET),boot:0x12 (SPI_FAST_FLASH_BOOT)",
                Mark::Reset(1, "POWERON_RESET"),
            ),
            (
                "rst:0xf (BROWNOUT_RST),boot:0x8 (SPI)",
                Mark::Reset(15, "BROWNOUT_RST"),
            ),
            (
                "I (22) boot.esp32c3: SPI Speed      : 80MHz",
                Mark::ChipName(Chip::Esp32C3),
            ),
            (
                "I (3008) cpu_start: Project name:     test_core_dump",
                Mark::Project("test_core_dump"),
            ),
            (
                "I (2346) app_init: App version:      v1.12.0-7-dirty",
                Mark::Version("v1.12.0-7-dirty"),
            ),
            (
                "I (3009) cpu_start: ELF file SHA256:  1b43c5e74...",
                Mark::AppHash("1b43c5e74"),
            ),
            ("ELF file SHA256: 1b43c5e74", Mark::PanicHash),
            (
                "Guru Meditation Error: Core  0 panic'ed (LoadProhibited).",
                Mark::Crash(Role::Panic),
            ),
            (
                "I (3) esp_core_dump_uart: Press Enter to print core dump to UART...",
                Mark::Prompt,
            ),
            (
                "E (5) task_wdt: Task watchdog got triggered. The following",
                Mark::Crash(Role::Watchdog),
            ),
            ("E (5) task_wdt:  - IDLE0 (CPU 0)", Mark::Log),
            ("E (5) task_wdt: Aborting.", Mark::Crash(Role::Panic)),
            ("I (12:00:01.123) wifi: up", Mark::Log),
            ("I () wifi: up", Mark::Other),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }
}
