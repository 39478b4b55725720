//! The lines that a crash is told by, of every system that runs on these chips.
//!
//! A table of how such lines begin. [`Role::Panic`] is a crash by itself;
//! [`Role::Perhaps`] becomes one when something follows that only a panic
//! prints; [`Role::Detail`] says more of a crash that is known. The form counts
//! only at the beginning of a line (what a terminal put before it is gone by
//! then): inside a log line the same words tell of another crash, or none.
//! docs/formats.md says which version of what writes which form.

mod rest;

pub use rest::without_thread_number;
use rest::{
    any, begins_hex, is_abort, is_assertion, is_freertos, is_newlib, is_nothing, is_of_type,
    is_panicked, is_quoted, is_rust_panic, is_rust_place, is_trap, is_zephyr_assertion,
    is_zephyr_cause,
};

/// What a line tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// A crash.
    Panic,
    /// A crash, or the end of what is printed about one.
    Summary,
    /// A crash that was printed before, or kept, and is told at a later boot.
    Report,
    /// What may come before a panic, and may not.
    Perhaps,
    /// The task watchdog warns; with its panic enabled, one follows.
    Watchdog,
    /// More about the panic that is being printed.
    Detail,
}

struct Form {
    begins: &'static str,
    /// What must be true of the rest.
    rest: fn(&str) -> bool,
    role: Role,
}

/// A line that says what happened: its role, and its words without what the
/// system's log put before them.
pub fn says(line: &str) -> Option<(Role, &str)> {
    let words = words(line);
    let form = FORMS
        .iter()
        .find(|form| words.strip_prefix(form.begins).is_some_and(form.rest))
        .or_else(|| is_freertos(words).then_some(&FREERTOS))?;
    // a log line that says so tells of something else, but for these systems'
    let own = words.len() == line.trim().len() || is_watchdog(line) || is_fatal_log(line);
    // anybody may say that
    let plain = form.begins == ABORTING && !is_watchdog(line);
    (own && !plain).then_some((form.role, words))
}

/// Where the headline of a panic stands in the middle of `line`: it was printed
/// into another line, or it is quoted.
pub fn inside(line: &str) -> Option<usize> {
    HEADLINES.iter().find_map(|words| {
        let at = line.find(words).filter(|at| *at > 0)?;
        says(line.get(at..)?).map(|_| at)
    })
}

/// Whether the line, although a log line, is part of a panic that a system
/// prints through its log.
pub fn is_fatal_log(line: &str) -> bool {
    line.starts_with("E: ") || FATAL_LOGS.iter().any(|tag| line.contains(tag))
}

/// Whether registers or a backtrace follow that were asked for: by the task
/// watchdog, which may only warn, or by the application.
pub fn asks(line: &str) -> bool {
    let heading = line.strip_prefix("Print CPU ").or_else(|| {
        let (_, heading) = line.split_once(": Print CPU ")?;
        Some(heading)
    });
    heading.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && (rest.ends_with(" registers") || rest.ends_with(" backtrace"))
    })
}

/// `line` without what the log of its system puts before a message.
pub fn words(line: &str) -> &str {
    let tag = FATAL_LOGS.iter().find_map(|tag| line.split_once(tag));
    let rest = match tag {
        Some((_, rest)) if line.contains("[esp32.crash:") => {
            rest.split_once("]:").map_or(rest, |(_, rest)| rest)
        }
        Some((_, rest)) => rest,
        None => match super::marks::log_message(line) {
            Some(message) => message.strip_prefix("task_wdt: ").unwrap_or(line),
            // Zephyr's smallest log
            None => line.strip_prefix("E: ").unwrap_or(line),
        },
    };
    let rest = rest.trim_start();
    let is_logged = tag.is_some() || line.starts_with("E: ");
    let rest = ["** ", "*** ", ">>> "]
        .iter()
        .find_map(|mark| rest.strip_prefix(mark).filter(|_| is_logged))
        .unwrap_or(rest);
    rest.trim()
}

fn is_watchdog(line: &str) -> bool {
    super::marks::log_message(line).is_some_and(|message| message.starts_with("task_wdt: "))
}

#[cfg(test)]
pub(super) fn beginnings() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|form| form.begins)
}

const fn form(begins: &'static str, rest: fn(&str) -> bool, role: Role) -> Form {
    Form { begins, rest, role }
}

const FORMS: &[Form] = &{
    use Role::{Detail, Panic, Perhaps, Report, Summary, Watchdog};
    [
        // ESP-IDF: panic.c, abort, assert.c, stack checks
        form("Guru Meditation Error: Core ", is_panicked, Panic),
        form("Guru Meditation Error of type ", is_of_type, Panic),
        form("abort() was called at PC 0x", is_abort, Panic),
        form("assert failed: ", is_assertion, Panic),
        form("***ERROR*** A stack overflow in task ", any, Panic),
        form("ERROR A stack overflow in task ", any, Panic),
        form("Stack smashing protect failure!", any, Panic),
        form("Panic handler entered multiple times", any, Detail),
        form("Debug exception reason: ", any, Detail),
        form("Stack canary watchpoint triggered (", any, Detail),
        form("MMU entry fault error occurred", any, Detail),
        form("Write back error occurred", any, Detail),
        form("Dbus write to cache rejected", any, Detail),
        form("Dbus access to cache rejected", any, Detail),
        form("Cache ECC error", any, Detail),
        form("CORRUPT HEAP:", any, Perhaps),
        form("Undefined behavior of type ", any, Perhaps),
        // newlib, Zephyr
        form("assertion \"", is_newlib, Perhaps),
        form("ASSERTION FAIL [", is_zephyr_assertion, Perhaps),
        // ESP_ERROR_CHECK, C++
        form("ESP_ERROR_CHECK failed: esp_err_t 0x", begins_hex, Perhaps),
        form("expression: ", any, Detail),
        form(
            "terminate called after throwing an instance of ",
            any,
            Perhaps,
        ),
        form("what():", any, Detail),
        // task_wdt.c
        form("Task watchdog got triggered", any, Watchdog),
        form(ABORTING, is_nothing, Panic),
        // Rust: std on ESP-IDF, esp-backtrace
        form("thread '", is_rust_panic, Panic),
        form("panicked at ", is_rust_place, Panic),
        form(
            "====================== PANIC ======================",
            any,
            Panic,
        ),
        form("!! A panic occured ", any, Panic),
        form("!! A panic occurred ", any, Panic),
        form("Exception occured ", is_quoted, Panic),
        form("Exception occurred ", is_quoted, Panic),
        form("Exception '", is_trap, Panic),
        form("Stack overflow detected at 0x", begins_hex, Panic),
        // Zephyr
        form("FATAL EXCEPTION", is_nothing, Panic),
        form("** FATAL EXCEPTION", is_nothing, Panic),
        form("mcause: ", is_zephyr_cause, Panic),
        form(">>> ZEPHYR FATAL ERROR ", any, Summary),
        form("ZEPHYR FATAL ERROR ", any, Summary),
        form("#CD:BEGIN#", any, Summary),
        form("E: #CD:BEGIN#", any, Summary),
        // NuttX
        form("xtensa_user_panic: User Exception: EXCCAUSE=", any, Panic),
        form("xtensa_panic: ", any, Panic),
        form("riscv_exception: EXCEPTION: ", any, Panic),
        form("riscv_exception: PANIC!!!", any, Detail),
        form("_assert: Assertion failed", any, Summary),
        form("up_assert: Assertion failed", any, Summary),
        form("dump_assert_info: Assertion failed", any, Summary),
        // ESPHome
        form(
            "*** CRASH DETECTED ON PREVIOUS BOOT ***",
            is_nothing,
            Report,
        ),
        form("CRASH DETECTED ON PREVIOUS BOOT ***", is_nothing, Report),
    ]
};

/// FreeRTOS of ESP-IDF before 4.3: the file's path comes first.
const FREERTOS: Form = form("", is_freertos, Role::Perhaps);

/// With the task watchdog's panic enabled, it says so first.
const ABORTING: &str = "Aborting.";

/// Those of them that other output may be glued to.
const HEADLINES: &[&str] = &[
    "Guru Meditation Error",
    "abort() was called at PC 0x",
    "assert failed: ",
    "***ERROR*** A stack overflow in task ",
    "====================== PANIC",
    "panicked at ",
    "** FATAL EXCEPTION",
];

/// Before the messages of a panic that goes through a log.
const FATAL_LOGS: &[&str] = &[
    "<err> os: ",
    "<err> os:",
    "<err> coredump: ",
    "[esp32.crash:",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_count_at_the_beginning_of_a_line_only() {
        use Role::{Detail, Panic, Perhaps, Report, Watchdog};
        for (line, expected) in [
            (
                "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). X",
                Some(Panic),
            ),
            (
                "Guru Meditation Error: Core  / panic'ed (Cache error).",
                Some(Panic),
            ),
            ("Guru Meditation Error: what it means", None),
            (
                "Guru Meditation Error of type StoreProhibited occurred on core  0.",
                Some(Panic),
            ),
            ("abort() was called at PC 0x40081234 on core 1", Some(Panic)),
            ("abort() was called by the test", None),
            (
                "abort() was called at PC 0x40081234 on core 1 says who",
                None,
            ),
            ("abort() was called at PC 0x40081234", Some(Panic)),
            (
                "Guru Meditation Error: Core  0 panic'ed (Cache error) is",
                None,
            ),
            ("Guru Meditation Error: Core  0 panic'ed (...)", None),
            (
                "Guru Meditation Error: Core  0 panic'ed (Cache error)",
                Some(Panic),
            ),
            (
                "Guru Meditation Error: Core  0 panic'ed (Cache error). | why",
                None,
            ),
            (
                "Guru Meditation Error: Core  0 panic'ed (LoadProhi",
                Some(Panic),
            ),
            (
                "assert failed: bool Pump::run(const Level&, int) [with T = A::B] C:\\p\\pump.cpp:31 (x)",
                Some(Panic),
            ),
            (
                "assert failed: Pump::run(int)::<lambda()> pump.hpp:31 (x)",
                Some(Panic),
            ),
            (
                "/idf/freertos/tasks.c:913 (xTaskCreate)- assert failed!",
                Some(Perhaps),
            ),
            ("the test (3)- assert failed!", None),
            (
                "ASSERTION FAIL [level < 9] @ WEST_TOPDIR/app/pump.c:31",
                Some(Perhaps),
            ),
            (
                "thread 'pump' (1073490112) panicked at src/main.rs:7:5:",
                Some(Panic),
            ),
            ("thread 'pump' (him) panicked at the door", None),
            ("assert failed: pump_run pump.c:31 (level < 9)", Some(Panic)),
            ("assert failed: see the manual", None),
            (
                "E (5310) task_wdt: Task watchdog got triggered. The",
                Some(Watchdog),
            ),
            ("E (5310) task_wdt: Aborting.", Some(Panic)),
            ("Aborting.", None),
            (
                "I (12) diag: abort() was called at PC 0x40081234 on core 1",
                None,
            ),
            ("E (12) heap: CORRUPT HEAP: Bad tail", None),
            (
                "CORRUPT HEAP: Bad tail at 0x3ffb1234. Expected 0xbaad5678 got 0",
                Some(Perhaps),
            ),
            ("thread 'main' panicked at src/main.rs:7:5:", Some(Panic)),
            ("panicked at 'no sensor', src/main.rs:7:5", Some(Panic)),
            ("panicked at the sight of it", None),
            (
                "Debug exception reason: Stack canary watchpoint triggered (ipc0)",
                Some(Detail),
            ),
            ("<err> os:  ** FATAL EXCEPTION", Some(Panic)),
            (
                "[00:00:01.500,000] <err> os: mcause: 5, Load access fault",
                Some(Panic),
            ),
            ("<inf> app: ** FATAL EXCEPTION", None),
            (
                "[E][esp32.crash:221]: *** CRASH DETECTED ON PREVIOUS BOOT ***",
                Some(Report),
            ),
            (
                "riscv_exception: EXCEPTION: Load access fault. MCAUSE: 00000005",
                Some(Panic),
            ),
        ] {
            assert_eq!(says(line).map(|(role, _)| role), expected, "{line}");
        }
    }

    #[test]
    fn a_headline_inside_a_line_is_found() {
        let line = "I (3) wifi: connGuru Meditation Error: Core  1 panic'ed (Double exception)";
        assert_eq!(inside(line), Some(16));
        assert_eq!(inside("if it says Guru Meditation Error, call"), None);
    }
}
