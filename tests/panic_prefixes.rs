//! Panics of which every line has something before it that no list of stamps
//! knows: it is learned from the panic itself.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use espgate::decode::report::Report;
use espgate::decode::{Options, decode};

const PANICS: &[&str] = &[
    include_str!("data/panics/idf5-xtensa.log"),
    include_str!("data/panics/idf44-glued.log"),
    include_str!("data/panics/newlib-assertion.log"),
    include_str!("data/panics/riscv-stack.log"),
    include_str!("data/panics/riscv-backtrace.log"),
];

/// What stands before line `number`.
const PREFIXES: &[fn(usize) -> String] = &[
    |_| "[ttyUSB0] ".to_owned(),
    |_| "board 7: ".to_owned(),
    |_| ">".to_owned(),
    |_| "+".to_owned(),
    |_| "espmon-6f7d espmon ".to_owned(),
    |number| format!("{number}:"),
    |number| format!("esp.log:{number}:"),
    |number| format!("{number:6}\t"),
    |number| format!("1767225600{number:03} "),
    |number| format!("12:34:{:02}: ", number % 60),
    |number| format!("(12:34:56.{number:03}) "),
    |number| format!("[12:34:56.{number:03}]收←◆"),
    |number| format!("[12:34:56.{number:03}] [I] "),
    |number| format!("[12:34:56.{number:03}][E][esp32:123]: "),
    |number| format!("[{}][esp32:{number}]: ", ["E", "W", "C"][number % 3]),
    |number| format!("2026-01-02 12:34:56,{number:03} - INFO - "),
    |number| format!("2026-01-02T12:34:56.{number:06}Z 01O "),
    |number| format!("<134>1 2026-01-02T12:34:56.{number:03}Z gw espmon 12 - - "),
    |number| format!("Jan 02 12:34:56 gw espmon[99]: 12:34:56.{number:03} -> "),
];

fn report(log: &str) -> Report {
    let mut report = decode(log.as_bytes(), None, Options::default());
    report.image.size = 0;
    report
}

fn prefixed(text: &str, prefix: fn(usize) -> String) -> String {
    let lines = text.lines().enumerate();
    lines
        .map(|(number, line)| format!("{}{line}\n", prefix(number + 1)))
        .collect()
}

#[test]
fn every_prefix_leaves_the_report_as_it_is() {
    for panic in PANICS {
        for prefix in PREFIXES {
            let log = prefixed(panic, *prefix);
            assert_eq!(report(&log), report(panic), "{}", prefix(1));
        }
    }
}

#[test]
fn it_is_learned_where_the_panic_is_and_not_only_at_the_beginning() {
    for lines in [1_500, 3_000, 9_000, 30_000] {
        let quiet: String = (0..lines)
            .map(|number| format!("a line of an application, number {number}\n"))
            .collect();
        let log = prefixed(&(quiet + PANICS[0]), PREFIXES[5]);
        assert_eq!(report(&log), report(PANICS[0]), "{lines} lines");
    }
}

#[test]
fn what_an_application_logs_is_no_panic() {
    let headline = "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). \
                    Exception was unhandled.\n";
    let backtrace = "Backtrace: 0x400d1234:0x3ffb1000 0x400d5678:0x3ffb1020\n";
    let loggers: [fn(usize) -> String; 2] = [
        |number| format!("W ({number}) crash: "),
        |number| format!("12:34:56.{number:03} -> E ({number}) crash: "),
    ];
    for logger in loggers {
        let log = prefixed(&format!("{headline}{backtrace}"), logger);
        assert!(is_quiet(&log), "{log}");
    }
    for text in [headline, backtrace] {
        let log = prefixed(&format!("wifi: up\n{text}wifi: down\n"), PREFIXES[13]);
        assert!(is_quiet(&log), "{log}");
    }
}

fn is_quiet(log: &str) -> bool {
    report(log).verdict == "not-a-coredump"
}
