//! What an ESP32 prints on its serial console: boots, panics, coredumps.
//!
//! [`Console`] is fed with bytes as they come and answers with [`Event`]s. It
//! holds no port and no clock. Its memory is bounded by [`Settings`]. The
//! texts it knows are ESP-IDF's (`esp_core_dump_uart.c`, `panic.c`,
//! `cpu_start.c`, `app_init`) and the boot ROMs'.

mod babble;
mod boot;
mod capture;
pub mod dialect;
mod frame;
mod history;
mod lines;
mod machine;
mod marks;
mod mask;
mod payload;
mod prefix;
mod recording;
mod redact;
mod sieve;
mod stray;
mod unsummed;
mod whole;

use std::time::Duration;

pub use boot::{Boot, BootFailure};
pub use machine::Console;
pub use mask::{DEFAULT_RULES, InvalidRule, MaskRule, Masks};
pub use recording::Recording;
pub(crate) use recording::is_utf16;
pub(crate) use unsummed::Unsummed;

/// The limits of one console.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The longest dump, in bytes after base64.
    pub max_dump_bytes: usize,
    /// How many lines, and how many bytes of them, are kept from before and
    /// from after a crash.
    pub log_lines: usize,
    pub log_bytes: usize,
    pub masks: Masks,
    /// It is read from a file: nobody watches its lines, and its end is the
    /// file's.
    pub recorded: bool,
}

impl Settings {
    /// What a file is read with.
    pub(crate) fn recording() -> Self {
        Self {
            max_dump_bytes: 8 << 20,
            recorded: true,
            ..Self::default()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_dump_bytes: 1 << 20,
            log_lines: 200,
            log_bytes: 32 << 10,
            masks: Masks::default(),
            recorded: false,
        }
    }
}

/// What happened on a console.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A line of text, cleaned and masked; lines of a dump are not among them.
    Line(String),
    /// A boot, told once its banner is over.
    Boot(Boot),
    /// A panic is being printed; a [`Event::Dump`] or [`Event::Panic`] follows.
    PanicBegan(String),
    Dump(Box<Dump>),
    /// A panic that no dump followed.
    Panic(Box<Panic>),
    /// The task watchdog warned, and no panic followed; told once a boot.
    WatchdogWarned,
    /// The board waits for Enter before it prints its dump.
    AnswerPrompt,
    /// The ROM waits for a flasher: no application runs.
    WaitingForDownload,
    /// The board has saved a dump to its flash.
    FlashSaved,
    /// The board could not save a dump: its partition was overwritten or moved.
    FlashConfigCorrupted,
    /// The supply voltage fell too low.
    BrownOut,
    /// What arrives is no text, likely a wrong baud rate.
    Babble,
    /// What arrives is text again.
    TextAgain,
}

/// The console lines around a crash.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Log {
    /// Up to the dump's first line; a panic's text is among them.
    pub before: Vec<String>,
    /// From within and behind the dump.
    pub after: Vec<String>,
}

impl Log {
    /// The lines as a file; `mark` stands where the dump was.
    pub fn to_text(&self, mark: &str) -> String {
        let lines = self.before.iter().map(String::as_str).chain([mark]);
        let lines = lines.chain(self.after.iter().map(String::as_str));
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}

/// A coredump as it was printed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dump {
    /// The raw image; of a damaged one, what arrived, at its right offset as
    /// far as that can be told.
    pub bytes: Vec<u8>,
    /// Whether the image is all there and its checksum fits.
    pub complete: bool,
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
    /// The checksum that was printed after the dump, in hex.
    pub printed_checksum: Option<String>,
    /// The panic that led to it, if its text was seen.
    pub panic: Option<String>,
    pub boot: Boot,
    pub log: Log,
}

/// A panic that no dump followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Panic {
    /// From the panic's first line to `Rebooting...`.
    pub text: String,
    /// What is missing, one sentence each.
    pub problems: Vec<String>,
    pub boot: Boot,
    /// The lines before the panic, and those of others within and behind it.
    pub log: Log,
}

/// All dumps in a recording of a console, in their order.
pub fn dumps_in(recording: &[u8]) -> Vec<Dump> {
    let dump = |event| match event {
        Event::Dump(dump) => Some(*dump),
        _ => None,
    };
    events_in(recording).into_iter().filter_map(dump).collect()
}

/// All that happens in a recording, as if it came at once.
pub fn events_in(recording: &[u8]) -> Vec<Event> {
    let mut console = Console::new(Settings::default());
    let mut events = console.feed(recording, Duration::ZERO);
    events.extend(console.finish());
    events
}

#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watchdog_tests;
