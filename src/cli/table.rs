//! Tables that fit the terminal, whatever names devices have. Nothing is cut if
//! stdout is not a terminal.

use std::io::{self, IsTerminal as _};

use unicode_width::UnicodeWidthStr as _;

use super::style::Style;
use crate::printable::escaped;

/// Columns that a terminal has at least, and that prose takes.
pub(super) const WIDTH: usize = 80;
/// Columns between two cells.
const GAP: usize = 2;
/// Columns before a cell that is below its row.
const INDENT: usize = 2;
/// A column is not cut below this.
const LEAST: usize = 4;

/// Rows of text below a heading.
#[derive(Debug)]
pub(super) struct Table {
    heading: Vec<&'static str>,
    /// Columns that are never cut: what is copied into the next command.
    whole: &'static [usize],
    /// Whether the last cell goes below its row instead of being cut.
    last_below: bool,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. The columns numbered in `whole` are never cut, even if
    /// the lines are wider than the terminal then.
    pub(super) fn new(heading: &[&'static str], whole: &'static [usize]) -> Self {
        Self {
            heading: heading.to_vec(),
            whole,
            last_below: false,
            rows: Vec::new(),
        }
    }

    /// The same, with the last cells whole: below their rows if the lines would be too
    /// wide.
    pub(super) fn with_last_below(self) -> Self {
        Self {
            last_below: true,
            ..self
        }
    }

    /// Adds a row; control characters are made visible.
    pub(super) fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().map(|cell| match cell.as_ref() {
            "" => String::from("-"),
            text => escaped(text).into_owned(),
        });
        self.rows.push(cells.collect());
    }

    /// The lines of the table, cut to `columns` where that is possible.
    pub(super) fn render(&self, columns: usize, coloured: bool) -> String {
        let natural = self.natural_widths();
        let gaps = GAP * natural.len().saturating_sub(1);
        if self.last_below && natural.iter().sum::<usize>() + gaps > columns {
            return self.render_last_below(columns, coloured);
        }
        let widths = self.widths(columns);
        let heading: Vec<String> = self.heading.iter().map(|&text| text.to_owned()).collect();
        let mut text = line(&heading, &widths, |_| Style::Heading, coloured);
        for row in &self.rows {
            text.push_str(&line(row, &widths, Style::of_word, coloured));
        }
        text
    }

    fn render_last_below(&self, columns: usize, coloured: bool) -> String {
        let mut below = Vec::new();
        let mut rest = Self {
            heading: self.heading.clone(),
            last_below: false,
            rows: self.rows.clone(),
            ..*self
        };
        rest.heading.pop();
        for row in &mut rest.rows {
            below.push(row.pop().unwrap_or_default());
        }
        let indent = " ".repeat(INDENT);
        let table = rest.render(columns, coloured);
        let mut lines = table.lines();
        let mut text = format!("{}\n", lines.next().unwrap_or_default());
        for (line, last) in lines.zip(below) {
            text.push_str(&format!("{line}\n"));
            for part in folded(&last, columns.saturating_sub(INDENT), 0).lines() {
                text.push_str(&format!("{indent}{part}\n"));
            }
        }
        text
    }

    fn natural_widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heading.iter().map(|text| width(text)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
        widths
    }

    fn widths(&self, columns: usize) -> Vec<usize> {
        let mut widths = self.natural_widths();
        let gaps = GAP * widths.len().saturating_sub(1);
        let room = columns.saturating_sub(gaps);
        while widths.iter().sum::<usize>() > room {
            let widest = widths
                .iter_mut()
                .enumerate()
                .filter(|(column, width)| **width > LEAST && !self.whole.contains(column))
                .max_by_key(|(_, width)| **width);
            match widest {
                Some((_, width)) => *width -= 1,
                None => break,
            }
        }
        widths
    }
}

/// Columns that a table may take: the terminal's, unlimited for a pipe or a file.
pub(super) fn columns() -> usize {
    if !io::stdout().is_terminal() {
        return usize::MAX;
    }
    let screen = rustix::termios::tcgetwinsize(io::stdout()).ok();
    screen.map_or(WIDTH, |size| usize::from(size.ws_col).max(WIDTH))
}

fn line(
    cells: &[String],
    widths: &[usize],
    style: impl Fn(&str) -> Style,
    coloured: bool,
) -> String {
    let mut text = String::new();
    let mut behind = 0;
    for (cell, width_of_column) in cells.iter().zip(widths) {
        let cut = cut(cell, *width_of_column);
        text.extend(std::iter::repeat_n(' ', behind));
        text.push_str(&style(cell).paint(&cut, coloured));
        behind = width_of_column + GAP - width(&cut);
    }
    text.push('\n');
    text
}

/// `text` in at most `columns` columns; `…` stands for what was cut off.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        short.push(character);
        if width(&short) >= columns {
            short.pop();
            break;
        }
    }
    short.push('…');
    short
}

/// `text` in lines of at most `columns` columns, broken at spaces where there
/// are any; the lines after the first are indented by `indent`.
pub(super) fn folded(text: &str, columns: usize, indent: usize) -> String {
    let mut folded = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let long = width(word);
        if used > indent && used + 1 + long > columns {
            folded.push('\n');
            folded.extend(std::iter::repeat_n(' ', indent));
            used = indent;
        } else if !folded.is_empty() {
            folded.push(' ');
            used += 1;
        }
        folded.push_str(word);
        used += long;
    }
    folded
}

/// Columns that `text` takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_80_columns_whatever_is_in_it() {
        for cell in [
            "x",
            "a long panic reason that goes on and on",
            "写真写真写真写真",
            "\u{1b}[31m",
            "é\u{301}",
            "☎\u{fe0f}",
            "👩\u{200d}🔧",
            "नमस्ते",
        ] {
            for columns in 1..=9 {
                let heading = ["COLUMN"; 9];
                let mut table = Table::new(&heading[..columns], &[]);
                table.row(vec![cell.repeat(5); columns]);
                table.row(vec![cell; columns]);
                for line in table.render(WIDTH, false).lines() {
                    assert!(width(line) <= WIDTH, "{columns} of {cell}: {line}");
                    assert!(!line.contains('\u{1b}'));
                }
            }
        }
    }

    #[test]
    fn long_text_goes_on_in_the_next_line() {
        assert_eq!(folded("aa bb cc dd", 5, 2), "aa bb\n  cc\n  dd");
        assert_eq!(folded("aaa bbbbbbb c", 5, 2), "aaa\n  bbbbbbb\n  c");
        assert_eq!(folded("aa", 5, 2), "aa");
        assert_eq!(folded("", 5, 2), "");
    }

    #[test]
    fn what_is_copied_into_commands_stays_whole() {
        let mut table = Table::new(&["ID", "WHY"], &[0]);
        let id = "0123456789ab".repeat(9);
        let why = "y".repeat(100);
        table.row([&id, &why]);
        let text = table.render(WIDTH, false);
        assert!(text.contains(&id) && text.contains('…'), "{text}");
        // and all of it where it is not for a terminal
        let text = table.render(usize::MAX, false);
        assert!(text.contains(&id) && text.contains(&why), "{text}");
    }

    #[test]
    fn a_long_last_cell_goes_below_its_row_where_it_does_not_fit() {
        let mut table = Table::new(&["ID", "WHY"], &[0]).with_last_below();
        table.row(["c1", "aaa bbb ccc"]);
        table.row(["c2", "ddd"]);
        let wide = "ID  WHY\nc1  aaa bbb ccc\nc2  ddd\n";
        assert_eq!(table.render(15, false), wide);
        let narrow = "ID\nc1\n  aaa bbb\n  ccc\nc2\n  ddd\n";
        assert_eq!(table.render(9, false), narrow);
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let mut table = Table::new(&["A", "B"], &[]);
        table.row(["写", "1"]);
        table.row(["abc", ""]);
        assert_eq!(table.render(WIDTH, false), "A    B\n写   1\nabc  -\n");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = Table::new(&["A", "B"], &[]);
        table.row(["valid", "1"]);
        let plain = table.render(WIDTH, true).replace("\u{1b}[32m", "");
        assert!(plain.contains("valid\u{1b}[0m  1"), "{plain:?}");
    }
}
