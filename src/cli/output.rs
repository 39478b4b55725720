//! Printing: text, tables, facts, and values as people read them.

use std::io::{self, Write as _};

use super::client::Reply;
use super::failure::Failure;
use super::pager;
use super::style::coloured;
use super::table::{Table, WIDTH, columns, folded};
use crate::printable::escaped;

pub(super) use crate::printable::bytes;

/// A value as text, empty if there is none.
pub(super) fn known<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map(T::to_string).unwrap_or_default()
}

/// A time for people: UTC, whole seconds.
pub(super) fn moment(at: &str) -> String {
    at.get(..19).unwrap_or(at).replace('T', " ")
}

/// The day of a time.
pub(super) fn day(at: &str) -> &str {
    at.get(..10).unwrap_or(at)
}

/// Seconds for people: `3d 4h`, `12m 5s`.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Prints the body of a reply as it is.
///
/// # Errors
/// What writing says.
pub(super) fn print_json(answer: &Reply) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(&answer.body)?;
    if !answer.body.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Prints text in which everything from outside is escaped already.
///
/// # Errors
/// What writing says.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    if pager::takes(text) {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints one line, with control characters escaped.
///
/// # Errors
/// What writing says.
pub(super) fn print_line(line: &str) -> Result<(), Failure> {
    print(&format!("{}\n", escaped(line)))
}

/// Prints a table, or `nothing` if it is empty.
///
/// # Errors
/// What writing says.
pub(super) fn print_table(table: &Table, is_empty: bool, nothing: &str) -> Result<(), Failure> {
    match is_empty {
        true => print_line(nothing),
        false => print(&table.render(columns(), coloured())),
    }
}

/// Prints `name: value` lines with the values below each other; empty ones are
/// left out.
///
/// # Errors
/// What writing says.
pub(super) fn print_facts(facts: &[(&str, String)]) -> Result<(), Failure> {
    let known = || facts.iter().filter(|(_, value)| !value.is_empty());
    let widest = known().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for (name, value) in known() {
        let line = format!("{name:widest$}  {}", escaped(value));
        lines.push_str(&folded(&line, WIDTH, widest + 2));
        lines.push('\n');
    }
    print(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (count, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (20 * 1024, "20 KiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
        for (seconds, shown) in [(5, "5s"), (65, "1m 5s"), (7300, "2h 1m"), (90000, "1d 1h")] {
            assert_eq!(duration(seconds), shown);
        }
    }

    #[test]
    fn unknown_values_are_empty() {
        assert_eq!(known(&Some(7)), "7");
        assert_eq!(known::<u8>(&None), "");
    }

    #[test]
    fn moments_are_short() {
        let at = "2026-02-11T14:30:00.123456Z";
        assert_eq!(moment(at), "2026-02-11 14:30:00");
        assert_eq!(day(at), "2026-02-11");
        assert_eq!((moment(""), day("?")), (String::new(), "?"));
    }
}
