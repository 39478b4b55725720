//! Where a crash begins, what belongs to it, and where it ends.

use super::*;

impl Console {
    /// A line that tells of a crash: begins a capture, if it does not belong to
    /// the one there is.
    pub(super) fn panic_line(&mut self, mark: &Mark<'_>, line: &str) {
        let doubt = match mark {
            Mark::Crash(Role::Panic | Role::Summary) | Mark::Registers => None,
            Mark::Crash(Role::Watchdog) => Some(Doubt::Watchdog),
            Mark::Crash(Role::Perhaps) => Some(Doubt::Words),
            Mark::Crash(Role::Report) => Some(Doubt::Report),
            Mark::Inside(_) => Some(Doubt::Inside),
            Mark::Backtrace => Some(Doubt::Backtrace {
                first: !self.seen_lines,
            }),
            _ => return,
        };
        let another = match &self.state {
            State::Listening => true,
            _ if is_quoted(mark, line) => false,
            State::Panic(panic) => is_another(panic, mark),
            // one while it is written is the writer's
            State::Dump(dump) => {
                dump.ended.is_some() && matches!(mark, Mark::Crash(_) | Mark::Registers)
            }
        };
        if another {
            self.end_crash(Some("another panic began"));
            // what is doubtful may be said in the middle of a banner
            if doubt.is_none() {
                self.events.extend(self.banner.close().map(Event::Boot));
            }
            let boot = self.banner.boot().clone();
            let before = self.history.to_vec();
            let panic = PanicCapture::new(doubt, before, boot, &self.settings, self.now);
            self.state = State::Panic(Box::new(panic));
        }
    }

    /// What a line means, knowing that registers and backtraces are printed on
    /// request too: they are the panic's only if it began before.
    pub(super) fn unasked<'a>(&mut self, mark: Mark<'a>, line: &str) -> Mark<'a> {
        let certain = matches!(&self.state, State::Panic(panic) if panic.is_certain());
        match mark {
            Mark::Registers | Mark::Backtrace if self.asked && !certain => return Mark::Other,
            Mark::Crash(Role::Detail) | Mark::Registers | Mark::Backtrace => {}
            Mark::Log | Mark::Other if dialect::asks(line) => self.asked = true,
            Mark::Other => {}
            Mark::Log if is_its_own(line) => {}
            _ if is_quoted(&mark, line) => {}
            _ => self.asked = false,
        }
        mark
    }

    /// A line that belongs to a crash, if one is being captured.
    pub(super) fn crash_line(&mut self, mark: &Mark<'_>, line: &str, shown: &str) {
        match &mut self.state {
            State::Listening => {}
            State::Panic(panic) => {
                let mut room = true;
                match mark {
                    _ if panic.rebooting || *mark == Mark::Log && !is_its_own(line) => {
                        room = panic.push_after(shown);
                    }
                    _ if is_quoted(mark, line) && !panic.text().is_empty() => {
                        room = panic.push_after(shown);
                    }
                    // the words without the line that they were printed into
                    Mark::Inside(at) => {
                        let same = line.len() == shown.len();
                        let (before, words) = shown.split_at(if same { *at } else { 0 });
                        if panic.is_certain() {
                            panic.push(before, self.now);
                        }
                        panic.push(words, self.now);
                    }
                    _ => panic.push(shown, self.now),
                }
                panic.rebooting |= *mark == Mark::Rebooting;
                let ends = *mark == Mark::Backtrace || line.starts_with("Stack memory:");
                if ends && (panic.is_certain() || !self.asked) {
                    panic.tells(false);
                } else if line.contains("esp_core_dump") {
                    panic.tells(true);
                }
                if confirms(panic, mark) {
                    self.confirm_panic();
                } else if !room || panic.is_stale() {
                    self.end_crash(None);
                }
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
                dump.after.push(shown.to_owned());
                if *mark == Mark::Rebooting || full {
                    self.end_crash(Some("the board restarted"));
                }
            }
        }
    }

    pub(super) fn confirm_panic(&mut self) {
        if let State::Panic(panic) = &mut self.state
            && let Some(line) = panic.confirm(self.banner.boot())
        {
            self.events.extend(self.banner.close().map(Event::Boot));
            self.events.push(Event::PanicBegan(line.to_owned()));
        }
    }

    pub(super) fn begin_dump(&mut self) {
        self.confirm_panic();
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
    pub(super) fn end_crash(&mut self, reason: Option<&str>) {
        match std::mem::replace(&mut self.state, State::Listening) {
            State::Listening => {}
            State::Panic(panic) => self.end_panic(*panic),
            State::Dump(dump) => {
                let panic = self.finish_dump(*dump, reason);
                self.events.extend(panic.map(|panic| panic.end()));
            }
        }
    }

    fn end_panic(&mut self, mut panic: PanicCapture) {
        let counter = program_counter(panic.text());
        match panic.doubt {
            None if self.settings.recorded && is_told(panic.text()) => {}
            None => {
                self.known = [counter, None];
                self.events.push(panic.end());
            }
            Some(Doubt::Watchdog) => {
                if !std::mem::replace(&mut self.told_watchdog, true) {
                    self.events.push(Event::WatchdogWarned);
                }
            }
            // the crash was seen itself, or is told to everybody who asks
            Some(Doubt::Report) if counter.is_some() && self.known.contains(&counter) => {}
            Some(Doubt::Report | Doubt::Backtrace { first: true }) => {
                if panic.doubt == Some(Doubt::Report) {
                    self.known = [self.known[0], counter];
                }
                let began = panic.confirm(self.banner.boot()).map(str::to_owned);
                self.events.extend(began.map(Event::PanicBegan));
                self.events.push(panic.end());
            }
            Some(Doubt::Words | Doubt::Inside | Doubt::Backtrace { .. }) => {}
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
                let panic = dump.panic.as_deref().unwrap_or_default();
                self.known = [program_counter(panic), None];
                self.events.push(Event::Dump(dump));
                None
            }
            Err(panic) => panic,
        }
    }
}

/// Whether a log line has a panic's words in it.
fn is_quoted(mark: &Mark<'_>, line: &str) -> bool {
    matches!(mark, Mark::Inside(_)) && marks::log_message(line).is_some()
}

/// Whether `mark` begins another panic than the one that is being captured.
fn is_another(panic: &PanicCapture, mark: &Mark<'_>) -> bool {
    match (panic.doubt, mark) {
        (None, Mark::Crash(Role::Panic)) => panic.is_over(),
        (None, Mark::Crash(Role::Report)) => panic.is_over(),
        (None, Mark::Crash(_) | Mark::Registers) => panic.rebooting,
        (None, _) => false,
        // what warned, and what is wrong, is part of the panic that follows
        (Some(Doubt::Watchdog | Doubt::Words), Mark::Crash(Role::Watchdog)) => true,
        (Some(Doubt::Watchdog | Doubt::Words), _) => *mark == Mark::Crash(Role::Report),
        (Some(Doubt::Inside), Mark::Registers | Mark::Backtrace) => false,
        (Some(Doubt::Inside), _) => *mark != Mark::Crash(Role::Detail),
        (Some(Doubt::Backtrace { .. }), Mark::Backtrace) => false,
        (Some(Doubt::Backtrace { .. }), _) => true,
        (Some(Doubt::Report), Mark::Backtrace | Mark::Crash(Role::Detail)) => false,
        (Some(Doubt::Report), _) => true,
    }
}

/// Whether `mark` shows that what was doubtful is a panic.
fn confirms(panic: &PanicCapture, mark: &Mark<'_>) -> bool {
    match mark {
        Mark::Crash(Role::Panic | Role::Summary) | Mark::Registers | Mark::PanicHash => {
            panic.doubt != Some(Doubt::Report)
        }
        Mark::FlashSaved | Mark::FlashCorrupted => true,
        // applications say that too
        Mark::Rebooting => match panic.doubt {
            None => true,
            Some(Doubt::Inside | Doubt::Report) => false,
            Some(_) => panic.is_alone(),
        },
        Mark::Backtrace => panic.doubt == Some(Doubt::Inside),
        _ => false,
    }
}

/// The panic handler prints without a prefix; what has one is about the dump
/// or the watchdog, or a system logs its panic, or somebody survived.
fn is_its_own(line: &str) -> bool {
    const TAGS: [&str; 3] = ["core_dump", "coredump", "task_wdt: "];
    TAGS.iter().any(|tag| line.contains(tag)) || dialect::is_fatal_log(line)
}

/// Whether a headline stands in a text that people wrote: alone, and sentences
/// follow.
fn is_told(text: &str) -> bool {
    let mut lines = text.lines();
    let headline = lines.next().unwrap_or_default();
    let alone = ["Guru Meditation Error", "abort() was called"];
    alone.iter().any(|words| headline.starts_with(words))
        && lines.clone().all(|line| marks::read(line) == Mark::Other)
        && lines.any(is_sentence)
}

/// Six words or more, few of them with anything but letters.
fn is_sentence(line: &str) -> bool {
    let words = line.split_whitespace();
    let count = words.clone().count();
    let plain = words.filter(|word| {
        let word = word.trim_matches(['.', ',', ':', '!', '?']);
        !word.is_empty() && word.chars().all(char::is_alphabetic)
    });
    count >= 6 && plain.count() * 5 >= count * 4
}

/// Where a printed panic happened, to know a report of it.
fn program_counter(text: &str) -> Option<u32> {
    text.match_indices("PC").find_map(|(at, name)| {
        let rest = text.get(at + name.len()..)?.trim_start();
        let digits = rest.strip_prefix(':')?.trim_start().strip_prefix("0x")?;
        u32::from_str_radix(digits.get(..8)?, 16).ok()
    })
}
