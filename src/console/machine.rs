//! The console's state machine: lines → events.

use std::time::Duration;

mod crash;

use super::babble::{Babble, Change};
use super::boot::{Banner, Boot, BootFailure};
use super::capture::{Doubt, DumpCapture, PanicCapture};
use super::dialect::Role;
use super::history::Lines;
use super::lines::{Splitter, clean};
use super::marks::{self, Mark};
use super::payload::{Taken, decode_line};
use super::prefix::Prefixes;
use super::redact::Redactor;
use super::stray::Stray;
use super::{Event, Settings, dialect, sieve, whole};

/// One console, fed with its bytes.
pub struct Console {
    settings: Settings,
    splitter: Splitter,
    prefixes: Prefixes,
    redactor: Redactor,
    stray: Stray,
    babble: Babble,
    history: Lines,
    banner: Banner,
    state: State,
    /// Program counters of the last panic and the last report of one.
    known: [Option<u32>; 2],
    /// Since the newest boot the task watchdog's warning was told.
    told_watchdog: bool,
    /// Something was printed before what comes now.
    seen_lines: bool,
    /// What comes now was printed on request, without a panic.
    asked: bool,
    /// The unfinished line is a prompt that was told already.
    told_prompt: bool,
    now: Duration,
    events: Vec<Event>,
}

enum State {
    Listening,
    Panic(Box<PanicCapture>),
    Dump(Box<DumpCapture>),
}

impl Console {
    /// A console of which nothing is known yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            history: Lines::new(settings.log_lines, settings.log_bytes),
            redactor: Redactor::default(),
            settings,
            splitter: Splitter::default(),
            prefixes: Prefixes::default(),
            stray: Stray::default(),
            babble: Babble::default(),
            banner: Banner::default(),
            state: State::Listening,
            known: [None; 2],
            told_watchdog: false,
            seen_lines: false,
            asked: false,
            told_prompt: false,
            now: Duration::ZERO,
            events: Vec::new(),
        }
    }

    /// Has other limits and masks from now on.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.history.limit(settings.log_lines, settings.log_bytes);
        self.settings = settings;
    }

    /// Learns what a terminal program put before every line from those at the
    /// beginning of a recording.
    pub(super) fn learn(&mut self, lines: &[String]) {
        self.prefixes.learn(lines.iter().map(String::as_str));
    }

    /// Learns it from panics, which are read afterwards.
    pub(super) fn learn_panics(&mut self, lines: &[String]) {
        self.prefixes.learn_panics(lines.iter().map(String::as_str));
    }

    /// Takes bytes that came at `now`, a time that only grows.
    pub fn feed(&mut self, bytes: &[u8], now: Duration) -> Vec<Event> {
        self.now = now;
        self.pass_deadlines();
        if !self.settings.recorded {
            match self.babble.look(bytes) {
                Some(Change::Began) => self.events.push(Event::Babble),
                Some(Change::Ended) => self.events.push(Event::TextAgain),
                None => {}
            }
        }
        let mut rest = bytes;
        while let Some(line) = self.splitter.take_line(&mut rest) {
            self.line(&line);
            self.told_prompt = false;
        }
        // the prompt may be all there is before the board waits
        if !self.told_prompt && marks::is_prompt(&String::from_utf8_lossy(self.splitter.pending()))
        {
            self.told_prompt = true;
            self.prompt();
        }
        std::mem::take(&mut self.events)
    }

    /// Lets time pass: ends what has been silent for too long.
    pub fn tick(&mut self, now: Duration) -> Vec<Event> {
        self.now = now;
        self.pass_deadlines();
        std::mem::take(&mut self.events)
    }

    /// When to call [`Console::tick`] at the latest, if nothing arrives.
    pub fn deadline(&self) -> Option<Duration> {
        let state = match &self.state {
            State::Listening => None,
            State::Panic(panic) => Some(panic.deadline()),
            State::Dump(dump) => Some(dump.deadline()),
        };
        state.into_iter().chain(self.banner.deadline()).min()
    }

    /// Whether a crash is being printed whose end has not come.
    pub fn is_capturing(&self) -> bool {
        match &self.state {
            State::Listening => false,
            State::Panic(panic) => panic.is_certain() && !panic.rebooting,
            State::Dump(dump) => dump.ended.is_none(),
        }
    }

    /// What the board said of itself at its newest boot.
    pub fn boot(&self) -> &Boot {
        self.banner.boot()
    }

    /// Ends what is unfinished: the port is gone. Afterwards bytes of a new
    /// connection may come.
    pub fn finish(&mut self) -> Vec<Event> {
        if let Some(line) = self.splitter.flush() {
            self.line(&line);
        }
        self.told_prompt = false;
        self.end_stray("base64");
        self.end_crash(Some(match self.settings.recorded {
            true => "end of the dump missing from the log",
            false => "port disconnected",
        }));
        self.events.extend(self.banner.close().map(Event::Boot));
        std::mem::take(&mut self.events)
    }

    fn pass_deadlines(&mut self) {
        if self
            .banner
            .deadline()
            .is_some_and(|deadline| deadline <= self.now)
        {
            self.events.extend(self.banner.close().map(Event::Boot));
        }
        let over = match &self.state {
            State::Listening => false,
            State::Panic(panic) => panic.deadline() <= self.now,
            State::Dump(dump) => dump.deadline() <= self.now,
        };
        if over {
            self.end_crash(Some("no further data received"));
        }
    }

    fn line(&mut self, raw: &[u8]) {
        let plain = clean(raw);
        let text = String::from_utf8_lossy(&plain);
        let prefix = self.prefixes.length(&text);
        let line = text.get(prefix..).unwrap_or_default().trim();
        if line.is_empty() || self.payload_line(line.as_bytes()) {
            return;
        }
        let idle = self.settings.recorded
            && match &self.state {
                State::Listening => true,
                State::Panic(panic) => panic.is_full(),
                State::Dump(_) => false,
            };
        if idle && !sieve::may_mean_something(line.as_bytes()) {
            self.seen_lines = true;
            self.asked &= !marks::is_log(line.as_bytes());
            return self.end_stray("base64");
        }
        let mark = self.unasked(marks::read(line), line);
        if !matches!(mark, Mark::Log | Mark::Other) {
            self.redactor.key_is_over();
        }
        let shown = match self.settings.recorded {
            true => line.to_owned(),
            false => {
                let masks = &self.settings.masks;
                self.redactor.apply(masks, line, self.splitter.is_piece())
            }
        };
        self.end_stray(match mark {
            Mark::DumpEnd(_) => "a coredump",
            _ => "base64",
        });
        self.mark(&mark, line, &shown);
        self.seen_lines = true;
    }

    /// Takes a line that can only be a dump's.
    fn payload_line(&mut self, plain: &[u8]) -> bool {
        if plain.contains(&b' ') {
            return false;
        }
        let limit = self.settings.max_dump_bytes;
        if let State::Dump(dump) = &mut self.state
            && dump.ended.is_none()
        {
            match dump.payload.take(plain, limit) {
                Taken::Log => return false,
                Taken::Payload => dump.last = self.now,
                Taken::Overflow => dump.end(Some("longer than the size limit"), self.now),
            }
            return true;
        }
        // a dump whose first marker was lost is known by its header
        let begins = decode_line(plain).is_some_and(|bytes| whole::is_header(&bytes));
        if begins {
            self.end_stray("base64");
            self.begin_dump();
            if let State::Dump(dump) = &mut self.state {
                dump.payload.take(plain, limit);
            }
        }
        begins || self.stray.take(plain)
    }

    /// Leaves a note in the log about base64 that was no capture's.
    fn end_stray(&mut self, what: &str) {
        if let Some(note) = self.stray.end(what) {
            self.keep(&note);
            self.crash_line(&Mark::Other, &note, &note);
        }
    }

    /// A line, also as it may be shown.
    fn mark(&mut self, mark: &Mark<'_>, line: &str, shown: &str) {
        match mark {
            Mark::DumpStart => {
                self.keep(shown);
                return self.begin_dump();
            }
            Mark::DumpEnd(before) => {
                if let State::Dump(dump) = &mut self.state {
                    if dump.ended.is_none() && !before.is_empty() {
                        dump.payload
                            .take(before.as_bytes(), self.settings.max_dump_bytes);
                    }
                    dump.end(None, self.now);
                    return;
                }
            }
            Mark::Checksum(digits) => {
                if let State::Dump(dump) = &mut self.state {
                    dump.end(None, self.now);
                    dump.checksum(digits);
                }
            }
            Mark::Rom(_) | Mark::Reset(..) => {
                if let (Mark::Rom(chip), State::Panic(panic)) = (mark, &mut self.state) {
                    panic.restarted(*chip);
                }
                self.end_crash(Some("the board restarted"));
                self.told_watchdog = false;
            }
            Mark::Crash(_) | Mark::Inside(_) | Mark::Registers | Mark::Backtrace => {
                self.panic_line(mark, line);
            }
            Mark::Prompt if !self.told_prompt => self.prompt(),
            Mark::FlashSaved => self.events.push(Event::FlashSaved),
            Mark::FlashCorrupted => self.events.push(Event::FlashConfigCorrupted),
            Mark::BrownOut => self.events.push(Event::BrownOut),
            _ => {}
        }
        let over = self.banner.take(mark, self.now);
        self.events.extend(over.map(Event::Boot));
        if (*mark == Mark::WaitingForDownload || marks::is_download_boot(line))
            && self.banner.waits_for_download()
        {
            self.events.push(Event::WaitingForDownload);
        }
        if let Some(failure) = BootFailure::in_line(line) {
            self.banner.failed(failure);
        }
        self.keep(shown);
        self.crash_line(mark, line, shown);
    }

    fn prompt(&mut self) {
        self.confirm_panic();
        if let State::Panic(panic) = &mut self.state {
            panic.prompted();
        }
        self.events.push(Event::AnswerPrompt);
    }

    fn keep(&mut self, shown: &str) {
        if self.settings.recorded {
            return;
        }
        self.history.push(shown.to_owned());
        self.events.push(Event::Line(shown.to_owned()));
    }
}
