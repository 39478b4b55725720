//! The journal: one structured entry per event, with a fixed message id for tools
//! and the catalog.

mod event;
mod events_file;
mod logger;
mod rate_limit;
mod writer;

pub use event::Event;
pub use events_file::{EventsFile, MAX_TOTAL_BYTES};
pub use logger::{attach_events_file, flush, install};

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use log::{Level, Record};

/// Longest value of a field, in bytes.
const MAX_FIELD_BYTES: usize = 256;

/// Why nothing can be written, by the last event that said so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DiskTrouble {
    Full,
    ReadOnly,
}

/// What [`Event::DiskFull`] or [`Event::DiskReadOnly`] said, until [`Event::DiskRecovered`].
pub fn disk_trouble() -> Option<DiskTrouble> {
    *DISK_TROUBLE.lock().unwrap_or_else(PoisonError::into_inner)
}

static DISK_TROUBLE: Mutex<Option<DiskTrouble>> = Mutex::new(None);

/// An error with its causes, on one line: `what: why: why of that`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// An event being described; [`Entry::say`] writes it.
#[derive(Debug)]
#[must_use = "an entry is written by `say`"]
pub struct Entry {
    event: Event,
    level: Level,
    fields: Vec<(&'static str, String)>,
    about: Option<String>,
    is_limited: bool,
}

impl Event {
    /// Begins an entry of this event.
    pub fn entry(self) -> Entry {
        Entry {
            event: self,
            level: self.level(),
            fields: vec![("MESSAGE_ID", self.message_id().to_owned())],
            about: None,
            is_limited: self.is_limited(),
        }
    }
}

impl Entry {
    /// `DEVICE_KEY`
    pub fn device(self, key: &impl Display) -> Self {
        self.field("DEVICE_KEY", key)
    }

    /// `MODEL_CODE`
    pub fn model(self, code: &impl Display) -> Self {
        self.field("MODEL_CODE", code)
    }

    /// `FIRMWARE_VERSION`
    pub fn version(self, version: &impl Display) -> Self {
        self.field("FIRMWARE_VERSION", version)
    }

    /// `COREDUMP_ID`
    pub fn coredump(self, id: &impl Display) -> Self {
        self.field("COREDUMP_ID", id)
    }

    /// `FINGERPRINT`
    pub fn fingerprint(self, fingerprint: &impl Display) -> Self {
        self.field("FINGERPRINT", fingerprint)
    }

    /// `SERIAL_PORT`
    pub fn port(self, port: &impl Display) -> Self {
        self.field("SERIAL_PORT", port)
    }

    /// `CORRELATION_ID`
    pub fn correlation(self, id: &impl Display) -> Self {
        self.field("CORRELATION_ID", id)
    }

    /// `ACTOR`: who caused a change, such as `uid 1000` or `token 1a2b3c4d`.
    pub fn actor(self, actor: &impl Display) -> Self {
        self.field("ACTOR", actor)
    }

    /// Whom it is about where no device is known, such as a peer's address:
    /// what repeats is limited for each apart, so that one hides no other.
    pub fn about(mut self, whom: &impl Display) -> Self {
        self.about = Some(whom.to_string());
        self
    }

    /// Limits an event that is not limited usually, as if all that is said like this were
    /// about `whom`.
    pub fn limited(mut self, whom: &impl Display) -> Self {
        self.is_limited = true;
        self.about(whom)
    }

    /// Another level than the event's usual one.
    pub fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// A field, if there is a value for it.
    pub fn maybe<T: Display>(self, name: &'static str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.field(name, &value),
            None => self,
        }
    }

    fn field(mut self, name: &'static str, value: &impl Display) -> Self {
        let mut text = value.to_string();
        let mut end = text.len().min(MAX_FIELD_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        self.fields.push((name, text));
        self
    }

    /// Writes the entry, with `message` as its text for people.
    pub fn say(self, message: impl Display) {
        let disk_trouble = match self.event {
            Event::DiskFull => Some(Some(DiskTrouble::Full)),
            Event::DiskReadOnly => Some(Some(DiskTrouble::ReadOnly)),
            Event::DiskRecovered => Some(None),
            _ => None,
        };
        if let Some(trouble) = disk_trouble {
            *DISK_TROUBLE.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        }
        let swallowed = match self.is_limited {
            true => rate_limit::admit(self.event, self.about.as_deref(), &self.fields),
            false => Some(0),
        };
        let Some(swallowed) = swallowed else {
            return;
        };
        let text = match swallowed {
            0 => message.to_string(),
            count => format!("{message} ({count} similar messages suppressed)"),
        };
        log::logger().log(
            &Record::builder()
                .level(self.level)
                .target("espgate")
                .key_values(&self.fields.as_slice())
                .args(format_args!("{text}"))
                .build(),
        );
    }
}
