//! A port's console, byte by byte as it comes.

use std::time::Duration;

use espgate::console::{Console, Event, Log, Settings};

const LINES: usize = 40;
const LOG_BYTES: usize = 4096;
const DUMP_BYTES: usize = 8192;
const PROMPT: &[u8] = b"Press Enter to print core dump to UART...";

/// What a port receives; the first byte is the size of the pieces.
pub fn console(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = captured(bytes.chunks(bytes.len().max(1)));
    let pieces = captured(bytes.chunks(usize::from(*size) + 1));
    // a prompt is acted on before its line is at its end, if it comes alone
    let has_prompt = bytes.windows(PROMPT.len()).any(|window| window == PROMPT);
    if !has_prompt {
        assert_eq!(whole, pieces);
    }
    for event in whole.iter().chain(&pieces) {
        check(event, bytes.len());
    }
}

/// What happens, but for whether the bytes are text at all, which goes by the piece.
fn captured<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut console = Console::new(Settings {
        max_dump_bytes: DUMP_BYTES,
        log_lines: LINES,
        log_bytes: LOG_BYTES,
        ..Settings::default()
    });
    let mut events = Vec::new();
    for piece in pieces {
        events.extend(console.feed(piece, Duration::ZERO));
    }
    // silence ends whatever began
    let mut steps = 0;
    while let Some(deadline) = console.deadline() {
        events.extend(console.tick(deadline));
        steps += 1;
        assert!(steps < 10, "waits without end");
    }
    assert!(!console.is_capturing());
    events.extend(console.finish());
    events.retain(|event| !matches!(event, Event::Babble | Event::TextAgain));
    events
}

fn check(event: &Event, received: usize) {
    match event {
        Event::Line(line) => {
            assert!(line.len() <= 3 * received);
            assert!(!line.contains(['\n', '\u{1b}', '\0']), "{line:?}");
        }
        Event::Dump(dump) => {
            assert!(dump.bytes.len() <= DUMP_BYTES);
            assert!(!dump.complete || !dump.bytes.is_empty());
            check_log(&dump.log);
        }
        Event::Panic(panic) => {
            assert!(!panic.text.is_empty());
            check_log(&panic.log);
        }
        _ => {}
    }
}

fn check_log(log: &Log) {
    for lines in [&log.before, &log.after] {
        assert!(lines.len() <= LINES);
        let bytes: usize = lines.iter().map(String::len).sum();
        assert!(bytes <= LOG_BYTES, "{bytes} bytes of lines");
    }
}
