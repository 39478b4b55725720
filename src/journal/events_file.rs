//! `events/YYYY-MM.jsonl`: every event, one JSON object a line. Journals of
//! many gateways live in memory only; this file survives a reboot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use log::Level;
use serde_json::{Map, Value};

use super::Event;
use crate::clock;

/// What all months together may hold.
pub const MAX_TOTAL_BYTES: u64 = 16 * 1024 * 1024;
/// A month that grows past this continues in a second file, so that the oldest
/// part of a noisy month can go without the newest.
const MAX_FILE_BYTES: u64 = MAX_TOTAL_BYTES / 8;

/// One event as it is written.
#[derive(Debug)]
pub(super) struct Line {
    /// Such as `2026-11`.
    month: String,
    bytes: Vec<u8>,
}

impl Line {
    /// The line of an event that happens now.
    pub(super) fn of<'a>(
        event: Event,
        level: Level,
        message: &str,
        fields: impl Iterator<Item = &'a (String, String)>,
    ) -> Self {
        let now = clock::iso8601(clock::wall());
        let mut object = Map::new();
        object.insert("time".into(), now.as_str().into());
        object.insert("event".into(), event.name().into());
        object.insert("message_id".into(), event.message_id().into());
        object.insert("level".into(), level.as_str().to_ascii_lowercase().into());
        object.insert("message".into(), message.into());
        for (name, value) in fields {
            object.insert(name.to_ascii_lowercase(), value.as_str().into());
        }
        let mut bytes = Value::Object(object).to_string().into_bytes();
        bytes.push(b'\n');
        let month = now.get(..7).unwrap_or("0000-00").to_owned();
        Self { month, bytes }
    }
}

/// The folder of event files, open at the current month.
#[derive(Debug)]
pub struct EventsFile {
    folder: PathBuf,
    month: String,
    file: Option<File>,
    written: u64,
}

impl EventsFile {
    /// Events go below `folder`, which exists.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            month: String::new(),
            file: None,
            written: 0,
        }
    }

    /// Appends one event. A failure is silent: the journal has the event, and
    /// a full disk must not stop what the event is about.
    pub(super) fn write(&mut self, line: &Line, dropped: u64) {
        if dropped > 0 {
            log::warn!("{dropped} events missing from the events file: storage too slow");
        }
        let _ = self.append(&line.month, &line.bytes);
    }

    fn append(&mut self, month: &str, line: &[u8]) -> io::Result<()> {
        if self.file.is_none() || self.month != month || self.written > MAX_FILE_BYTES {
            self.open(month)?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(line)?;
            self.written += line.len() as u64;
        }
        Ok(())
    }

    fn open(&mut self, month: &str) -> io::Result<()> {
        self.file = None;
        self.make_room()?;
        // 2026-11.jsonl, then 2026-11.1.jsonl, ...
        let (path, size) = (0..1000)
            .map(|part| {
                let path = self.folder.join(match part {
                    0 => format!("{month}.jsonl"),
                    part => format!("{month}.{part}.jsonl"),
                });
                let size = fs::metadata(&path).map_or(0, |m| m.len());
                (path, size)
            })
            .find(|(_, size)| *size <= MAX_FILE_BYTES)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)?;
        self.file = Some(file);
        self.written = size;
        self.month = month.to_owned();
        Ok(())
    }

    /// Removes the files written longest ago until a new one fits.
    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(".jsonl") {
                let data = entry.metadata()?;
                files.push((data.modified()?, entry.path(), data.len()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, _, size)| size).sum();
        for (_, path, size) in files {
            if total + MAX_FILE_BYTES <= MAX_TOTAL_BYTES {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(folder: &Path) -> u64 {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum()
    }

    #[test]
    fn an_event_is_one_json_line_with_its_fields() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventsFile::new(folder.path());
        let fields = [(String::from("DEVICE_KEY"), String::from("k1"))];
        let line = Line::of(
            Event::CoredumpStored,
            Level::Info,
            "stored\n\"it\"",
            fields.iter(),
        );
        events.write(&line, 0);
        let path = fs::read_dir(folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["event"], "CoredumpStored");
        assert_eq!(value["device_key"], "k1");
        assert_eq!(value["message"], "stored\n\"it\"");
    }

    #[test]
    fn the_folder_stays_below_its_limit_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventsFile::new(folder.path());
        let line = vec![b'x'; 512 * 1024];
        for month in 1..=12 {
            for _ in 0..5 {
                events.append(&format!("2026-{month:02}"), &line).unwrap();
            }
            assert!(total(folder.path()) <= MAX_TOTAL_BYTES + line.len() as u64);
        }
        assert!(folder.path().join("2026-12.jsonl").exists());
        assert!(!folder.path().join("2026-01.jsonl").exists());
    }
}
