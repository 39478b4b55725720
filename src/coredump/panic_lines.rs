//! The lines that ESP-IDF prints around a panic, one at a time.

use std::str::FromStr as _;

use crate::device::Chip;

/// The part of a line that says why the application panicked.
pub(super) fn reason(line: &str) -> Option<&str> {
    const BEGINNINGS: [&str; 9] = [
        "Guru Meditation Error:",
        "abort() was called at PC",
        "assert failed:",
        "***ERROR*** A stack overflow",
        "Task watchdog got triggered",
        "Debug exception reason:",
        "Stack smashing protect failure",
        "CORRUPT HEAP:",
        "Undefined behavior of type",
    ];
    let at = BEGINNINGS
        .iter()
        .find_map(|beginning| line.find(beginning))?;
    Some(line.get(at..)?.trim_end())
}

/// The task that some reasons name.
pub(super) fn task_in(reason: &str) -> Option<String> {
    let from = |before: &str, after: &str| {
        let (_, rest) = reason.split_once(before)?;
        let (name, _) = rest.split_once(after)?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty() && name.len() <= 16)
    };
    from("stack overflow in task ", " has been detected")
        .or_else(|| from("Stack canary watchpoint triggered (", ")"))
}

/// Whether a line is the ROM's at a new boot, and of which chip if it says so.
pub(super) fn booting_chip(line: &str) -> Option<Option<Chip>> {
    if let Some((_, build)) = line.split_once("ESP-ROM:") {
        let name = build.split('-').next().unwrap_or_default();
        return Some(Chip::from_str(name.trim()).ok());
    }
    if line.starts_with("ets Jul 29 2019") || line.starts_with("ets Jun  8 2016") {
        return Some(Some(Chip::Esp32));
    }
    line.contains("rst:0x").then_some(None)
}

/// The application's ELF hash, as far as a line gives it.
pub(super) fn hash(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("ELF file SHA256:")?;
    let digits = rest.trim_start();
    let end = digits
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(digits.len());
    let digits = digits.get(..end.min(64))?;
    (!digits.is_empty()).then(|| digits.to_ascii_lowercase())
}

/// A number such as `0x3fc8ea70`.
pub(super) fn hex(word: &str) -> Option<u32> {
    let digits = word.strip_prefix("0x")?;
    u32::from_str_radix(digits, 16).ok()
}

/// A line without its terminal escapes.
pub(super) fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic());
        rest = end.and_then(|end| after.get(end + 1..)).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_found_behind_log_prefixes_and_colours() {
        for (line, expected) in [
            (
                "\x1b[0;31mE (5310) task_wdt: Task watchdog got triggered. \x1b[0m",
                Some("Task watchdog got triggered."),
            ),
            (
                "abort() was called at PC 0x1 on core 0\r",
                Some("abort() was called at PC 0x1 on core 0"),
            ),
            ("I (3) main: all is well", None),
        ] {
            assert_eq!(reason(&without_colours(line)), expected, "{line:?}");
        }
    }

    #[test]
    fn reasons_that_name_the_task_do() {
        for (line, expected) in [
            (
                "***ERROR*** A stack overflow in task main has been detected.",
                Some("main"),
            ),
            (
                "Debug exception reason: Stack canary watchpoint triggered (ipc0) ",
                Some("ipc0"),
            ),
            ("assert failed: f x.c:3 (y)", None),
        ] {
            assert_eq!(task_in(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn boots_tell_the_chip_if_their_line_does() {
        for (line, expected) in [
            ("ESP-ROM:esp32s3-20210327", Some(Some(Chip::Esp32S3))),
            ("ets Jul 29 2019 12:21:46", Some(Some(Chip::Esp32))),
            ("rst:0xc (SW_CPU_RESET),boot:0x12", Some(None)),
            ("I (30) boot: chip revision: v0.0", None),
        ] {
            assert_eq!(booting_chip(line), expected, "{line}");
        }
    }

    #[test]
    fn hashes_end_where_their_digits_do() {
        for (line, expected) in [
            ("ELF file SHA256: 1b43c5e74", Some("1b43c5e74")),
            (
                "I (3009) cpu_start: ELF file SHA256:  1B43c5e74...",
                Some("1b43c5e74"),
            ),
            ("ELF file SHA256: ", None),
        ] {
            assert_eq!(hash(line).as_deref(), expected, "{line}");
        }
    }
}
