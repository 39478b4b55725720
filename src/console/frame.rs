//! What stands before every line of a panic, known from the panic itself.
//!
//! The rows of a register table and a backtrace begin with known words. What
//! stands before them is no part of them; if a panic's first words or its
//! heading have the same before them, something else put it there: a terminal
//! program, `grep -n`, a logger. One line of such a kind tells nothing: an
//! application may log it.

use super::dialect::Role;
use super::marks::{self, Mark};

/// What lines begin with, as learned from panics.
#[derive(Default)]
pub(super) struct Frames {
    known: Vec<Frame>,
}

impl Frames {
    /// Learns from lines in which a panic may be.
    pub(super) fn learn<'a>(&mut self, lines: impl Iterator<Item = &'a str> + Clone) {
        let mut found: Vec<(Frame, Evidence)> = Vec::new();
        for line in lines.clone() {
            let Some((at, evidence)) = settles(line) else {
                continue;
            };
            let before = line.get(..at).unwrap_or_default();
            if before.len() > LONGEST || is_said_by_the_board(before) {
                continue;
            }
            let frame = Frame::of(before);
            if self.known.contains(&frame) {
                continue;
            }
            if let Some((_, known)) = found.iter_mut().find(|(known, _)| *known == frame) {
                known.rows += evidence.rows;
                known.backtraces += evidence.backtraces;
            } else if found.len() < MOST_FOUND {
                found.push((frame, evidence));
            }
        }
        for (frame, evidence) in found {
            let is_enough = evidence.rows >= 2 || evidence.backtraces >= 1;
            if is_enough && self.known.len() < MOST_KNOWN && has_headline(&frame, lines.clone()) {
                self.known.push(frame);
            }
        }
    }

    /// How many bytes of `line` are not its own.
    pub(super) fn length(&self, line: &str) -> usize {
        let lengths = self.known.iter().filter_map(|frame| frame.length(line));
        lengths.max().unwrap_or_default()
    }
}

/// The lines of a panic that were found.
struct Evidence {
    rows: usize,
    backtraces: usize,
}

/// Where in `line` a row of registers or a backtrace begins, if not at once.
fn settles(line: &str) -> Option<(usize, Evidence)> {
    if let Some(at) = line.find("Backtrace:") {
        let addresses = line.get(at..)?.matches(":0x").count();
        let evidence = Evidence {
            rows: 0,
            backtraces: 1,
        };
        return (at > 0 && addresses >= 1).then_some((at, evidence));
    }
    let (before, rest) = line.split_once(": 0x")?;
    let others = rest.matches(": 0x").count();
    let name_end = before.trim_end();
    let name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '/';
    let at = name_end.trim_end_matches(name).len();
    let is_row = others >= 1 && FIRST_NAMES.contains(&name_end.get(at..)?);
    let evidence = Evidence {
        rows: 1,
        backtraces: 0,
    };
    (at > 0 && is_row).then_some((at, evidence))
}

/// Whether a panic begins behind `frame`.
fn has_headline<'a>(frame: &Frame, mut lines: impl Iterator<Item = &'a str>) -> bool {
    lines.any(|line| {
        let rest = frame.length(line).and_then(|length| line.get(length..));
        rest.is_some_and(|rest| {
            matches!(
                marks::read(rest.trim()),
                Mark::Crash(Role::Panic) | Mark::Registers
            )
        })
    })
}

/// `W (402) crash: `: the application prints it, with ESP-IDF's or Zephyr's
/// logger.
fn is_said_by_the_board(before: &str) -> bool {
    let levels = ["E (", "W (", "I (", "D (", "V (", "<err>"];
    levels.iter().any(|level| {
        before
            .match_indices(level)
            .any(|(at, _)| marks::log_message(before.get(at..).unwrap_or_default()).is_some())
    })
}

/// A text whose numbers and levels change from line to line.
#[derive(Eq, PartialEq)]
struct Frame(Vec<Part>);

#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    Number,
    /// `[E]`
    Level,
    Blank,
    Sign(char),
}

impl Frame {
    fn of(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((part, after)) = Part::first(rest) {
            parts.push(part);
            rest = after;
        }
        Self(parts)
    }

    /// How much of `line` it is.
    fn length(&self, line: &str) -> Option<usize> {
        let mut rest = line;
        for part in &self.0 {
            match Part::first(rest) {
                Some((found, after)) if found == *part => rest = after,
                // at the end of an empty line it was cut off
                _ if *part == Part::Blank && (rest.is_empty() || rest.len() < line.len()) => {}
                _ => return None,
            }
        }
        Some(line.len() - rest.len())
    }
}

impl Part {
    /// The first part of `text`, and what follows it.
    fn first(text: &str) -> Option<(Self, &str)> {
        let first = text.chars().next()?;
        let level = |text: &str| matches!(text.as_bytes(), [b'[', b'A'..=b'Z', b']', ..]);
        Some(match first {
            '0'..='9' => {
                let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
                (Self::Number, rest)
            }
            ' ' => (Self::Blank, text.trim_start_matches(' ')),
            '[' if level(text) => (Self::Level, text.get(3..)?),
            other => (Self::Sign(other), text.get(other.len_utf8()..)?),
        })
    }
}

/// The registers that rows begin with, of both architectures.
const FIRST_NAMES: [&str; 17] = [
    "PC", "A2", "A6", "A10", "A14", "EXCVADDR", "MEPC", "TP", "S0/FP", "S4", "S8", "T3", "MSTATUS",
    "MCAUSE", "MTVAL", "A0", "LBEG",
];
const LONGEST: usize = 160;
const MOST_FOUND: usize = 16;
const MOST_KNOWN: usize = 4;
