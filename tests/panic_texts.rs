//! Panics as they stand in the logs of terminals, browsers and other systems:
//! whatever was done to the text, the report is that of the clean one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use espgate::coredump::load_all;
use espgate::decode::report::Report;
use espgate::decode::{Options, decode, decode_loaded};
use proptest::prelude::*;

/// One panic of each kind, as the board prints it.
const PANICS: &[(&str, &str)] = &[
    ("idf 5, xtensa", include_str!("data/panics/idf5-xtensa.log")),
    (
        "idf 4.4, glued frames",
        include_str!("data/panics/idf44-glued.log"),
    ),
    (
        "idf 4, hash first",
        include_str!("data/panics/idf4-hash-first.log"),
    ),
    (
        "idf 3, guru of type",
        include_str!("data/panics/idf3-of-type.log"),
    ),
    (
        "watchdogs of both cores",
        include_str!("data/panics/interrupt-watchdog.log"),
    ),
    (
        "abort after an assertion",
        include_str!("data/panics/newlib-assertion.log"),
    ),
    ("corrupt heap", include_str!("data/panics/corrupt-heap.log")),
    ("stack canary", include_str!("data/panics/stack-canary.log")),
    ("risc-v stack", include_str!("data/panics/riscv-stack.log")),
    (
        "risc-v backtrace",
        include_str!("data/panics/riscv-backtrace.log"),
    ),
    ("rust on esp-idf", include_str!("data/panics/rust-std.log")),
    ("esp-hal", include_str!("data/panics/esp-hal.log")),
];

fn report(log: &[u8]) -> Report {
    let mut report = decode(log, None, Options::default());
    report.image.size = 0;
    report
}

fn assert_same(clean: &str, other: &[u8], what: &str) {
    let (clean, other) = (report(clean.as_bytes()), report(other));
    assert_eq!(other, clean, "{what}");
    assert_eq!(clean.verdict, "panic-only", "{what}");
}

/// What terminals put before line `number`.
fn stamp(kind: usize, number: usize) -> String {
    let (seconds, millis) = (number / 40 % 60, number * 25 % 1000);
    match kind {
        0 => format!("09:41:{seconds:02}.{millis:03} -> "),
        1 => format!("[09:41:{seconds:02}]"),
        2 => format!("[09:41:{seconds:02}.{millis:03}] "),
        3 => format!("2026-03-04 09:41:{seconds:02} "),
        4 => format!("Mar 04 09:41:{seconds:02} gate2 ser2net[4{}]: ", number % 7),
        5 => format!("2026-03-04T09:41:{seconds:02}.{millis:03}Z "),
        6 => "> ".to_owned(),
        7 => format!("09:41:{seconds:02}.{millis:03} > "),
        8 => format!("[2026-03-04 09:41:{seconds:02}.{millis:03}] "),
        _ => format!("> [09:41:{seconds:02}] "),
    }
}

const STAMPS: usize = 10;

/// Lines that other parts of a firmware print meanwhile.
const OTHERS: [&str; 7] = [
    "I (48213) wifi:bcn_timeout,ap_probe_send_start",
    "\x1b[0;33mW (48220) mqtt_client: No PING_RESP, disconnected\x1b[0m",
    "D (9) app: frame 0x3ffb1234:0x40081234 of 0x10",
    "E (77) app: last time: abort() was called at PC 0x40081234 on core 1",
    "[D][sensor:094]: 'Water' : Sending state 21.50000",
    "[ 48213][E][WiFiClient.cpp:275] connect(): socket error on fd 54",
    "I (48300) 主程序: 连接到服务器",
];

#[test]
fn every_kind_is_one_panic_with_reason_and_place() {
    for (name, text) in PANICS {
        let all = load_all(text.as_bytes());
        assert_eq!(all.len(), 1, "{name}");
        let (examination, dump) = &all[0];
        let report = decode_loaded(0, examination, dump.as_ref(), None, Options::default());
        assert!(report.panic.reason.is_some(), "{name}");
        assert!(report.tasks[0].backtrace.len() > 1, "{name}: {report:?}");
        assert!(report.fingerprint.is_some(), "{name}");
    }
}

#[test]
fn prefixes_of_terminals_change_nothing() {
    for (name, text) in PANICS {
        for kind in 0..STAMPS {
            let lines = text.lines().enumerate();
            let stamped: String = lines
                .map(|(number, line)| format!("{}{line}\r\n", stamp(kind, number)))
                .collect();
            assert_same(
                text,
                stamped.as_bytes(),
                &format!("{name} {:?}", stamp(kind, 1)),
            );
        }
    }
}

#[test]
fn encodings_and_line_ends_change_nothing() {
    for (name, text) in PANICS {
        let unix = text.replace('\r', "");
        let windows: Vec<u8> = unix.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [b"\xff\xfe", windows.as_slice()].concat();
        let mac = unix.replace('\n', "\r");
        let mixed: String = unix
            .lines()
            .enumerate()
            .map(|(number, line)| format!("{line}{}", ["\n", "\r\n", "\r\r\n"][number % 3]))
            .collect();
        let coloured: String = unix
            .lines()
            .map(|line| format!("\x1b[0;31m{line}\x1b[0m\n"))
            .collect();
        for (how, other) in [
            ("unix", unix.into_bytes()),
            ("utf-16", marked),
            ("cr", mac.into_bytes()),
            ("mixed", mixed.into_bytes()),
            ("coloured", coloured.into_bytes()),
        ] {
            assert_same(text, &other, &format!("{name} {how}"));
        }
    }
}

#[test]
fn lines_that_a_terminal_broke_are_read_as_they_were() {
    for (name, text) in PANICS.iter().filter(|(name, _)| !name.contains("rust")) {
        for width in 60..132 {
            let mut broken = String::new();
            for line in text.replace('\r', "").lines() {
                // what the device says in words shows no break
                let is_words = !line.contains(": 0x") && !line.starts_with("Backtrace:");
                let width = if is_words { 1000 } else { width };
                let bytes: Vec<&[u8]> = line.as_bytes().chunks(width).collect();
                for piece in bytes {
                    broken += str::from_utf8(piece).unwrap();
                    broken += "\r\n";
                }
                if line.is_empty() {
                    broken += "\r\n";
                }
            }
            // the first release read less of it: another fingerprint was known
            let (mut clean, mut other) = (report(text.as_bytes()), report(broken.as_bytes()));
            (clean.fingerprint, other.fingerprint) = (None, None);
            assert_eq!(other, clean, "{name} at {width}");
        }
    }
}

#[test]
fn several_crashes_are_several_reports_in_order() {
    let all: String = PANICS.iter().map(|(_, text)| *text).collect();
    let found = load_all(all.as_bytes());
    assert_eq!(found.len(), PANICS.len());
    for ((examination, _), (name, text)) in found.iter().zip(PANICS) {
        let alone = report(text.as_bytes());
        assert_eq!(examination.panic_reason, alone.panic.reason, "{name}");
        assert_eq!(examination.fingerprint, alone.fingerprint, "{name}");
    }
    let last = report(all.as_bytes());
    assert_eq!(last.image.crashes_in_log, Some(PANICS.len() as u64));
    assert_eq!(
        last.panic.reason,
        report(PANICS.last().unwrap().1.as_bytes()).panic.reason
    );
}

#[test]
fn a_log_cut_anywhere_never_gives_another_crash() {
    for (name, text) in PANICS {
        let whole = report(text.as_bytes());
        for end in (0..text.len()).step_by(11) {
            let cut = load_all(&text.as_bytes()[..end]);
            assert!(cut.len() <= 1, "{name} {end}");
            let reason = cut[0].0.panic_reason.clone().unwrap_or_default();
            let first = reason.lines().next().unwrap_or_default();
            let full = whole.panic.reason.clone().unwrap();
            assert!(full.contains(first), "{name} {end}: {first}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn lines_of_others_and_stamps_together_change_nothing(
        which in 0..PANICS.len(),
        kind in 0..=STAMPS,
        between in prop::collection::vec((0.0..1.0_f64, 0..OTHERS.len()), 0..12),
    ) {
        let (name, text) = PANICS[which];
        let mut lines: Vec<String> = text.replace('\r', "").lines().map(str::to_owned).collect();
        for (place, other) in between {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a list")]
            let at = (place * lines.len() as f64) as usize;
            lines.insert(at, OTHERS[other].to_owned());
        }
        let log: String = lines
            .iter()
            .enumerate()
            .map(|(number, line)| {
                let stamp = if kind < STAMPS { stamp(kind, number) } else { String::new() };
                format!("{stamp}{line}\r\n")
            })
            .collect();
        let (clean, other) = (report(text.as_bytes()), report(log.as_bytes()));
        prop_assert_eq!(other, clean, "{}\n{}", name, log);
    }
}
