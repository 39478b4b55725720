//! Reading a board's coredump from flash, and noting where the board is and
//! which one it is.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::bootloader::{self, Progress};
use crate::clock::Moment;
use crate::config::ReadFlash;
use crate::console::Boot;
use crate::coredump::{self, Verdict};
use crate::device::{DeviceKey, MacAddress};
use crate::ingest::Received;
use crate::journal::{Event, chain};
use crate::store::registry::StateFile;

use super::flash::{self, FlashError, Note, Options};
use super::intake::{Crash, FlashDump, Site};
use super::link::SerialLink;
use super::policy::{Plan, PortSettings};
use super::port::Port;
use super::reset::{Kind, Reset};
use super::state::PortsState;
use super::status::State;
use super::storing::Captured;

/// What a flash read brought.
#[derive(Clone, Debug)]
pub struct Read {
    pub received: Received,
    pub device: DeviceKey,
}

/// Why a flash read brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the configuration says read_flash = \"never\" for this port")]
    Never,
    #[error("the port is not listened to; `espgate ports claim` takes it")]
    NotOpen,
    #[error("nothing is plugged in there")]
    Absent,
    #[error(transparent)]
    Flash(#[from] FlashError),
    #[error("cannot store the coredump")]
    Store(#[source] crate::store::Error),
    #[error("the read was broken off")]
    BrokenOff,
}

/// Asks a port's task to read.
#[derive(Debug)]
pub(super) struct Request {
    /// The crash for which it is read, if it is for one.
    pub(super) crash: Option<Arc<Captured>>,
    pub(super) progress: watch::Sender<Option<Progress>>,
    pub(super) reply: oneshot::Sender<Result<Read, ReadError>>,
}

impl Port {
    /// Reads the board's flash over the open port; the board is in its
    /// application again afterwards, whatever comes of it.
    pub(super) async fn read_flash(
        &mut self,
        link: &mut SerialLink,
        plan: &Plan,
        boot: Boot,
        request: Request,
    ) {
        let Request {
            crash,
            progress,
            reply,
        } = request;
        // a board that crashed has begun to boot, and said little so far
        let crash = crash.as_ref().map(|captured| &captured.crash);
        let mut dump = FlashDump {
            bytes: Vec::new(),
            boot: crash.map_or(boot, |crash| crash.boot().clone()),
            log: crash.and_then(Crash::log),
        };
        self.board.enter(State::ReadingFlash, None);
        let answer = match self.read(link, plan, &progress).await {
            Ok(bytes) => {
                dump.bytes = bytes;
                self.store(plan, dump).await
            }
            Err(error) => Err(error),
        };
        self.board.enter(State::Listening, None);
        let path = plan.path.display();
        match &answer {
            Ok(read) => Event::FlashRead
                .entry()
                .port(&path)
                .device(&read.device)
                .coredump(&read.received.id)
                .say(format_args!(
                    "read coredump {} from the flash of the board on {path}",
                    read.received.id
                )),
            Err(error) => Event::FlashReadFailed.entry().port(&path).say(format_args!(
                "no coredump from the flash of the board on {path}: {}",
                chain(error)
            )),
        }
        // whoever asked may have left
        let _ = reply.send(answer);
    }

    /// The bytes of the coredump in flash. Nothing in the ROM's protocol
    /// protects them: a dump whose checksum does not fit is read once more.
    async fn read(
        &mut self,
        link: &mut SerialLink,
        plan: &Plan,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<Vec<u8>, ReadError> {
        if plan.settings.read_flash == ReadFlash::Never {
            return Err(ReadError::Never);
        }
        let bytes = self.read_once(link, plan, progress).await?;
        if coredump::examine(&bytes).verdict != Verdict::ChecksumMismatch {
            return Ok(bytes);
        }
        Ok(self.read_once(link, plan, progress).await.unwrap_or(bytes))
    }

    async fn read_once(
        &mut self,
        link: &mut SerialLink,
        plan: &Plan,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<Vec<u8>, ReadError> {
        let options = self.options(plan);
        let (state, id) = (Arc::clone(&self.state), plan.id.clone());
        let mut note = move |note| note_bootloader(&state, &id, note == Note::Entering);
        let mut mac = None;
        let mut tell = |now: Progress| {
            mac = now.mac.or(mac);
            progress.send_replace(Some(now));
        };
        let found = flash::read_coredump(link, &options, &self.stop, &mut note, &mut tell).await;
        // who it is, is worth knowing whatever was found
        if let Some(mac) = mac {
            self.met(plan, mac);
        }
        Ok(found?.bytes)
    }

    async fn store(&self, plan: &Plan, dump: FlashDump) -> Result<Read, ReadError> {
        let (crash, site) = (Crash::Flash(Box::new(dump)), self.site(plan));
        let (intake, board) = (Arc::clone(&self.intake), Arc::clone(&self.board));
        let work = move || intake.take(&crash, &site);
        let (received, device) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| ReadError::BrokenOff)?
            .map_err(ReadError::Store)?;
        board.stored(&received, &device);
        Ok(Read { received, device })
    }

    /// What is known of where a crash on this port comes from.
    pub(super) fn site(&self, plan: &Plan) -> Site {
        Site::of(plan, &self.state.read())
    }

    /// Notes which board is behind the port.
    fn met(&self, plan: &Plan, mac: MacAddress) {
        let before = self.site(plan);
        if before.mac == Some(mac) {
            return;
        }
        note_board(&self.state, plan, Some(mac));
        self.intake.met(&before, &self.site(plan));
    }

    /// The port is gone or somebody else's. Unless its adapter has a serial
    /// number of its own, what is there next may be another board.
    pub(super) fn forget_board(&self, plan: &Plan) {
        if !plan.is_told_apart() && self.state.read().of(&plan.id).board.is_some() {
            note_board(&self.state, plan, None);
        }
    }

    /// Resets a board into its application that was left in its bootloader by
    /// a daemon that was killed, or by a power cut.
    pub(super) async fn bring_back(&self, link: &mut SerialLink, plan: &Plan) {
        let path = plan.path.display();
        match flash::reset_into_app(link, &self.options(plan)).await {
            Ok(was_reset) => {
                note_bootloader(&self.state, &plan.id, false);
                let what = if was_reset {
                    "it was reset into its application"
                } else {
                    "it cannot be reset from here: press its reset button, or cut its power"
                };
                Event::BoardResetLate.entry().port(&path).say(format_args!(
                    "the board on {path} was left in its bootloader by a read that was cut short; {what}"
                ));
            }
            Err(error) => Event::PortTrouble.entry().port(&path).say(format_args!(
                "the board on {path} is still in its bootloader: {}",
                chain(&error)
            )),
        }
    }

    fn options(&self, plan: &Plan) -> Options {
        let common = self.common.borrow();
        options(plan, common.table_offset, common.console.max_dump_bytes)
    }
}

/// Writes down that a board is in its bootloader, or no longer.
fn note_bootloader(state: &StateFile<PortsState>, id: &str, inside: bool) {
    note(state, id, |state| state.ensure(id).in_bootloader = inside);
}

/// Writes down which board is behind a port; `None`: who knows.
fn note_board(state: &StateFile<PortsState>, plan: &Plan, mac: Option<MacAddress>) {
    note(state, &plan.id, |state| {
        state.note_board(plan, mac);
    });
}

/// Writes something down about a port; the port works without it, too.
pub(super) fn note(state: &StateFile<PortsState>, id: &str, change: impl FnOnce(&mut PortsState)) {
    let noted = state.change(|state| {
        change(state);
        state.tidy(&Moment::now());
        Ok::<_, Infallible>(())
    });
    if let Err(error) = noted {
        Event::PortTrouble.entry().port(&id).say(format_args!(
            "cannot note what is known of the board on {id}: {}",
            chain(&error)
        ));
    }
}

/// How a port's board is reached.
fn options(plan: &Plan, table_offset: u32, max_dump_bytes: usize) -> Options {
    let PortSettings { lines, baud, .. } = plan.settings;
    Options {
        reset: kind(plan),
        lines,
        console_baud: baud,
        settings: bootloader::Settings {
            table_offset,
            limit: u32::try_from(max_dump_bytes).unwrap_or(u32::MAX),
            ..bootloader::Settings::default()
        },
    }
}

/// The board's reset circuit.
pub(super) fn kind(plan: &Plan) -> Kind {
    use crate::config::Reset as Configured;
    let reset = match plan.settings.reset {
        Configured::Auto => Reset::Auto,
        Configured::Classic => Reset::Kind(Kind::Classic),
        Configured::UsbJtag => Reset::Kind(Kind::UsbJtag),
        Configured::None => Reset::Kind(Kind::None),
    };
    reset.resolve(plan.usb.as_ref().map(|usb| (usb.vid, usb.pid)))
}
