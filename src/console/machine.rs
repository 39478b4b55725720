//! The console's state machine: lines → events.

use std::time::Duration;

use super::babble::{Babble, Change};
use super::boot::{Banner, Boot};
use super::capture::{DumpCapture, PanicCapture};
use super::history::Lines;
use super::lines::{Splitter, clean, is_clean};
use super::marks::{self, Mark};
use super::payload::{Taken, decode_line};
use super::{Event, Settings, whole};

/// One console, fed with its bytes.
pub struct Console {
    settings: Settings,
    splitter: Splitter,
    babble: Babble,
    history: Lines,
    banner: Banner,
    state: State,
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
            settings,
            splitter: Splitter::default(),
            babble: Babble::default(),
            banner: Banner::default(),
            state: State::Listening,
            told_prompt: false,
            now: Duration::ZERO,
            events: Vec::new(),
        }
    }

    /// Takes bytes that came at `now`, a time that only grows.
    pub fn feed(&mut self, bytes: &[u8], now: Duration) -> Vec<Event> {
        self.now = now;
        self.pass_deadlines();
        match self.babble.look(bytes) {
            Some(Change::Began) => self.events.push(Event::Babble),
            Some(Change::Ended) => self.events.push(Event::TextAgain),
            None => {}
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
        self.end_crash(Some("the port went away"));
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
            self.end_crash(Some("no more of it came"));
        }
    }

    fn line(&mut self, raw: &[u8]) {
        let plain = if is_clean(raw) {
            raw.to_vec()
        } else {
            clean(raw)
        };
        if plain.is_empty() || self.payload_line(&plain) {
            return;
        }
        let line = String::from_utf8_lossy(&plain).into_owned();
        let mark = marks::read(&line);
        self.mark(&mark, &line);
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
                Taken::Overflow => dump.end(Some("it was longer than the limit"), self.now),
            }
            return true;
        }
        // a dump whose first marker was lost is known by its header
        let begins = decode_line(plain).is_some_and(|bytes| whole::is_header(&bytes));
        if begins {
            self.begin_dump();
            if let State::Dump(dump) = &mut self.state {
                dump.payload.take(plain, limit);
            }
        }
        begins
    }

    fn mark(&mut self, mark: &Mark<'_>, line: &str) {
        match mark {
            Mark::DumpStart => {
                self.keep(line);
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
            Mark::Rom(_) | Mark::Reset(..) => self.end_crash(Some("the board restarted")),
            Mark::Panic => return self.panic_line(line),
            Mark::Prompt if !self.told_prompt => self.prompt(),
            Mark::FlashSaved => self.events.push(Event::FlashSaved),
            Mark::FlashCorrupted => self.events.push(Event::FlashConfigCorrupted),
            Mark::BrownOut => self.events.push(Event::BrownOut),
            Mark::WaitingForDownload => self.events.push(Event::WaitingForDownload),
            _ => {}
        }
        let over = self.banner.take(mark, self.now);
        self.events.extend(over.map(Event::Boot));
        self.keep(line);
        self.crash_line(mark, line);
    }

    /// A line that belongs to a crash, if one is being captured.
    fn crash_line(&mut self, mark: &Mark<'_>, line: &str) {
        match &mut self.state {
            State::Listening => {}
            State::Panic(panic) => {
                // the panic handler prints without a prefix; what has one is
                // about the dump, or somebody survived
                if *mark != Mark::Log || line.contains("core_dump") || line.contains("coredump") {
                    panic.push(&self.settings.masks.apply(line.to_owned()), self.now);
                }
                panic.rebooting |= *mark == Mark::Rebooting;
            }
            State::Dump(dump) => {
                if dump.ended.is_none()
                    && dump
                        .payload
                        .take(line.as_bytes(), self.settings.max_dump_bytes)
                        == Taken::Payload
                {
                    dump.last = self.now;
                }
                let full = dump.ended.is_some() && dump.after.is_full();
                dump.after.push(self.settings.masks.apply(line.to_owned()));
                if *mark == Mark::Rebooting || full {
                    self.end_crash(Some("the board restarted"));
                }
            }
        }
    }

    fn panic_line(&mut self, line: &str) {
        let another = match &self.state {
            State::Listening | State::Dump(_) => true,
            State::Panic(panic) => panic.rebooting,
        };
        if another {
            self.end_crash(Some("another panic began"));
            self.events.extend(self.banner.close().map(Event::Boot));
            let boot = self.banner.boot().clone();
            let panic = PanicCapture::new(self.history.to_vec(), boot, self.now);
            self.state = State::Panic(Box::new(panic));
            self.events.push(Event::PanicBegan(
                self.settings.masks.apply(line.to_owned()),
            ));
        }
        self.keep(line);
        if let State::Panic(panic) = &mut self.state {
            panic.push(&self.settings.masks.apply(line.to_owned()), self.now);
        }
    }

    fn begin_dump(&mut self) {
        let panic = match std::mem::replace(&mut self.state, State::Listening) {
            State::Panic(panic) => Some(panic),
            State::Dump(dump) => self.finish_dump(*dump, Some("another dump began")),
            State::Listening => None,
        };
        self.events.extend(self.banner.close().map(Event::Boot));
        let boot = self.banner.boot().clone();
        let before = self.history.to_vec();
        let dump = DumpCapture::new(panic, before, boot, &self.settings, self.now);
        self.state = State::Dump(Box::new(dump));
    }

    /// Ends the crash that is being captured, if any, for the reason given.
    fn end_crash(&mut self, reason: Option<&str>) {
        match std::mem::replace(&mut self.state, State::Listening) {
            State::Listening => {}
            State::Panic(panic) => self.events.push(panic.end()),
            State::Dump(dump) => {
                let panic = self.finish_dump(*dump, reason);
                self.events.extend(panic.map(|panic| panic.end()));
            }
        }
    }

    /// Tells a dump; of an empty one only its panic is left.
    fn finish_dump(
        &mut self,
        mut dump: DumpCapture,
        reason: Option<&str>,
    ) -> Option<Box<PanicCapture>> {
        dump.end(reason, self.now);
        match dump.finish() {
            Ok(dump) => {
                self.events.push(Event::Dump(dump));
                None
            }
            Err(panic) => panic,
        }
    }

    fn prompt(&mut self) {
        if let State::Panic(panic) = &mut self.state {
            panic.prompted();
        }
        self.events.push(Event::AnswerPrompt);
    }

    fn keep(&mut self, line: &str) {
        let line = self.settings.masks.apply(line.to_owned());
        self.history.push(line.clone());
        self.events.push(Event::Line(line));
    }
}
