//! What is done about what a console says.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::console::{self, Boot, Console, Event as Said};
use crate::journal::Event;
use crate::metrics::Metrics;

use super::backlog::Inlet;
use super::health::{Complaint, Health};
use super::intake::{Crash, Site};
use super::notes::Notes;
use super::plan::Plan;
use super::port::{Port, complain};
use super::status::{Board, State};

/// Listens to one open port.
pub(super) struct Listener<'a> {
    plan: Plan,
    site: Site,
    console: Console,
    health: &'a mut Health,
    began: Instant,
    board: Arc<Board>,
    notes: Arc<Notes>,
    metrics: Arc<Metrics>,
    crashes: Arc<Inlet>,
    /// When a port that babbles is read again.
    rest_until: Option<Instant>,
    /// When the status gets what changes with every byte.
    refresh_at: Option<Instant>,
    babbles: bool,
}

impl<'a> Listener<'a> {
    pub(super) fn new(
        plan: Plan,
        console: Console,
        health: &'a mut Health,
        began: Instant,
        port: &Port,
    ) -> Self {
        Self {
            site: port.site(&plan),
            plan,
            console,
            health,
            began,
            board: Arc::clone(&port.board),
            notes: Arc::clone(&port.notes),
            metrics: Arc::clone(&port.metrics),
            crashes: Arc::clone(&port.crashes),
            rest_until: None,
            refresh_at: None,
            babbles: false,
        }
    }

    /// Whether reading waits: what arrives is no text anyway.
    pub(super) fn is_resting(&self) -> bool {
        self.rest_until.is_some()
    }

    /// When to call [`Self::tick`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        let passing = [self.console.deadline(), self.health.deadline()];
        passing
            .into_iter()
            .flatten()
            .map(|deadline| self.began + deadline)
            .chain(self.rest_until)
            .chain(self.refresh_at)
            .min()
    }

    /// Takes bytes; answers whether Enter is to be pressed.
    pub(super) fn received(&mut self, bytes: &[u8]) -> bool {
        self.metrics.serial_bytes.inc_by(bytes.len() as u64);
        self.board.received(bytes.len());
        let now = Instant::now();
        self.refresh_at.get_or_insert(now + REFRESH);
        if self.babbles {
            self.rest_until = Some(now + REST);
        }
        let said = self.console.feed(bytes, self.began.elapsed());
        self.hear(said)
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        self.rest_until = self.rest_until.filter(|until| *until > now);
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            self.board.refresh();
        }
        if self.health.pass(self.began.elapsed()) {
            self.show_health();
        }
        let said = self.console.tick(self.began.elapsed());
        self.hear(said);
    }

    /// Another configuration is in force.
    pub(super) fn reconfigure(&mut self, settings: console::Settings) {
        self.console.reconfigure(settings);
    }

    /// The port was closed; what was unfinished is kept.
    pub(super) fn end(mut self) -> Console {
        let said = self.console.finish();
        self.hear(said);
        self.board.refresh();
        self.console
    }

    fn hear(&mut self, said: Vec<Said>) -> bool {
        let mut enter = false;
        for said in said {
            match said {
                Said::Line(line) => self.board.line(line),
                Said::Boot(boot) => self.booted(&boot),
                Said::PanicBegan(line) => self.panicked(&line),
                Said::Dump(dump) => self.captured(Crash::Dump(dump)),
                Said::Panic(panic) => self.captured(Crash::Panic(panic)),
                Said::AnswerPrompt => enter |= self.plan.settings.press_enter,
                Said::WaitingForDownload => self.trouble(Complaint::InBootloader),
                Said::FlashSaved => self.say_flash(
                    "has saved a coredump to its flash: `espgate ports read` fetches it",
                ),
                Said::FlashConfigCorrupted => self.say_flash(
                    "cannot save a coredump: its coredump partition was moved or overwritten",
                ),
                Said::WatchdogWarned => self.say_flash(
                    "warns that a task does not feed the task watchdog: `espgate ports log` shows which",
                ),
                Said::BrownOut => self.browned_out(),
                Said::Babble => {
                    self.babbles = true;
                    self.trouble(Complaint::Babbling);
                }
                Said::TextAgain => {
                    self.babbles = false;
                    self.fine(Complaint::Babbling);
                }
            }
        }
        enter
    }

    fn booted(&mut self, boot: &Boot) {
        self.fine(Complaint::InBootloader);
        let reason = boot
            .reset_reason
            .clone()
            .unwrap_or_else(|| String::from("unknown"));
        self.board.change(|status| {
            // the ROM's names are few; noise must not grow the map
            let key = if status.resets.len() < MOST_REASONS {
                reason.clone()
            } else {
                String::from("other")
            };
            *status.resets.entry(key).or_default() += 1;
            let text = |new: &Option<String>, old: &mut Option<String>| old.clone_from(new);
            status.chip = boot.chip.map(|chip| chip.to_string());
            text(&boot.project, &mut status.project);
            text(&boot.version, &mut status.firmware_version);
            text(&boot.app_elf_sha256, &mut status.app_elf_sha256);
        });
        let path = self.plan.path.display();
        let application = match (&boot.project, &boot.version) {
            (Some(project), Some(version)) => format!("{project} {version}"),
            _ => String::from("an application"),
        };
        Event::BoardBooted
            .entry()
            .port(&path)
            .maybe("FIRMWARE_VERSION", boot.version.as_ref())
            .say(format_args!(
                "the board on {path} started {application} (reset: {reason})"
            ));
        if boot.is_brown_out() {
            self.browned_out();
        }
        self.notes.booted(&self.plan.id, &self.site, boot);
    }

    fn panicked(&mut self, line: &str) {
        let path = self.plan.path.display();
        let line = crate::printable::escaped(line);
        Event::PanicSeen
            .entry()
            .port(&path)
            .say(format_args!("the board on {path} panics: {line}"));
    }

    fn captured(&mut self, crash: Crash) {
        self.board.change(|status| match crash {
            Crash::Panic(_) => status.panics += 1,
            Crash::Dump(_) | Crash::Flash(_) => status.dumps += 1,
        });
        self.crashes.push(crash, self.site.clone(), None);
    }

    fn browned_out(&mut self) {
        if !self.health.brown_out(self.began.elapsed()) {
            return;
        }
        self.board.change(|status| status.brown_outs += 1);
        if let Some(complaint) = self.health.many_brown_outs() {
            self.told(complaint);
        }
    }

    fn trouble(&mut self, complaint: Complaint) {
        if let Some(complaint) = self.health.tell(complaint) {
            self.told(complaint);
        }
    }

    fn told(&self, complaint: Complaint) {
        complain(&self.plan, complaint);
        self.board.enter(
            State::Listening,
            Some(complaint.text(self.plan.settings.baud)),
        );
    }

    fn fine(&mut self, complaint: Complaint) {
        self.health.over(complaint);
        self.show_health();
    }

    fn show_health(&self) {
        let left = self
            .health
            .complaint()
            .map(|complaint| complaint.text(self.plan.settings.baud));
        self.board.enter(State::Listening, left);
    }

    fn say_flash(&self, what: &str) {
        let path = self.plan.path.display();
        Event::PortTrouble
            .entry()
            .port(&path)
            .say(format_args!("the board on {path} {what}"));
    }
}

/// How often the status gets the newest line.
const REFRESH: Duration = Duration::from_millis(500);
/// How long a port that babbles is not read.
const REST: Duration = Duration::from_millis(500);
const MOST_REASONS: usize = 24;
