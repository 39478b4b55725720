//! A port's task: its parts, and what it records about its board.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config;
use crate::console::{self, Masks};
use crate::device::MacAddress;
use crate::journal::{Event, chain};
use crate::metrics::Metrics;

use super::crash_backlog::BacklogSender;
use super::crash_recorder::{CaptureContext, CrashRecorder};
use super::flash_read_request::FlashReadRequest;
use super::port_health::PortProblem;
use super::port_plan::PortPlan;
use super::state_writer::StateWriter;
use super::status::PortMonitor;

/// Settings for all ports.
#[derive(Clone, Debug)]
pub(super) struct CommonSettings {
    pub(super) console: console::Settings,
    /// Offset of the boards' partition table.
    pub(super) table_offset: u32,
}

impl CommonSettings {
    /// A mask that does not parse is reported and left out.
    pub(super) fn of(settings: &config::Serial, max_dump_bytes: usize) -> Self {
        let rules = settings.mask.iter().filter_map(|rule| match rule.parse() {
            Ok(rule) => Some(rule),
            Err(error) => {
                Event::ConfigurationFaulty
                    .entry()
                    .say(format_args!("serial.mask: {rule:?}: {}", chain(&error)));
                None
            }
        });
        let masks = Masks::with(rules);
        Self {
            console: console::Settings {
                max_dump_bytes,
                masks,
                ..console::Settings::default()
            },
            table_offset: settings.partition_table_offset,
        }
    }
}

/// One port's task.
pub(super) struct PortTask {
    pub(super) monitor: Arc<PortMonitor>,
    /// The task ends when the sender is dropped.
    pub(super) plan: watch::Receiver<PortPlan>,
    /// Whether the port is open.
    pub(super) open: watch::Sender<bool>,
    pub(super) stop: CancellationToken,
    pub(super) common: watch::Receiver<CommonSettings>,
    pub(super) requests: mpsc::Receiver<FlashReadRequest>,
    /// Somebody wants the board to boot.
    pub(super) reset_requested: Arc<Notify>,
    /// Records which board it is, and whether it is in its bootloader.
    pub(super) state_writer: Arc<StateWriter>,
    pub(super) crashes: Arc<BacklogSender>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) recorder: Arc<CrashRecorder>,
}

impl PortTask {
    /// Where a crash on this port comes from.
    pub(super) fn capture_context(&self, plan: &PortPlan) -> CaptureContext {
        CaptureContext::of(plan, &self.state_writer.state.read())
    }

    /// Records the MAC address of the board on the port.
    pub(super) fn learned_mac(&self, plan: &PortPlan, mac: MacAddress) {
        let before = self.capture_context(plan);
        if before.mac == Some(mac) {
            return;
        }
        self.note_board(plan, Some(mac));
        self.recorder
            .learned_mac(&before, &self.capture_context(plan));
    }

    /// The port disconnected or was released: forgets its board, unless the
    /// adapter has a serial number by which a change would be noticed.
    pub(super) fn forget_board(&self, plan: &PortPlan) {
        if plan.has_unique_adapter() {
            return;
        }
        self.recorder.forget_told(&plan.id);
        if self.state_writer.state.read().of(&plan.id).board.is_some() {
            self.note_board(plan, None);
        }
    }

    /// Records the board that was at the port's place before, so that the daemon
    /// knows it after a restart.
    pub(super) fn keep_board(&self, plan: &PortPlan) {
        let known = self.state_writer.state.read().mac(plan, clock::boot_id());
        if plan.board_before.is_some() && plan.board_before != known {
            self.note_board(plan, plan.board_before);
        }
    }

    /// Records whether the board is in its bootloader.
    pub(super) fn note_bootloader(&self, plan: &PortPlan, inside: bool) {
        if self.state_writer.state.read().of(&plan.id).in_bootloader != inside {
            let id = plan.id.clone();
            self.state_writer
                .record(move |state| state.ensure(&id).in_bootloader = inside);
        }
    }

    /// Records which board is on the port; `None`: unknown.
    fn note_board(&self, plan: &PortPlan, mac: Option<MacAddress>) {
        let plan = plan.clone();
        self.state_writer
            .record(move |state| state.note_board(&plan, mac));
    }
}

pub(super) fn report_problem(plan: &PortPlan, problem: PortProblem) {
    let path = plan.path.display();
    Event::PortTrouble
        .entry()
        .port(&path)
        .say(format_args!("{path}: {}", problem.text(plan.settings.baud)));
}
