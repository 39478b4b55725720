//! The task watchdog's warnings, as `task_wdt.c` of ESP-IDF 4 to 6 prints them.

use super::tests::{AT, crash, image, panics, text};
use super::*;

const WARNING: &str = "\
E (10307) task_wdt: Task watchdog got triggered. The following tasks/users did not reset the watchdog in time:
E (10307) task_wdt:  - IDLE0 (CPU 0)
E (10307) task_wdt: Tasks currently running:
E (10307) task_wdt: CPU 0: main
";
const BACKTRACE: &str = "\
E (10307) task_wdt: Print CPU 0 (current core) backtrace


Backtrace: 0x400d5fea:0x3ffb0e80 0x400d6012:0x3ffb0ea0

";

const REGISTERS: &str = "\
E (10307) task_wdt: Print CPU 0 (current core) registers
Core  0 register dump:
MEPC    : 0x42001f0a  RA      : 0x42001f0a  SP      : 0x3fc92e40  GP      : 0x3fc8ae00
MSTATUS : 0x00001881  MTVEC   : 0x40380001  MCAUSE  : 0x00000000  MTVAL   : 0x00000000
Stack memory:
3fc92e40: 0x00000001 0x42001f0a 0x00000000 0xa5a5a5a5
";

fn count(events: &[Event], kind: fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| kind(event)).count()
}

#[test]
fn a_watchdog_that_only_warns_is_no_crash() {
    let mut console = Console::new(Settings::default());
    let mut events = Vec::new();
    for round in 0..40 {
        events.extend(console.feed(WARNING.as_bytes(), AT(round * 5)));
        events.extend(console.feed(BACKTRACE.as_bytes(), AT(round * 5)));
        events.extend(console.feed(b"I (10310) app: still alive\n", AT(round * 5 + 1)));
    }
    // a restart soon after is none either
    events.extend(console.feed(b"rst:0x1 (POWERON_RESET),boot:0x13 (SPI)\n", AT(200)));
    events.extend(console.finish());
    assert!(panics(&events).is_empty());
    assert_eq!(count(&events, |e| matches!(e, Event::PanicBegan(_))), 0);
    assert_eq!(count(&events, |e| *e == Event::WatchdogWarned), 1);
    assert_eq!(
        count(
            &events,
            |e| matches!(e, Event::Line(line) if line.contains("IDLE0"))
        ),
        40
    );
}

#[test]
fn registers_that_were_asked_for_are_no_crash() {
    let by_application = &REGISTERS[REGISTERS.find("Print").unwrap()..];
    for (name, printed) in [
        ("a warning", [WARNING, REGISTERS].concat()),
        ("the application", by_application.to_owned()),
        ("both cores", [WARNING, REGISTERS, REGISTERS].concat()),
        ("again and again", [WARNING, REGISTERS].concat().repeat(20)),
    ] {
        for recorded in [false, true] {
            let mut console = Console::new(Settings {
                recorded,
                ..Settings::default()
            });
            let mut events = console.feed(b"I (1) app: before\n", AT(1));
            events.extend(console.feed(printed.as_bytes(), AT(2)));
            assert_eq!(panics(&events).len(), 0, "{name}");
            // what follows on a log line is nobody's answer
            let rest = b"I (10400) app: on\nCore  0 register dump:\nMEPC    : 0x42009e2c\n";
            events.extend(console.feed(rest, AT(3)));
            events.extend(console.finish());
            assert_eq!(panics(&events).len(), 1, "{name}");
        }
    }
}

#[test]
fn a_panic_after_a_warning_is_one_crash() {
    let assert = "assert failed: pump_run pump.c:31 (level < 9)\n\
        abort() was called at PC 0x400d66b9 on core 0\n\nBacktrace: 0x1:0x2\n\nRebooting...\n";
    for warned in [BACKTRACE, REGISTERS] {
        for between in ["", "I (10900) app: on\n"] {
            let printed = [WARNING, warned, between, assert].concat();
            let events = events_in(printed.as_bytes());
            assert_eq!(panics(&events).len(), 1, "{printed}");
        }
    }
}

#[test]
fn a_watchdog_that_panics_is_one_record_from_its_first_line_on() {
    let abort = "abort() was called at PC 0x400d66b9 on core 0\n";
    let end = "ELF file SHA256: 1b43c5e74\n\nRebooting...\n";
    let aborting = "E (10307) task_wdt: Aborting.\n";
    for (name, rest) in [
        ("4.x", [aborting, abort, "\nBacktrace: 0x1:0x2\n", end]),
        ("5.x", [aborting, BACKTRACE, "", end]),
        ("the other core", [BACKTRACE, aborting, BACKTRACE, end]),
        ("its line was damaged", ["E task_#\n", BACKTRACE, "", end]),
        ("silent reboot", [aborting, "", "", ""]),
    ] {
        let printed = [&[WARNING], rest.as_slice()].concat().concat();
        let mut console = Console::new(Settings::default());
        let mut events = console.feed(b"I (1) app: before\n", AT(1));
        events.extend(console.feed(printed.as_bytes(), AT(2)));
        events.extend(console.feed(b"rst:0xc (SW_CPU_RESET),boot:0x13 (SPI)\n", AT(3)));
        events.extend(console.finish());
        let told = panics(&events);
        assert_eq!(told.len(), 1, "{name}");
        assert_eq!(told[0].log.before, ["I (1) app: before"], "{name}");
        let lines: Vec<&str> = told[0].text.lines().collect();
        assert!(lines[0].contains("Task watchdog got triggered"), "{name}");
        assert!(lines[1].contains("- IDLE0"), "{name}");
        assert!(
            printed.trim_end().ends_with(lines[lines.len() - 1]),
            "{name}"
        );
        let began = count(
            &events,
            |e| matches!(e, Event::PanicBegan(line) if line.contains("Task watchdog")),
        );
        assert_eq!(
            (began, events.contains(&Event::WatchdogWarned)),
            (1, false),
            "{name}"
        );
    }
}

#[test]
fn a_watchdogs_panic_and_its_dump_are_one_record() {
    let mut lines = crash(&image(700));
    lines.remove(0);
    let printed = [WARNING.as_bytes(), &text(&lines)].concat();
    let events = events_in(&printed);
    assert!(panics(&events).is_empty());
    let dumps = dumps_in(&printed);
    assert_eq!(dumps.len(), 1);
    let panic = dumps[0].panic.as_deref().unwrap();
    assert!(
        panic.starts_with("E (10307) task_wdt: Task watchdog"),
        "{panic}"
    );
}
