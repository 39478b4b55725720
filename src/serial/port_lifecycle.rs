//! A port's task: opens the port, listens, and opens it again when it is lost.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::ReadFlash;
use crate::console::Console;
use crate::journal::{Event, chain};

use super::console_listener::ConsoleListener;
use super::discover::Usb;
use super::flash_read_request::{FlashReadError, FlashReadRequest};
use super::link::{Link, LinkError, SerialLink};
use super::port_health::PortHealth;
use super::port_plan::PortPlan;
use super::port_task::{PortTask, report_problem};
use super::status::State;

/// Why listening ended.
enum End {
    /// Unplugged, or its other side closed.
    Gone,
    Failed(LinkError),
    /// There is a new plan, or the daemon stops.
    Stopped,
    /// The flash has to be read, and it is on disk that the board is in its
    /// bootloader.
    ReadFlash(FlashReadRequest),
    /// The board has to boot.
    Reset,
}

/// A read that begins when that is on disk; the console is read until then.
struct Entering {
    request: FlashReadRequest,
    written: JoinHandle<()>,
}

impl PortTask {
    /// Runs until the plan's sender is dropped or the daemon stops.
    pub(super) async fn run(mut self) {
        let mut health = PortHealth::default();
        let began = Instant::now();
        let mut delay = Delay::default();
        let mut console = None;
        loop {
            if self.stop.is_cancelled() || self.plan.has_changed().is_err() {
                return;
            }
            let plan = self.plan.borrow_and_update().clone();
            if !plan.is_to_be_open() || !plan.present {
                self.monitor.enter(resting(&plan), None);
                // another build or another board may be there afterwards
                if plan.released.is_some() {
                    console = None;
                }
                let was_lent = plan.is_lent();
                if !plan.is_lent() {
                    self.forget_board(&plan);
                }
                self.pause(None).await;
                if was_lent {
                    health.reset_by_us(began.elapsed());
                }
                continue;
            }
            let wait = match SerialLink::open(&plan.path, plan.settings.baud, plan.settings.lines) {
                Ok(mut link) => {
                    delay = Delay::default();
                    self.opened(&plan, &mut health, began);
                    if self.state_writer.state.read().of(&plan.id).in_bootloader {
                        self.reset_stranded_board(&mut link, &plan).await;
                        health.reset_by_us(began.elapsed());
                    }
                    let (listened, before) = (Instant::now(), self.monitor.status().bytes);
                    let end = loop {
                        match self
                            .listen(&mut link, &plan, &mut health, &mut console, began)
                            .await
                        {
                            End::ReadFlash(request) => {
                                let boot = console.as_ref().map(|(_, console)| console.boot());
                                let boot = boot.cloned().unwrap_or_default();
                                self.read_flash(&mut link, &plan, boot, request).await;
                                health.reset_by_us(began.elapsed());
                            }
                            End::Reset => {
                                self.reset_on_request(&mut link, &plan).await;
                                health.reset_by_us(began.elapsed());
                            }
                            end => break end,
                        }
                    };
                    drop(link);
                    self.open.send_replace(false);
                    self.metrics.serial_ports.dec();
                    // a chip with its own USB disconnects at each restart
                    let restarts = is_serial_jtag(&plan) && self.monitor.status().bytes > before;
                    match end {
                        End::Stopped => continue,
                        End::Gone if restarts => RESTART,
                        end => self.lost(&plan, &end, &mut health, began, listened.elapsed()),
                    }
                }
                Err(error) => {
                    self.refused(&plan, &error);
                    delay.next()
                }
            };
            if health.is_flapping(began.elapsed()) {
                self.calm_down(wait).await;
            } else {
                self.pause(Some(wait)).await;
            }
        }
    }

    fn opened(&self, plan: &PortPlan, health: &mut PortHealth, began: Instant) {
        self.keep_board(plan);
        self.open.send_replace(true);
        self.metrics.serial_ports.inc();
        let note = health
            .problem()
            .map(|problem| problem.text(plan.settings.baud));
        self.monitor.enter(State::Listening, note);
        // reported already
        if health.is_flapping(began.elapsed()) {
            return;
        }
        let path = plan.path.display();
        Event::PortOpened.entry().port(&path).say(format_args!(
            "listening to {path} at {} baud",
            plan.settings.baud
        ));
    }

    /// Reports the loss; returns the pause before the next attempt.
    fn lost(
        &mut self,
        plan: &PortPlan,
        end: &End,
        health: &mut PortHealth,
        began: Instant,
        lasted: Duration,
    ) -> Duration {
        let path = plan.path.display();
        self.forget_board(plan);
        let now = began.elapsed();
        if let Some(problem) = health.lost(now) {
            report_problem(plan, problem);
        }
        let flapping = health.is_flapping(now);
        let note = health
            .problem()
            .map(|problem| problem.text(plan.settings.baud));
        match end {
            End::Failed(error) => {
                self.monitor.enter(State::Trouble, Some(chain(error)));
                Event::PortTrouble
                    .entry()
                    .port(&path)
                    .say(format_args!("{path}: {}", chain(error)));
            }
            End::Gone | End::Stopped | End::ReadFlash(_) | End::Reset => {
                self.monitor.enter(State::Absent, note);
                if !flapping {
                    Event::PortGone
                        .entry()
                        .port(&path)
                        .say(format_args!("{path} disconnected"));
                }
            }
        }
        if flapping {
            return CALM_DOWN;
        }
        // a port that fails at once must not be retried without a pause
        if lasted < Duration::from_secs(1) {
            Duration::from_secs(1)
        } else {
            RESTART
        }
    }

    /// Reports why the port could not be opened, unless that was reported.
    fn refused(&self, plan: &PortPlan, error: &LinkError) {
        let path = plan.path.display();
        let (state, event, note) = match error {
            LinkError::Busy => (
                State::Busy,
                Event::PortBusy,
                "in use by another program; retrying until it is free".to_owned(),
            ),
            LinkError::Gone => return self.monitor.enter(State::Absent, None),
            LinkError::Io { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                (
                    State::Trouble,
                    Event::PortTrouble,
                    "permission denied: add the daemon's user to group dialout".to_owned(),
                )
            }
            error => (State::Trouble, Event::PortTrouble, chain(error)),
        };
        let news = self
            .monitor
            .change(|status| status.state != state || status.note.as_ref() != Some(&note));
        if news {
            event
                .entry()
                .port(&path)
                .say(format_args!("{path}: {note}"));
        }
        self.monitor.enter(state, Some(note));
    }

    /// Waits for a new plan, the stop, or the end of `wait`.
    async fn pause(&mut self, wait: Option<Duration>) {
        tokio::select! {
            _ = self.plan.changed() => {}
            () = self.stop.cancelled() => {}
            // dropping it tells the requester
            Some(_) = self.requests.recv() => {}
            () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }

    /// Waits, also if the port is back: it would disconnect again soon.
    async fn calm_down(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.stop.is_cancelled() {
            self.pause(Some(until - Instant::now())).await;
            if self.plan.has_changed().is_err() || !self.plan.borrow_and_update().is_to_be_open() {
                return;
            }
        }
    }

    async fn listen(
        &mut self,
        link: &mut SerialLink,
        plan: &PortPlan,
        health: &mut PortHealth,
        console: &mut Option<(Option<String>, Console)>,
        began: Instant,
    ) -> End {
        // a chip with its own USB disconnects at a restart: the console's state
        // is still valid
        let fresh = || Console::new(self.common.borrow().console.clone());
        let usb = plan.usb.as_ref().map(Usb::identity);
        let same = |(of, _): &(Option<String>, _)| is_serial_jtag(plan) && *of == usb;
        let kept = console.take().filter(same).map(|(_, console)| console);
        let mut listener = ConsoleListener::new(
            plan.clone(),
            kept.unwrap_or_else(fresh),
            health,
            began,
            self,
        );
        let mut buffer = vec![0; READ_BYTES];
        let mut entering = None;
        let mut ready: Option<(FlashReadRequest, Instant)> = None;
        let end = loop {
            let waits = |limit: &Instant| listener.is_capturing() && Instant::now() < *limit;
            if let Some((request, _)) = ready.take_if(|(_, limit)| !waits(limit)) {
                break End::ReadFlash(request);
            }
            let limit = ready.as_ref().map(|(_, limit)| *limit);
            let deadline = listener.deadline();
            tokio::select! {
                read = link.read(&mut buffer), if !listener.is_resting() => match read {
                    Ok(count) => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        if listener.received(bytes) {
                            press_enter(link).await;
                        }
                    }
                    Err(LinkError::Gone) => break End::Gone,
                    Err(error) => break End::Failed(error),
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => listener.tick(),
                changed = self.plan.changed() => {
                    let next = self.plan.borrow_and_update().clone();
                    if changed.is_err() || !goes_on(plan, &next) {
                        break End::Stopped;
                    }
                }
                Some(request) = self.requests.recv(), if entering.is_none() && ready.is_none() => {
                    if plan.settings.read_flash == ReadFlash::Never {
                        self.refuse(plan, request, FlashReadError::Never);
                    } else {
                        self.note_bootloader(plan, true);
                        let written = self.state_writer.flush();
                        entering = Some(Entering { request, written });
                    }
                }
                Some(request) = written(&mut entering), if entering.is_some() => {
                    // a reset would cut off what is being printed
                    ready = Some((request, Instant::now() + CAPTURE_LIMIT));
                }
                () = self.reset_requested.notified(), if entering.is_none() && ready.is_none() => {
                    // what is being printed is worth more
                    if may_reset(plan) && !listener.is_capturing() {
                        break End::Reset;
                    }
                }
                () = sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => {}
                Ok(()) = self.common.changed() => {
                    let settings = self.common.borrow_and_update().console.clone();
                    listener.reconfigure(settings);
                }
                () = self.stop.cancelled() => break End::Stopped,
            }
        };
        let by_our_reset = matches!(end, End::ReadFlash(_) | End::Reset);
        *console = Some((usb, listener.end(by_our_reset)));
        if entering.is_some() || ready.is_some() {
            // dropping the request tells the requester
            self.note_bootloader(plan, false);
        }
        end
    }
}

/// Whether the board may be reset without a person: where the configuration allows that
/// after a crash, and the reset does not disable the port.
fn may_reset(plan: &PortPlan) -> bool {
    use super::reset::ResetCircuit::Classic;
    plan.settings.read_flash == ReadFlash::OnCrash && plan.reset_circuit() == Classic
}

/// The request, once the note is on disk.
async fn written(entering: &mut Option<Entering>) -> Option<FlashReadRequest> {
    let _ = (&mut entering.as_mut()?.written).await;
    entering.take().map(|entering| entering.request)
}

fn is_serial_jtag(plan: &PortPlan) -> bool {
    plan.usb.as_ref().is_some_and(Usb::is_serial_jtag)
}

/// Whether a port that is open by `plan` stays open by `next`.
fn goes_on(plan: &PortPlan, next: &PortPlan) -> bool {
    next.is_to_be_open()
        && next.present
        && next.path == plan.path
        && next.settings == plan.settings
        && next.usb == plan.usb
}

/// The state of a port that has to be closed.
fn resting(plan: &PortPlan) -> State {
    match plan.released {
        Some(_) if plan.is_lent() => State::Lent,
        Some(_) => State::Released,
        None if !plan.present => State::Absent,
        None => State::Seen,
    }
}

/// Answers the prompt for Enter; a board that does not get it goes on by itself.
async fn press_enter(link: &mut SerialLink) {
    let _ = tokio::time::timeout(Duration::from_secs(1), link.write(b"\n")).await;
}

/// Grows with every failed attempt, up to half a minute.
#[derive(Default)]
struct Delay(u32);

impl Delay {
    fn next(&mut self) -> Duration {
        self.0 = (self.0 + 1).min(6);
        Duration::from_millis(500 << self.0)
    }
}

/// Most bytes of one read. A pseudo terminal gives 4 KiB at once.
const READ_BYTES: usize = 8192;
/// How long a read waits for the end of a crash that is being printed.
const CAPTURE_LIMIT: Duration = Duration::from_secs(15);
/// Pause until a chip that restarts is connected again.
const RESTART: Duration = Duration::from_millis(50);
/// Pause for a port that disconnects repeatedly.
const CALM_DOWN: Duration = Duration::from_secs(15);
