//! What is shown and kept of the lines around crashes.

use super::tests::{AT, crash, image, panics, text};
use super::*;

const RESET: &[u8] = b"rst:0xc (SW_CPU_RESET),boot:0x13 (SPI)\r\n";

fn shown(events: &[Event]) -> Vec<&str> {
    let mut lines = Vec::new();
    for event in events {
        if let Event::Line(line) = event {
            lines.push(line.as_str());
        }
    }
    lines
}

fn dumps(events: &[Event]) -> Vec<&Dump> {
    let mut found = Vec::new();
    for event in events {
        if let Event::Dump(dump) = event {
            found.push(dump.as_ref());
        }
    }
    found
}

#[test]
fn a_dump_that_nobody_saw_begin_is_one_line_of_the_log() {
    let lines = crash(&image(7000));
    let joined = text(&lines[30..]);
    let events = events_in(&[b"I (1) a: b\n", joined.as_slice(), RESET].concat());
    assert!(dumps(&events).is_empty());
    let left_out = lines.len() - 30 - 3;
    let note = format!("[{left_out} lines of a coredump left out]");
    assert_eq!(shown(&events)[..2], ["I (1) a: b", note.as_str()]);
}

#[test]
fn the_rest_of_a_dump_that_was_given_up_is_no_log() {
    let lines = crash(&image(7000));
    let settings = Settings {
        max_dump_bytes: 2000,
        ..Settings::default()
    };
    let mut console = Console::new(settings);
    let mut events = console.feed(&text(&lines), AT(1));
    events.extend(console.finish());
    let after = &dumps(&events)[0].log.after;
    assert!(
        after[0].ends_with("lines of a coredump left out]"),
        "{after:?}"
    );
    assert_eq!(after.len(), 3, "{after:?}");

    let mut console = Console::new(Settings::default());
    let (first, rest) = lines.split_at(30);
    let mut events = console.feed(&text(first), AT(1));
    events.extend(console.feed(&text(rest), AT(20)));
    assert_eq!(dumps(&events).len(), 1);
    let end = shown(&events).split_off(3);
    assert_eq!(
        end[0],
        format!("[{} lines of a coredump left out]", rest.len() - 3)
    );
    assert_eq!(end[3], "Rebooting...");
    // the next crash is captured as ever
    let image = image(700);
    let events = console.feed(&text(&crash(&image)), AT(21));
    assert!(dumps(&events)[0].complete && dumps(&events)[0].bytes == image);
}

#[test]
fn a_panics_log_goes_on_behind_it() {
    let printed = "I (1) a: before\nabort() was called at PC 0x42009351 on core 0\n\
                   I (2) wifi: other core\nRebooting...\nwhat the next one prints\n";
    let events = events_in(&[printed.as_bytes(), RESET].concat());
    let told = panics(&events);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].log.before, ["I (1) a: before"]);
    assert!(told[0].text.ends_with("core 0\nRebooting...\n"));
    assert_eq!(
        told[0].log.after,
        ["I (2) wifi: other core", "what the next one prints"]
    );
}

#[test]
fn a_board_that_survives_a_panic_does_not_fill_the_memory() {
    let mut console = Console::new(Settings::default());
    let mut events = console.feed(b"assert failed: f x.c:1 (y)\n", AT(1));
    for line in 0..1000 {
        events.extend(console.feed(format!("I ({line}) a: b\n").as_bytes(), AT(1)));
    }
    let told = panics(&events);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].log.after.len(), Settings::default().log_lines);
}

#[test]
fn a_secret_is_masked_wherever_its_line_goes() {
    let printed = "psk=hunter2 a\nabort() was called at PC 0x1 key=hunter2\npsk: hunter2\n\
                   I (1) a: token is hunter2\n-----BEGIN PRIVATE KEY-----\nhunter2\n\
                   -----END PRIVATE KEY-----\n";
    let long = format!("{}password=hunter2\n", "x".repeat(4096 - 5));
    let events = events_in(&[printed.as_bytes(), long.as_bytes()].concat());
    assert!(!format!("{events:?}").contains("hunter2"), "{events:?}");
    assert_eq!(panics(&events).len(), 1);
}

#[test]
fn a_key_block_ends_where_a_panic_begins() {
    let events = events_in(
        b"-----BEGIN PRIVATE KEY-----\nMIIE\nabort() was called at PC 0x1\nBacktrace: 0x1:0x2\n",
    );
    assert_eq!(panics(&events)[0].text.lines().count(), 2);
    assert!(panics(&events)[0].text.contains("0x1:0x2"));
}

#[test]
fn an_open_console_can_be_reconfigured() {
    let mut console = Console::new(Settings::default());
    console.feed(b"I (1) a: b\n", AT(1));
    console.reconfigure(Settings {
        masks: Masks::with(["pin".parse().unwrap()]),
        max_dump_bytes: 100,
        log_lines: 1,
        ..Settings::default()
    });
    assert_eq!(
        shown(&console.feed(b"my pin: 1234\n", AT(2))),
        ["my pin: ***"]
    );
    let mut events = console.feed(&text(&crash(&image(700))), AT(3));
    events.extend(console.finish());
    let dump = dumps(&events)[0];
    assert_eq!(dump.log.before.len(), 1);
    let problem = dump.problems.last().unwrap();
    assert_eq!(problem, "longer than the size limit");
}

fn recorded(text: &str) -> Vec<Event> {
    let mut console = Console::new(Settings::recording());
    let mut events = console.feed(text.as_bytes(), AT(1));
    events.extend(console.finish());
    events
}

#[test]
fn what_people_write_of_a_panic_is_none() {
    let headline =
        "Guru Meditation Error: Core  1 panic'ed (StoreProhibited). Exception was unhandled.\n";
    let told = "My pump stops with this message since we changed the valve.\n";
    let rest = "Core  1 register dump:\nPC      : 0x400d1a2e  PS      : 0x00060b30\nRebooting...\n";
    let table = "| Guru Meditation Error: Core  1 panic'ed (StoreProhibited) | a bad pointer |\n";
    for (text, count) in [
        ([headline, told].concat(), 0),
        ([table, table].concat(), 0),
        (
            [headline, "Hello,\n", told, "ets Jul 29 2019 12:21:46\n"].concat(),
            0,
        ),
        ([headline, told, rest].concat(), 1),
        ([headline, "level 3, 1200 rpm\n"].concat(), 1),
        (
            [headline, told, "ets Jul 29 2019 12:21:46\n", headline, rest].concat(),
            1,
        ),
    ] {
        assert_eq!(panics(&recorded(&text)).len(), count, "{text}");
    }
}

#[test]
fn a_panic_of_the_dumps_writer_belongs_to_the_dump() {
    let lines = crash(&image(700));
    let half = text(&lines[..lines.len() / 2]);
    let panic = "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\n\
        Core  0 register dump:\nPC      : 0x400d1a2e  PS      : 0x00060b30\n\
        Backtrace: 0x400d1a2b:0x3ffb4f70\nRebooting...\n";
    let events = events_in(&[half.as_slice(), panic.as_bytes()].concat());
    assert!(panics(&events).is_empty());
    let found = dumps(&events);
    assert_eq!(found.len(), 1);
    assert!(!found[0].complete);
    assert!(
        found[0]
            .log
            .after
            .iter()
            .any(|line| line.contains("LoadProhibited"))
    );
}

#[test]
fn a_panic_that_prints_more_than_is_kept_still_ends() {
    let headline = "abort() was called at PC 0x400d66b9 on core 0\nBacktrace: 0x400d66b6\n";
    let many = "0x4\n".repeat(40_000);
    let again = "Rebooting...\nets Jul 29 2019 12:21:46\n";
    let events = recorded(&[headline, &many, again, headline].concat());
    let told = panics(&events);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].problems.len(), 1);
}
