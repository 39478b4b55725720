use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

pub(super) const AT: fn(u64) -> Duration = Duration::from_secs;

/// An image as ESP-IDF 5.3 writes it: header 0.1.2, an ELF's first bytes, CRC.
pub(super) fn image(size: usize) -> Vec<u8> {
    let total = 24 + size + 4;
    let mut image = u32::try_from(total).unwrap().to_le_bytes().to_vec();
    image.extend(0x0005_0102_u32.to_le_bytes());
    image.resize(24, 0);
    let elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x04\0\xf3\0\x01\0\0\0";
    image.extend(
        elf.iter()
            .copied()
            .chain((0..).map(|n: u32| (n * 7 + n / 48).to_le_bytes()[0]))
            .take(size),
    );
    image.extend(crc32fast::hash(&image).to_le_bytes());
    image
}

fn base64_lines(image: &[u8]) -> Vec<String> {
    let (header, rest) = image.split_at(24);
    let (data, checksum) = rest.split_at(rest.len() - 4);
    let pieces = [header]
        .into_iter()
        .chain(data.chunks(48))
        .chain([checksum]);
    pieces.map(|piece| STANDARD.encode(piece)).collect()
}

/// A panic and its dump as `esp_core_dump_uart.c` prints them.
pub(super) fn crash(image: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = vec![
        "abort() was called at PC 0x42009351 on core 0".to_owned(),
        "I (238) esp_core_dump_uart: Press Enter to print core dump to UART...".to_owned(),
        "================= CORE DUMP START =================".to_owned(),
    ];
    lines.extend(base64_lines(image));
    lines.push("================= CORE DUMP END =================".to_owned());
    let (_, stored) = image.split_at(image.len() - 4);
    let number = u32::from_le_bytes(stored.try_into().unwrap());
    lines.push(format!("Coredump checksum='{number:08x}'"));
    lines.push("Rebooting...".to_owned());
    lines
}

pub(super) fn text(lines: &[String]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_bytes(), b"\r\n"])
        .flatten()
        .copied()
        .collect()
}

fn only_dump(bytes: &[u8]) -> Dump {
    let mut dumps = dumps_in(bytes);
    assert_eq!(dumps.len(), 1, "{dumps:?}");
    dumps.remove(0)
}

pub(super) fn panics(events: &[Event]) -> Vec<&Panic> {
    let mut found = Vec::new();
    for event in events {
        if let Event::Panic(panic) = event {
            found.push(panic.as_ref());
        }
    }
    found
}

#[test]
fn a_dump_is_captured_in_chunks_of_any_size() {
    let image = image(700);
    let printed = text(&crash(&image));
    for size in [1, 2, 63, 64, 65, 4096] {
        let mut console = Console::new(Settings::default());
        let events: Vec<Event> = printed
            .chunks(size)
            .flat_map(|chunk| console.feed(chunk, AT(1)))
            .collect();
        let dumps: Vec<&Dump> = events
            .iter()
            .filter_map(|event| {
                if let Event::Dump(dump) = event {
                    Some(dump.as_ref())
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(dumps.len(), 1, "{size}");
        assert!(dumps[0].complete && dumps[0].bytes == image && dumps[0].problems.is_empty());
        assert!(panics(&events).is_empty(), "one crash is one record");
        assert_eq!(
            events
                .iter()
                .filter(|event| **event == Event::AnswerPrompt)
                .count(),
            1
        );
        assert!(
            dumps[0]
                .panic
                .as_deref()
                .unwrap()
                .starts_with("abort() was called")
        );
        assert_eq!(dumps[0].log.after.last().unwrap(), "Rebooting...");
    }
}

#[test]
fn noise_around_the_base64_lines_does_not_break_a_dump() {
    let image = image(700);
    type Damage = fn(&mut Vec<String>);
    let damages: [(&str, Damage); 13] = [
        ("log line", |lines| {
            lines.insert(6, "\x1b[0;32mI (9) wifi: up\x1b[0m".to_owned())
        }),
        ("nul bytes", |lines| lines[6].push_str("\0\0")),
        ("colour", |lines| lines[6].insert_str(0, "\x1b[0m")),
        ("a word that is base64", |lines| {
            lines.insert(9, "done".to_owned())
        }),
        ("a line that came twice", |lines| {
            lines.insert(9, lines[9].clone())
        }),
        ("a lost checksum line", |lines| {
            drop(lines.remove(lines.len() - 4))
        }),
        ("a lost end marker", |lines| {
            drop(lines.remove(lines.len() - 3))
        }),
        ("a lost start marker", |lines| drop(lines.remove(2))),
        ("a lost header line", |lines| drop(lines.remove(3))),
        ("a log line before it, without its end", |lines| {
            lines[9].insert_str(0, LOG)
        }),
        ("a log line within it", |lines| {
            lines[9].insert_str(21, &format!("{LOG}\r\n"))
        }),
        ("a log line within it, without its end", |lines| {
            lines[9].insert_str(21, LOG)
        }),
        ("a log line that ends with a hash", |lines| {
            lines.insert(9, format!("{LOG}: {}", "5ca1ab1e".repeat(8)))
        }),
    ];
    for (name, damage) in damages {
        let mut lines = crash(&image);
        damage(&mut lines);
        let dump = only_dump(&text(&lines));
        assert!(
            dump.complete && dump.bytes == image,
            "{name}: {:?}",
            dump.problems
        );
    }
}

const LOG: &str = "I (12) wifi: hello there";

#[test]
fn a_damaged_dump_says_what_is_wrong_and_keeps_its_offsets() {
    let image = image(700);
    let mut lines = crash(&image);
    lines[6].replace_range(4..5, "#");
    let dump = only_dump(&text(&lines));
    assert!(!dump.complete);
    assert_eq!(dump.bytes.len(), image.len());
    assert_eq!(
        dump.problems,
        ["1 of 17 lines damaged", "checksum mismatch"]
    );

    let mut lines = crash(&image);
    lines.drain(9..11);
    let dump = only_dump(&text(&lines));
    assert_eq!(
        (dump.complete, dump.problems),
        (false, vec!["received 632 of 728 bytes".to_owned()])
    );
}

#[test]
fn a_dump_without_its_header_never_passes_for_a_bare_elf() {
    let mut lines = crash(&image(700));
    lines.remove(7);
    lines.remove(3);
    let dump = only_dump(&text(&lines));
    assert!(!dump.complete);
    assert!(!dump.bytes.starts_with(b"\x7fELF"));
}

#[test]
fn a_dump_ends_with_a_reboot_a_new_start_silence_the_limit_or_the_port() {
    let lines = crash(&image(700));
    let cut = text(&lines[..9]);
    let boot = b"ESP-ROM:esp32c3-api1-20210207\r\nrst:0x1 (POWERON),boot:0x8 (SPI)\r\n";
    type End<'a> = &'a dyn Fn(&mut Console) -> Vec<Event>;
    let ends: [(&str, &str, End<'_>); 4] = [
        ("reboot", "the board restarted", &|console| {
            console.feed(boot, AT(1))
        }),
        ("new start", "another dump began", &|console| {
            console.feed(&text(&lines[2..3]), AT(1))
        }),
        ("silence", "no further data received", &|console| {
            console.tick(console.deadline().unwrap())
        }),
        ("port", "port disconnected", &Console::finish),
    ];
    for (name, problem, end) in ends {
        let mut console = Console::new(Settings::default());
        console.feed(&cut, AT(1));
        let events = end(&mut console);
        let dump = events.iter().find_map(|event| {
            if let Event::Dump(dump) = event {
                Some(dump)
            } else {
                None
            }
        });
        let dump = dump.expect(name);
        assert_eq!(dump.problems.last().unwrap(), problem);
        assert_eq!(dump.bytes.len(), 24 + 5 * 48);
    }
    let mut console = Console::new(Settings {
        max_dump_bytes: 100,
        ..Settings::default()
    });
    let mut events = console.feed(&text(&lines), AT(1));
    events.extend(console.finish());
    let dump = events.iter().find_map(|event| {
        if let Event::Dump(dump) = event {
            Some(dump)
        } else {
            None
        }
    });
    assert_eq!(
        dump.unwrap().problems.last().unwrap(),
        "longer than the size limit"
    );
}

#[test]
fn a_panic_without_a_dump_is_told_once_it_is_over() {
    let panic = "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\n\
                 Backtrace: 0x400d1234:0x3ffb0000\n\nRebooting...\n";
    let mut console = Console::new(Settings::default());
    let events = console.feed(b"I (1) main: psk=hunter2\n", AT(0));
    assert_eq!(events, [Event::Line("I (1) main: psk=***".to_owned())]);
    assert!(panics(&console.feed(panic.as_bytes(), AT(1))).is_empty());
    let events = console.feed(b"rst:0xc (SW_CPU_RESET),boot:0x13 (SPI)\n", AT(2));
    let told = panics(&events);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].text.lines().count(), 3);
    assert_eq!(told[0].log.before, ["I (1) main: psk=***"]);

    // and by silence, with a start marker behind which nothing came
    console.feed(
        panic
            .replace("Rebooting...", "=== CORE DUMP START ===")
            .as_bytes(),
        AT(3),
    );
    let end = console.deadline().unwrap();
    assert_eq!(panics(&console.tick(end)).len(), 1);
    assert_eq!(console.deadline(), None);
}

#[test]
fn boots_are_told_once_with_what_the_banner_says() {
    let banner = "ets Jul 29 2019 12:21:46\r\n\r\nrst:0xf (RTCWDT_BROWN_OUT_RESET),boot:0x12 (SPI)\r\n\
                  I (3) cpu_start: Project name:     demo\r\nI (3) cpu_start: App version:      1.2.3\r\n\
                  I (3) cpu_start: ELF file SHA256:  1b43c5e74...\r\n";
    let mut console = Console::new(Settings::default());
    let mut events = console.feed(banner.as_bytes(), AT(0));
    events.extend(console.tick(AT(9)));
    let boots: Vec<&Boot> = events
        .iter()
        .filter_map(|event| {
            if let Event::Boot(boot) = event {
                Some(boot)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(boots.len(), 1);
    assert!(boots[0].is_brown_out());
    assert_eq!(boots[0].chip.unwrap().name(), "esp32");
    assert_eq!(boots[0].version.as_deref(), Some("1.2.3"));
    assert_eq!(boots[0].app_elf_sha256.as_deref(), Some("1b43c5e74"));

    let resets = b"rst:0x1 (POWERON),boot:0x8\r\nrst:0x3 (SW),boot:0x8\r\n";
    let events = console.feed(resets, AT(10));
    assert_eq!(
        events
            .iter()
            .filter(|event| matches!(event, Event::Boot(_)))
            .count(),
        1
    );
}

#[test]
fn a_prompt_is_answered_before_its_line_ends() {
    let mut console = Console::new(Settings::default());
    let events = console.feed(b"Press Enter to print core dump to UART...", AT(0));
    assert_eq!(events, [Event::AnswerPrompt]);
    let events = console.feed(b" \r\nmore\r\n", AT(1));
    assert!(!events.contains(&Event::AnswerPrompt));
}
