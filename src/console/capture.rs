//! A crash that is being captured: a panic's text, then perhaps a dump.

use std::time::Duration;

use crate::device::Chip;

use super::boot::Boot;
use super::history::Lines;
use super::payload::Payload;
use super::{Dump, Event, Log, Panic, Settings, whole};

/// Why lines may be no panic after all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Doubt {
    /// The task watchdog warned.
    Watchdog,
    /// Something is wrong that a board may survive.
    Words,
    /// The words stood inside another line: printed into it, or quoted.
    Inside,
    /// A backtrace without a reason; whether nothing was printed before it.
    Backtrace { first: bool },
    /// A report of an earlier crash, which may be known.
    Report,
}

/// A panic whose end has not been seen, or lines that may become one.
pub(super) struct PanicCapture {
    text: String,
    before: Vec<String>,
    after: Lines,
    /// `None` once it is a panic for certain.
    pub(super) doubt: Option<Doubt>,
    /// Lines since it began.
    lines: usize,
    /// Log lines of others among them.
    others: usize,
    /// Its backtrace or stack has come.
    told: bool,
    /// The board began to write its dump.
    dumping: bool,
    /// It was told that a panic began.
    confirmed: bool,
    boot: Boot,
    cut: bool,
    began: Duration,
    last: Duration,
    /// The board said that it restarts now.
    pub(super) rebooting: bool,
    prompted: bool,
}

impl PanicCapture {
    pub(super) fn new(
        doubt: Option<Doubt>,
        before: Vec<String>,
        boot: Boot,
        settings: &Settings,
        now: Duration,
    ) -> Self {
        Self {
            text: String::new(),
            before,
            after: Lines::new(settings.log_lines, settings.log_bytes),
            // it is told once it is confirmed
            doubt,
            confirmed: false,
            lines: 0,
            others: 0,
            told: false,
            dumping: false,
            boot,
            cut: false,
            began: now,
            last: now,
            rebooting: false,
            prompted: false,
        }
    }

    pub(super) fn push(&mut self, line: &str, now: Duration) {
        self.last = now;
        self.lines += 1;
        // a Zephyr dump is text within the panic's
        let most = match line.contains("#CD:") {
            true => MOST_DUMP_TEXT,
            false => MOST_PANIC_BYTES,
        };
        if self.text.len() + line.len() > most {
            self.cut = true;
            return;
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Keeps a line that is not the panic's own; answers whether there is room
    /// for more.
    pub(super) fn push_after(&mut self, line: &str) -> bool {
        self.lines += 1;
        self.others += 1;
        self.after.push(line.to_owned());
        !self.after.is_full()
    }

    /// The board restarts, and says which chip it is.
    pub(super) fn restarted(&mut self, chip: Option<Chip>) {
        self.boot.chip = self.boot.chip.or(chip);
    }

    /// What the panic said so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its backtrace or stack came; what tells of a panic now is another one's,
    /// or the dump's writer failed.
    pub(super) fn tells(&mut self, dumping: bool) {
        self.told |= !dumping;
        self.dumping |= dumping;
    }

    /// Whether another headline begins another panic.
    pub(super) fn is_over(&self) -> bool {
        self.rebooting || self.told && !self.dumping
    }

    /// Whether more of its text was printed than is kept.
    pub(super) fn is_full(&self) -> bool {
        self.cut
    }

    /// Whether it is a panic, as far as was seen.
    pub(super) fn is_certain(&self) -> bool {
        self.doubt.is_none()
    }

    /// Whether nobody else printed since it began: a panic stops the others.
    pub(super) fn is_alone(&self) -> bool {
        self.others == 0
    }

    /// Whether too much came for it to become one.
    pub(super) fn is_stale(&self) -> bool {
        let most = match self.doubt {
            None | Some(Doubt::Report) => return false,
            Some(Doubt::Inside | Doubt::Backtrace { .. }) => 24,
            Some(Doubt::Watchdog | Doubt::Words) => 150,
        };
        self.lines > most
    }

    /// It is a panic; answers with its first line, once.
    pub(super) fn confirm(&mut self, boot: &Boot) -> Option<&str> {
        if self.doubt.take().is_some() {
            self.boot = boot.clone();
        }
        let known = std::mem::replace(&mut self.confirmed, true);
        self.text.lines().next().filter(|_| !known)
    }

    /// The board waits for somebody to press Enter, who may take his time.
    pub(super) fn prompted(&mut self) {
        self.prompted = true;
    }

    pub(super) fn deadline(&self) -> Duration {
        if self.doubt.is_some() {
            return self.began + QUIET;
        }
        match (self.prompted, self.rebooting) {
            (_, true) => self.last + REBOOT_QUIET,
            (true, false) => self.last + PROMPT_WAIT,
            (false, false) => (self.last + QUIET).min(self.began + MOST_PANIC_TIME),
        }
    }

    pub(super) fn end(mut self) -> Event {
        let cut = self
            .cut
            .then(|| format!("only the first {MOST_PANIC_BYTES} bytes were kept"));
        Event::Panic(Box::new(Panic {
            text: self.text,
            problems: cut.into_iter().collect(),
            boot: self.boot,
            log: Log {
                before: self.before,
                after: self.after.take(),
            },
        }))
    }
}

/// A dump between its first line and the last line that belongs to it.
pub(super) struct DumpCapture {
    pub(super) payload: Payload,
    pub(super) after: Lines,
    panic: Option<Box<PanicCapture>>,
    before: Vec<String>,
    boot: Boot,
    printed_checksum: Option<String>,
    problem: Option<String>,
    /// When its last line came.
    pub(super) last: Duration,
    /// When its end came; then only the checksum and log lines follow.
    pub(super) ended: Option<Duration>,
}

impl DumpCapture {
    pub(super) fn new(
        panic: Option<Box<PanicCapture>>,
        before: Vec<String>,
        boot: Boot,
        settings: &Settings,
        now: Duration,
    ) -> Self {
        Self {
            payload: Payload::default(),
            after: Lines::new(settings.log_lines, settings.log_bytes),
            panic,
            before,
            boot,
            printed_checksum: None,
            problem: None,
            last: now,
            ended: None,
        }
    }

    /// No more of its lines will come; `problem` says why, if not for its end marker.
    pub(super) fn end(&mut self, problem: Option<&str>, now: Duration) {
        if self.ended.is_none() {
            self.payload.end();
            self.problem = problem.map(str::to_owned);
            self.ended = Some(now);
        }
    }

    pub(super) fn checksum(&mut self, digits: &str) {
        let hex = digits.len() <= 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if hex && self.printed_checksum.is_none() {
            self.printed_checksum = Some(digits.to_owned());
        }
    }

    pub(super) fn deadline(&self) -> Duration {
        match self.ended {
            Some(ended) => ended + AFTER_QUIET,
            None => self.last + QUIET,
        }
    }

    /// The dump; if nothing of it arrived, only its panic.
    pub(super) fn finish(mut self) -> Result<Box<Dump>, Option<Box<PanicCapture>>> {
        let after = self.after.take();
        if self.payload.bytes.is_empty() {
            if let Some(panic) = &mut self.panic {
                for line in after {
                    panic.push_after(&line);
                }
            }
            return Err(self.panic);
        }
        let judged = whole::judge(
            self.payload,
            self.printed_checksum.as_deref(),
            self.boot.chip,
        );
        let mut problems = judged.problems;
        if !judged.whole {
            problems.extend(self.problem);
        }
        Ok(Box::new(Dump {
            bytes: judged.bytes,
            complete: judged.whole,
            problems,
            printed_checksum: self.printed_checksum,
            panic: self.panic.map(|panic| panic.text),
            boot: self.boot,
            log: Log {
                before: self.before,
                after,
            },
        }))
    }
}

/// No line of a dump, or of a panic, for so long: no more will come.
const QUIET: Duration = Duration::from_secs(10);
/// After `Rebooting...` or a dump's end.
const REBOOT_QUIET: Duration = Duration::from_secs(2);
const AFTER_QUIET: Duration = Duration::from_secs(2);
/// `CONFIG_ESP_COREDUMP_UART_DELAY` may be minutes.
const PROMPT_WAIT: Duration = Duration::from_secs(300);
/// A board that goes on printing has survived.
const MOST_PANIC_TIME: Duration = Duration::from_secs(60);
const MOST_PANIC_BYTES: usize = 64 << 10;
const MOST_DUMP_TEXT: usize = 1 << 20;
