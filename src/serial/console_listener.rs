//! Reacts to what a board prints on its console.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::console::{self, Boot, BootFailure, Console, Event as ConsoleEvent};
use crate::journal::Event;
use crate::metrics::Metrics;

use super::crash_backlog::BacklogSender;
use super::crash_recorder::{CaptureContext, Crash, CrashRecorder};
use super::port_health::{PortHealth, PortProblem};
use super::port_plan::PortPlan;
use super::port_task::{PortTask, report_problem};
use super::state_writer::StateWriter;
use super::status::{PortMonitor, State};

/// Listens to one open port.
pub(super) struct ConsoleListener<'a> {
    plan: PortPlan,
    context: CaptureContext,
    console: Console,
    health: &'a mut PortHealth,
    began: Instant,
    monitor: Arc<PortMonitor>,
    state_writer: Arc<StateWriter>,
    recorder: Arc<CrashRecorder>,
    metrics: Arc<Metrics>,
    crashes: Arc<BacklogSender>,
    /// When the device was last noted to be heard.
    heard_at: Option<Instant>,
    /// When a port with unreadable data is read again.
    rest_until: Option<Instant>,
    /// When the status is updated with the newest line.
    refresh_at: Option<Instant>,
    babbles: bool,
}

impl<'a> ConsoleListener<'a> {
    pub(super) fn new(
        plan: PortPlan,
        console: Console,
        health: &'a mut PortHealth,
        began: Instant,
        port: &PortTask,
    ) -> Self {
        Self {
            context: port.capture_context(&plan),
            plan,
            console,
            health,
            began,
            monitor: Arc::clone(&port.monitor),
            state_writer: Arc::clone(&port.state_writer),
            recorder: Arc::clone(&port.recorder),
            metrics: Arc::clone(&port.metrics),
            crashes: Arc::clone(&port.crashes),
            heard_at: None,
            rest_until: None,
            refresh_at: None,
            babbles: false,
        }
    }

    /// Whether reading is paused, because the data is not text.
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

    /// Handles received bytes; `true` if Enter has to be sent.
    pub(super) fn received(&mut self, bytes: &[u8]) -> bool {
        self.metrics.serial_bytes.inc_by(bytes.len() as u64);
        self.monitor.received(bytes.len());
        let now = Instant::now();
        self.refresh_at.get_or_insert(now + REFRESH);
        if self.babbles {
            self.rest_until = Some(now + REST);
        }
        if self.heard_at.is_none_or(|at| now - at >= HEARD_EVERY) {
            self.heard_at = Some(now);
            self.recorder.heard(&self.context);
        }
        let events = self.console.feed(bytes, self.began.elapsed());
        self.handle(events)
    }

    /// Handles what is due by now.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        self.rest_until = self.rest_until.filter(|until| *until > now);
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            self.monitor.refresh();
        }
        if self.health.expire(self.began.elapsed()) {
            self.show_health();
        }
        let events = self.console.tick(self.began.elapsed());
        self.handle(events);
    }

    /// Applies a new configuration.
    pub(super) fn reconfigure(&mut self, settings: console::Settings) {
        self.console.reconfigure(settings);
    }

    /// Whether a crash is being printed.
    pub(super) fn is_capturing(&self) -> bool {
        self.console.is_capturing()
    }

    /// Listening ends: stores an unfinished capture as it is. If the board is
    /// about to be reset by us, what that cuts off is no crash to be kept.
    pub(super) fn end(mut self, by_our_reset: bool) -> Console {
        let is_cut = by_our_reset && self.console.is_capturing();
        let mut events = self.console.finish();
        let is_crash =
            |event: &ConsoleEvent| matches!(event, ConsoleEvent::Dump(_) | ConsoleEvent::Panic(_));
        events.retain(|event| !is_cut || !is_crash(event));
        self.handle(events);
        self.monitor.refresh();
        self.console
    }

    fn handle(&mut self, events: Vec<ConsoleEvent>) -> bool {
        let mut enter = false;
        for event in events {
            match event {
                ConsoleEvent::Line(line) => self.monitor.line(line),
                ConsoleEvent::Boot(boot) => self.booted(&boot),
                ConsoleEvent::PanicBegan(line) => self.panic_began(&line),
                ConsoleEvent::Dump(dump) => self.captured(Crash::Dump(dump)),
                ConsoleEvent::Panic(panic) => self.captured(Crash::Panic(panic)),
                ConsoleEvent::AnswerPrompt => enter |= self.plan.settings.press_enter,
                ConsoleEvent::WaitingForDownload => self.problem_began(PortProblem::InBootloader),
                ConsoleEvent::FlashSaved => self.report_board(
                    "coredump saved to flash; fetch it with `espgate ports read`",
                ),
                ConsoleEvent::FlashConfigCorrupted => self.report_board(
                    "coredump not saved to flash: coredump partition moved or overwritten; check the partition table",
                ),
                ConsoleEvent::WatchdogWarned => self.report_board(
                    "task watchdog triggered; see `espgate ports log` for the task",
                ),
                ConsoleEvent::BrownOut => self.browned_out(),
                ConsoleEvent::Babble => {
                    self.babbles = true;
                    self.problem_began(PortProblem::Babbling);
                }
                ConsoleEvent::TextAgain => {
                    self.babbles = false;
                    self.problem_ended(PortProblem::Babbling);
                }
            }
        }
        enter
    }

    fn booted(&mut self, boot: &Boot) {
        let reason = boot
            .reset_reason
            .clone()
            .unwrap_or_else(|| String::from("unknown"));
        self.monitor.change(|status| {
            // the ROM has few names; noise must not grow the map
            let key = if status.resets.len() < MOST_REASONS {
                reason.clone()
            } else {
                String::from("other")
            };
            *status.resets.entry(key).or_default() += 1;
            if boot.in_download_mode || boot.failure().is_some() {
                return;
            }
            let text = |new: &Option<String>, old: &mut Option<String>| old.clone_from(new);
            status.chip = boot.chip.map(|chip| chip.to_string());
            text(&boot.project, &mut status.project);
            text(&boot.version, &mut status.firmware_version);
            text(&boot.app_elf_sha256, &mut status.app_elf_sha256);
        });
        if boot.is_brown_out() {
            self.browned_out();
        }
        if boot.in_download_mode {
            return;
        }
        let is_ours = self.health.is_our_reset(self.began.elapsed());
        self.recorder
            .booted(&self.context, boot.reset_reason.as_deref(), is_ours);
        if let Some(failure) = boot.failure() {
            return self.boot_failed(failure, &reason);
        }
        self.health.booted();
        self.show_health();
        let path = self.plan.path.display();
        let application = match (&boot.project, &boot.version) {
            (Some(project), Some(version)) => format!("{project} {version}"),
            _ => String::from("unknown application"),
        };
        Event::BoardBooted
            .entry()
            .port(&path)
            .maybe("FIRMWARE_VERSION", boot.version.as_ref())
            .say(format_args!(
                "board on {path} started {application} (reset reason: {reason})"
            ));
        self.state_writer
            .record_boot(&self.plan.id, &self.context, boot);
    }

    /// The board came to no application.
    fn boot_failed(&mut self, failure: BootFailure, reason: &str) {
        if let Some(problem) = self.health.boot_failed(self.began.elapsed(), failure) {
            self.show_problem(problem);
        } else if !self.health.is_boot_loop() {
            let path = self.plan.path.display();
            Event::BoardBooted.entry().port(&path).say(format_args!(
                "board on {path} started no application: {failure} (reset reason: {reason})"
            ));
        }
    }

    fn panic_began(&mut self, line: &str) {
        let path = self.plan.path.display();
        let line = crate::printable::escaped(line);
        Event::PanicSeen
            .entry()
            .port(&path)
            .say(format_args!("panic on {path}: {line}"));
    }

    fn captured(&mut self, crash: Crash) {
        self.monitor.change(|status| match crash {
            Crash::Panic(_) => status.panics += 1,
            Crash::Dump(_) | Crash::Flash(_) => status.dumps += 1,
        });
        self.crashes.push(crash, self.context.clone(), None);
    }

    fn browned_out(&mut self) {
        if !self.health.brown_out(self.began.elapsed()) {
            return;
        }
        self.monitor.change(|status| status.brown_outs += 1);
        if let Some(problem) = self.health.many_brown_outs() {
            self.show_problem(problem);
        }
    }

    fn problem_began(&mut self, problem: PortProblem) {
        if let Some(problem) = self.health.report(problem) {
            self.show_problem(problem);
        }
    }

    fn show_problem(&self, problem: PortProblem) {
        report_problem(&self.plan, problem);
        self.monitor.enter(
            State::Listening,
            Some(problem.text(self.plan.settings.baud)),
        );
    }

    fn problem_ended(&mut self, problem: PortProblem) {
        self.health.resolved(problem);
        self.show_health();
    }

    fn show_health(&self) {
        let left = self
            .health
            .problem()
            .map(|problem| problem.text(self.plan.settings.baud));
        self.monitor.enter(State::Listening, left);
    }

    fn report_board(&self, what: &str) {
        let path = self.plan.path.display();
        Event::PortTrouble
            .entry()
            .port(&path)
            .say(format_args!("board on {path}: {what}"));
    }
}

/// How often the status is updated with the newest line.
const REFRESH: Duration = Duration::from_millis(500);
/// Pause in reading a port with unreadable data.
const REST: Duration = Duration::from_millis(500);
const MOST_REASONS: usize = 24;
/// How often it is noted that the device is heard.
const HEARD_EVERY: Duration = Duration::from_secs(60);
