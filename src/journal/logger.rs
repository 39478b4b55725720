//! Log output: to journald if started by systemd, else to standard error; events
//! also to the events file. Both are written by threads of their own, so that
//! logging does not wait for a slow card or journal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use log::kv::{Key, VisitSource, VisitValue};
use log::{Level, LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use super::Event;
use super::events_file::{EventsFile, Line};
use super::writer::Writer;
use crate::clock;

enum Sink {
    Journal(JournalLog),
    Terminal,
    Plain,
}

struct Logger {
    sink: Writer<Said>,
    events: Mutex<Option<Writer<Line>>>,
}

/// A record that outlives its call.
struct Said {
    level: Level,
    target: String,
    module: Option<&'static str>,
    file: Option<&'static str>,
    line: Option<u32>,
    message: String,
    pairs: Vec<(String, String)>,
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
        sink: Writer::begin(move |said: Said, dropped| said.write(&sink, dropped)),
        events: Mutex::default(),
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
pub fn attach_events_file(mut file: EventsFile) {
    if let Some(logger) = LOGGER.get() {
        let writer = Writer::begin(move |line: Line, dropped| file.write(&line, dropped));
        *logger.events() = Some(writer);
    }
}

/// Waits until all entries are written, at most `patience`.
pub fn flush(patience: Duration) {
    if let Some(logger) = LOGGER.get() {
        logger.sink.flush(patience / 2);
        if let Some(events) = logger.events().as_ref() {
            events.flush(patience / 2);
        }
    }
}

impl Logger {
    fn events(&self) -> MutexGuard<'_, Option<Writer<Line>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
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
        let said = Said::of(record);
        if let Some(event) = said.event()
            && let Some(events) = self.events().as_ref()
        {
            let fields = said.pairs.iter().filter(|(name, _)| name != MESSAGE_ID);
            events.push(Line::of(event, said.level, &said.message, fields));
        }
        self.sink.push(said);
    }

    fn flush(&self) {}
}

impl Said {
    fn of(record: &Record<'_>) -> Self {
        let mut pairs = Pairs::default();
        // The visitor below never fails.
        let _ = record.key_values().visit(&mut pairs);
        Self {
            level: record.level(),
            target: record.target().to_owned(),
            module: record.module_path_static(),
            file: record.file_static(),
            line: record.line(),
            message: record.args().to_string(),
            pairs: pairs.0,
        }
    }

    fn event(&self) -> Option<Event> {
        let id = self.pairs.iter().find(|(name, _)| name == MESSAGE_ID);
        Event::from_message_id(&id?.1)
    }

    fn write(&self, sink: &Sink, dropped: u64) {
        if dropped > 0 {
            let message = format!("{dropped} journal entries dropped: journal too slow");
            let note = Self {
                level: Level::Warn,
                target: String::from("espgate"),
                module: None,
                file: None,
                line: None,
                message,
                pairs: Vec::new(),
            };
            note.write(sink, 0);
        }
        match sink {
            Sink::Journal(journal) => {
                if self.send(journal).is_err() {
                    write_line(self.level, &self.message, false);
                }
            }
            Sink::Terminal => write_line(self.level, &self.message, true),
            Sink::Plain => write_line(self.level, &self.message, false),
        }
    }

    fn send(&self, journal: &JournalLog) -> io::Result<()> {
        journal.journal_send(
            &Record::builder()
                .level(self.level)
                .target(&self.target)
                .module_path_static(self.module)
                .file_static(self.file)
                .line(self.line)
                .key_values(&self.pairs.as_slice())
                .args(format_args!("{}", self.message))
                .build(),
        )
    }
}

fn write_line(level: Level, message: &str, with_time: bool) {
    let mut line = String::new();
    if with_time {
        let now = clock::iso8601(clock::wall());
        line.push_str(now.get(11..19).unwrap_or_default());
        line.push(' ');
    }
    match level {
        Level::Error => line.push_str("error: "),
        Level::Warn => line.push_str("warning: "),
        Level::Info => {}
        Level::Debug => line.push_str("debug: "),
        Level::Trace => line.push_str("trace: "),
    }
    line.push_str(&crate::printable::escaped(message));
    line.push('\n');
    // Nothing can be done about a closed standard error.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// The key-values of a record.
#[derive(Default)]
struct Pairs(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
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
        self.0.push((key.as_str().to_owned(), text.0));
        Ok(())
    }
}

const MESSAGE_ID: &str = "MESSAGE_ID";
