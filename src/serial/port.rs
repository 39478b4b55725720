//! One port, and what is noted and said about it.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::console::{self, Masks};
use crate::device::MacAddress;
use crate::journal::{Event, chain};
use crate::metrics::Metrics;

use super::backlog::Inlet;
use super::health::Complaint;
use super::intake::{Intake, Site};
use super::notes::Notes;
use super::plan::Plan;
use super::request::Request;
use super::status::Board;

/// What the configuration says for all ports.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) console: console::Settings,
    /// Where boards keep their partition table.
    pub(super) table_offset: u32,
}

impl Common {
    /// A mask that does not parse is said and left out.
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

/// What a port's task is made of.
pub(super) struct Port {
    pub(super) board: Arc<Board>,
    /// What is to be done with it; the task ends when the sender is dropped.
    pub(super) plan: watch::Receiver<Plan>,
    /// Whether it is open, for whoever waits for it to be let go.
    pub(super) open: watch::Sender<bool>,
    pub(super) stop: CancellationToken,
    pub(super) common: watch::Receiver<Common>,
    pub(super) requests: mpsc::Receiver<Request>,
    /// Where it is noted which board it is, and whether it is in its bootloader.
    pub(super) notes: Arc<Notes>,
    pub(super) crashes: Arc<Inlet>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) intake: Arc<Intake>,
}

impl Port {
    /// What is known of where a crash on this port comes from.
    pub(super) fn site(&self, plan: &Plan) -> Site {
        Site::of(plan, &self.notes.state.read())
    }

    /// Notes which board is behind the port.
    pub(super) fn met(&self, plan: &Plan, mac: MacAddress) {
        let before = self.site(plan);
        if before.mac == Some(mac) {
            return;
        }
        self.note_board(plan, Some(mac));
        self.intake.met(&before, &self.site(plan));
    }

    /// The port is gone or somebody else's. Unless its adapter has a serial
    /// number of its own, what is there next may be another board.
    pub(super) fn forget_board(&self, plan: &Plan) {
        if !plan.is_told_apart() && self.notes.state.read().of(&plan.id).board.is_some() {
            self.note_board(plan, None);
        }
    }

    /// Notes that the board is in its bootloader, or no longer.
    pub(super) fn note_bootloader(&self, plan: &Plan, inside: bool) {
        if self.notes.state.read().of(&plan.id).in_bootloader != inside {
            let id = plan.id.clone();
            self.notes
                .note(move |state| state.ensure(&id).in_bootloader = inside);
        }
    }

    /// Notes which board is behind the port; `None`: who knows.
    fn note_board(&self, plan: &Plan, mac: Option<MacAddress>) {
        let plan = plan.clone();
        self.notes.note(move |state| state.note_board(&plan, mac));
    }
}

pub(super) fn complain(plan: &Plan, complaint: Complaint) {
    let path = plan.path.display();
    Event::PortTrouble.entry().port(&path).say(format_args!(
        "{path}: {}",
        complaint.text(plan.settings.baud)
    ));
}
