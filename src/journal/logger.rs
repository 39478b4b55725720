//! Where log records go: to journald if it started us, else to standard error;
//! events also to the events file.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use log::kv::{Key, VisitSource, VisitValue};
use log::{Level, LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use super::{Event, EventsFile};

enum Sink {
    Journal(JournalLog),
    Terminal,
    Plain,
}

struct Logger {
    sink: Sink,
    events: Mutex<Option<EventsFile>>,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Installs the logger; a second call does nothing. `ESPGATE_LOG` may name a
/// level (`error` to `trace`); default is `info`.
pub fn install() {
    let sink = if connected_to_journal() {
        JournalLog::empty()
            .map(|journal| Sink::Journal(journal.with_syslog_identifier(String::from("espgate"))))
            .unwrap_or(Sink::Plain)
    } else if io::stderr().is_terminal() {
        Sink::Terminal
    } else {
        Sink::Plain
    };
    let logger = LOGGER.get_or_init(|| Logger {
        sink,
        events: Mutex::new(None),
    });
    if log::set_logger(logger).is_ok() {
        let level = std::env::var("ESPGATE_LOG")
            .ok()
            .and_then(|level| level.parse().ok())
            .unwrap_or(LevelFilter::Info);
        log::set_max_level(level);
    }
}

/// From now on events are also appended to `file`.
pub fn attach_events_file(file: EventsFile) {
    if let Some(logger) = LOGGER.get() {
        *logger.events.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
            && (metadata.target().starts_with("espgate") || metadata.level() <= Level::Warn)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        match &self.sink {
            Sink::Journal(journal) => {
                if journal.journal_send(record).is_err() {
                    write_line(record, false);
                }
            }
            Sink::Terminal => write_line(record, true),
            Sink::Plain => write_line(record, false),
        }
        let fields = Fields::of(record);
        if let Some(event) = fields.event {
            let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = events.as_mut() {
                file.append(
                    event,
                    record.level(),
                    &record.args().to_string(),
                    &fields.pairs,
                );
            }
        }
    }

    fn flush(&self) {}
}

fn write_line(record: &Record<'_>, with_time: bool) {
    let mut line = String::new();
    if with_time {
        let now = crate::clock::iso8601(time::OffsetDateTime::now_utc());
        line.push_str(now.get(11..19).unwrap_or_default());
        line.push(' ');
    }
    match record.level() {
        Level::Error => line.push_str("error: "),
        Level::Warn => line.push_str("warning: "),
        Level::Info => {}
        Level::Debug => line.push_str("debug: "),
        Level::Trace => line.push_str("trace: "),
    }
    line.push_str(&crate::printable::escaped(&record.args().to_string()));
    line.push('\n');
    // Nothing can be done about a closed standard error.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// The key-values of a record that an events file keeps.
#[derive(Default)]
struct Fields {
    event: Option<Event>,
    pairs: Vec<(String, String)>,
}

impl Fields {
    fn of(record: &Record<'_>) -> Self {
        let mut fields = Self::default();
        // The visitor below never fails.
        let _ = record.key_values().visit(&mut fields);
        fields
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(
        &mut self,
        key: Key<'kvs>,
        value: log::kv::Value<'kvs>,
    ) -> Result<(), log::kv::Error> {
        struct Text(String);
        impl VisitValue<'_> for Text {
            fn visit_any(&mut self, value: log::kv::Value<'_>) -> Result<(), log::kv::Error> {
                self.0 = value.to_string();
                Ok(())
            }
        }
        let mut text = Text(String::new());
        value.visit(&mut text)?;
        if key.as_str() == "MESSAGE_ID" {
            self.event = Event::from_message_id(&text.0);
        } else {
            self.pairs.push((key.as_str().to_owned(), text.0));
        }
        Ok(())
    }
}
