//! Devices as CSV (RFC 4180), as people keep them in spreadsheets: with a heading, its
//! columns in any order, separated by `,`, `;` or tabs. What is wrong is told with line
//! and column, all of it at once.

use std::fmt;
use std::io;

use csv::{ReaderBuilder, Terminator, WriterBuilder};

use super::devices::checked;
use crate::api::devices::{Change, Device};
use crate::device::{DeviceKey, InvalidName};

/// Largest file, in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Most devices in a file.
const MAX_ROWS: usize = 10_000;
/// Faults that are told; the others are counted.
const MAX_TOLD: usize = 50;
/// Cells that a spreadsheet would calculate. They get a mark in front, which is taken away
/// again when they are read: names and USB serial numbers may come from elsewhere.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', MARK];
const MARK: char = '\'';

/// A column, named as in the heading.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Column {
    Key,
    Model,
    Name,
    Mac,
    UsbSerial,
    Hw,
}

impl Column {
    /// In the order in which they are written.
    const ALL: [Self; 6] = [
        Self::Key,
        Self::Model,
        Self::Name,
        Self::Mac,
        Self::UsbSerial,
        Self::Hw,
    ];

    /// The heading.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Model => "model",
            Self::Name => "name",
            Self::Mac => "mac",
            Self::UsbSerial => "usb_serial",
            Self::Hw => "hw",
        }
    }
}

/// What is wrong, and where. Lines count from 1, which is the heading's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    pub line: u64,
    pub column: Option<Column>,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "line {}, {}: {}", self.line, column.as_str(), self.what),
            None => write!(f, "line {}: {}", self.line, self.what),
        }
    }
}

/// The first faults of a file, and how many there are. Displays as a line each.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    pub told: Vec<Fault>,
    pub count: usize,
}

impl Faults {
    /// Adds one.
    pub fn add(&mut self, line: u64, column: Option<Column>, what: impl Into<String>) {
        self.count += 1;
        if self.told.len() < MAX_TOLD {
            let what = what.into();
            self.told.push(Fault { line, column, what });
        }
    }

    /// `Ok` if there are none.
    ///
    /// # Errors
    /// The faults, in the order of the file.
    pub fn none_or(mut self) -> Result<(), Self> {
        self.told.sort_by_key(|fault| fault.line);
        match self.count {
            0 => Ok(()),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.told.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))?;
        match self.count.saturating_sub(self.told.len()) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// A device as a line gives it. An empty cell is none: it leaves the value as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub line: u64,
    pub key: DeviceKey,
    pub change: Change,
    /// A value of it is wrong, and not in the change.
    pub is_faulty: bool,
}

/// The text of a file; a byte order mark in front is left out.
///
/// # Errors
/// What is too large, or no UTF-8.
pub fn text_of(bytes: &[u8]) -> Result<&str, Faults> {
    let mut faults = Faults::default();
    if bytes.len() > MAX_BYTES {
        faults.add(1, None, "the file is larger than 4 MiB");
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count() as u64;
        faults.add(line, None, "not UTF-8: save the file as \"CSV UTF-8\"");
        ""
    });
    faults.none_or().map(|()| text)
}

/// Reads a file: its rows, and what is wrong by itself. Empty lines are left out.
pub fn parse(text: &str) -> (Vec<Row>, Faults) {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut faults = Faults::default();
    let mut reader = ReaderBuilder::new()
        .delimiter(separator(text))
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut columns: Option<Vec<Option<Column>>> = None;
    let mut lines = Lines {
        text: text.as_bytes(),
        byte: 0,
        line: 1,
    };
    let mut rows = Vec::new();
    for record in reader.records() {
        // flexible, and UTF-8: reading from memory does not fail
        let Ok(record) = record else { break };
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let start = record.position().map_or(0, csv::Position::byte);
        let line = lines.at(usize::try_from(start).unwrap_or(usize::MAX));
        let Some(columns) = &columns else {
            let heading = heading(line, record.iter(), &mut faults);
            if faults.count > 0 {
                break;
            }
            columns = Some(heading);
            continue;
        };
        if record.len() != columns.len() {
            let (found, all) = (record.len(), columns.len());
            faults.add(line, None, format!("{found} columns instead of {all}"));
            continue;
        }
        if rows.len() == MAX_ROWS {
            faults.add(line, None, format!("more than {MAX_ROWS} devices"));
            break;
        }
        rows.extend(row(line, columns, record.iter(), &mut faults));
    }
    if columns.is_none() && faults.count == 0 {
        faults.add(1, None, "the file is empty");
    }
    (rows, faults)
}

/// Counts lines. The reader takes line ends and empty lines for the beginning of what
/// follows them.
struct Lines<'a> {
    text: &'a [u8],
    byte: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of what begins at `byte`, or after line ends there; for rising places.
    fn at(&mut self, byte: usize) -> u64 {
        while let Some(character) = self.text.get(self.byte)
            && (self.byte < byte || matches!(character, b'\r' | b'\n'))
        {
            self.line += u64::from(*character == b'\n');
            self.byte += 1;
        }
        self.line
    }
}

/// The separator that the first line has most of.
fn separator(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or_default();
    let count = |separator: &u8| first.bytes().filter(|byte| byte == separator).count();
    // of equally many the last one
    [b'\t', b';', b',']
        .into_iter()
        .max_by_key(count)
        .unwrap_or(b',')
}

fn heading<'a>(
    line: u64,
    cells: impl Iterator<Item = &'a str>,
    faults: &mut Faults,
) -> Vec<Option<Column>> {
    let known = || Column::ALL.map(Column::as_str).join(", ");
    let mut columns = Vec::new();
    for cell in cells {
        let name = cell.trim().to_ascii_lowercase();
        let column = Column::ALL.into_iter().find(|one| one.as_str() == name);
        match column {
            // a separator at the end of each line
            None if name.is_empty() => {}
            None => faults.add(
                line,
                None,
                format!("unknown column {name:?}; there are {}", known()),
            ),
            Some(column) if columns.contains(&Some(column)) => {
                faults.add(line, Some(column), "this column is there twice");
            }
            Some(_) => {}
        }
        columns.push(column);
    }
    if !columns.contains(&Some(Column::Key)) {
        let what = "no heading with this column in the first line";
        faults.add(line, Some(Column::Key), what);
    }
    columns
}

fn row<'a>(
    line: u64,
    columns: &[Option<Column>],
    cells: impl Iterator<Item = &'a str>,
    faults: &mut Faults,
) -> Option<Row> {
    let mut key = None;
    let mut change = Change::default();
    let before = faults.count;
    for (column, cell) in columns.iter().zip(cells) {
        let Some(column) = *column else {
            if !cell.is_empty() {
                faults.add(line, None, "a value in a column without a heading");
            }
            continue;
        };
        let cell = without_mark(cell);
        let trimmed = cell.trim();
        if trimmed.is_empty() {
            continue;
        }
        let mut invalid = |error: InvalidName| faults.add(line, Some(column), error.to_string());
        let text = Some(Some(cell.to_owned()));
        match column {
            Column::Key => key = trimmed.parse().map_err(&mut invalid).ok(),
            Column::Model => {
                change.model = trimmed.parse().map_err(&mut invalid).ok().map(Some);
            }
            Column::Name => change.name = text,
            Column::Mac => change.mac = Some(Some(trimmed.to_owned())),
            Column::UsbSerial => change.usb_serial = text,
            Column::Hw => change.hw = text,
        }
    }
    if key.is_none() && faults.count == before {
        faults.add(line, Some(Column::Key), "missing");
    }
    let change = each_checked(line, change, faults);
    Some(Row {
        line,
        key: key?,
        change,
        is_faulty: faults.count > before,
    })
}

/// The values in the form they are kept in, as far as they are right.
fn each_checked(line: u64, change: Change, faults: &mut Faults) -> Change {
    let mut check = |column: Column, change: Change| {
        checked(change).unwrap_or_else(|error| {
            let what = error.to_string();
            let prefix = format!("Invalid {}: ", column.as_str());
            faults.add(
                line,
                Some(column),
                what.strip_prefix(&prefix).unwrap_or(&what),
            );
            Change::default()
        })
    };
    let none = Change::default;
    let Change {
        model,
        name,
        mac,
        usb_serial,
        hw,
        retired,
    } = change;
    Change {
        model,
        name: check(Column::Name, Change { name, ..none() }).name,
        mac: check(Column::Mac, Change { mac, ..none() }).mac,
        usb_serial: check(
            Column::UsbSerial,
            Change {
                usb_serial,
                ..none()
            },
        )
        .usb_serial,
        hw: check(Column::Hw, Change { hw, ..none() }).hw,
        retired,
    }
}

/// Writes devices so that [`parse`] reads them.
///
/// # Errors
/// What `out` says.
pub fn write<'a>(out: impl io::Write, devices: impl Iterator<Item = &'a Device>) -> io::Result<()> {
    let rows = devices.map(|device| {
        let text = |value: &'a Option<String>| value.as_deref().unwrap_or_default();
        [
            device.device_key.as_str(),
            text(&device.model),
            text(&device.name),
            text(&device.mac),
            text(&device.usb_serial),
            text(&device.hw),
        ]
    });
    write_table(out, Column::ALL.map(Column::as_str), rows)
}

/// Writes a table with a heading.
///
/// # Errors
/// What `out` says.
pub fn write_table<'a, const N: usize>(
    out: impl io::Write,
    heading: [&'a str; N],
    rows: impl Iterator<Item = [&'a str; N]>,
) -> io::Result<()> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(out);
    for row in std::iter::once(heading).chain(rows) {
        writer.write_record(row.map(with_mark))?;
    }
    writer.flush()
}

fn with_mark(cell: &str) -> String {
    match cell.starts_with(FORMULA) {
        true => format!("{MARK}{cell}"),
        false => cell.to_owned(),
    }
}

fn without_mark(cell: &str) -> &str {
    let marked = cell.strip_prefix(MARK);
    marked
        .filter(|cell| cell.starts_with(FORMULA))
        .unwrap_or(cell)
}

#[cfg(test)]
mod tests;
