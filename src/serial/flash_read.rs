//! A port's task reads the coredump from its board's flash.

use crate::bootloader::{self, ReadProgress};
use crate::console::Boot;
use crate::coredump::{self, Verdict};
use crate::journal::{Event, chain};

use super::crash_recorder::{Crash, FlashDump};
use super::flash_read_request::{FlashRead, FlashReadError, FlashReadRequest, ReadRequester};
use super::flash_session::{self, BootloaderNote, FlashReadOptions};
use super::link::SerialLink;
use super::port_plan::{PortPlan, PortSettings};
use super::port_task::PortTask;
use super::status::{ActiveRead, State};

impl PortTask {
    /// Reads the board's flash over the open port. The board runs its
    /// application again afterwards, also if the read fails.
    pub(super) async fn read_flash(
        &mut self,
        link: &mut SerialLink,
        plan: &PortPlan,
        boot: Boot,
        request: FlashReadRequest,
    ) {
        // after a crash the console has only the beginning of the next boot
        let crash = request.crash.as_ref().map(|captured| &captured.crash);
        let (boot, log) = match crash {
            Some(crash) => (crash.boot().clone(), crash.log()),
            None => (boot, None),
        };
        self.monitor.enter(State::ReadingFlash, None);
        let outcome = self.read(link, plan, &request.reading).await;
        self.monitor.enter(State::Listening, None);
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(error) => return self.refuse(plan, request, error),
        };
        let reading = request.reading;
        let asked = request.reply.map(|reply| ReadRequester { reading, reply });
        let dump = FlashDump {
            bytes,
            boot,
            requested: asked.is_some(),
            log,
        };
        let crash = Crash::Flash(Box::new(dump));
        self.crashes.push(crash, self.capture_context(plan), asked);
    }

    /// Reports a failed read to the journal and to the requester.
    pub(super) fn refuse(&self, plan: &PortPlan, request: FlashReadRequest, error: FlashReadError) {
        let outcome = Err(error);
        report_result(plan, &outcome);
        drop(request.reading);
        if let Some(reply) = request.reply {
            // the requester may have left
            let _ = reply.send(outcome);
        }
    }

    /// The bytes of the coredump in flash. Nothing in the ROM's protocol
    /// protects them: a dump whose checksum does not fit is read once more.
    async fn read(
        &mut self,
        link: &mut SerialLink,
        plan: &PortPlan,
        reading: &ActiveRead,
    ) -> Result<Vec<u8>, FlashReadError> {
        let bytes = self.read_once(link, plan, reading).await?;
        if coredump::examine(&bytes).verdict != Verdict::ChecksumMismatch {
            return Ok(bytes);
        }
        self.note_bootloader(plan, true);
        let _ = self.state_writer.flush().await;
        Ok(self.read_once(link, plan, reading).await.unwrap_or(bytes))
    }

    async fn read_once(
        &mut self,
        link: &mut SerialLink,
        plan: &PortPlan,
        reading: &ActiveRead,
    ) -> Result<Vec<u8>, FlashReadError> {
        let options = self.options(plan);
        let mut note = |note| self.note_bootloader(plan, note == BootloaderNote::Entering);
        let mut mac = None;
        let mut tell = |now: ReadProgress| {
            mac = now.mac.or(mac);
            reading.show(now);
        };
        let found =
            flash_session::read_coredump(link, &options, &self.stop, &mut note, &mut tell).await;
        // kept also if the read failed
        if let Some(mac) = mac {
            self.learned_mac(plan, mac);
        }
        Ok(found?.bytes)
    }

    /// Resets a board into its application that was left in its bootloader by
    /// a daemon that was killed, or by a power cut.
    pub(super) async fn reset_stranded_board(&self, link: &mut SerialLink, plan: &PortPlan) {
        let path = plan.path.display();
        match flash_session::reset_into_app(link, &self.options(plan)).await {
            Ok(was_reset) => {
                self.note_bootloader(plan, false);
                let what = if was_reset {
                    "board was reset"
                } else {
                    "cannot reset it, the port has no modem lines: press its reset button or cut its power"
                };
                Event::BoardResetLate.entry().port(&path).say(format_args!(
                    "board on {path} was left in its bootloader by an interrupted flash read: {what}"
                ));
            }
            Err(error) => Event::PortTrouble.entry().port(&path).say(format_args!(
                "cannot reset board on {path} out of its bootloader: {}",
                chain(&error)
            )),
        }
    }

    /// Resets a board into its application, so that it boots and asks for firmware.
    pub(super) async fn reset_on_request(&mut self, link: &mut SerialLink, plan: &PortPlan) {
        let path = plan.path.display();
        match flash_session::reset_into_app(link, &self.options(plan)).await {
            Ok(true) => Event::BoardReset.entry().port(&path).say(format_args!(
                "board on {path} was reset: a rollout offers it a build, and it did not ask"
            )),
            // without modem lines it cannot be reset
            Ok(false) => {}
            Err(error) => Event::PortTrouble.entry().port(&path).say(format_args!(
                "cannot reset board on {path}: {}",
                chain(&error)
            )),
        }
    }

    fn options(&self, plan: &PortPlan) -> FlashReadOptions {
        let common = self.common.borrow();
        options(plan, common.table_offset, common.console.max_dump_bytes)
    }
}

/// Reports the result of a read.
pub(super) fn report_result(plan: &PortPlan, outcome: &Result<FlashRead, FlashReadError>) {
    let path = plan.path.display();
    match outcome {
        Ok(read) => Event::FlashRead
            .entry()
            .port(&path)
            .device(&read.device)
            .coredump(&read.received.id)
            .say(format_args!(
                "coredump {} read from flash of board on {path}",
                read.received.id
            )),
        Err(error) => Event::FlashReadFailed.entry().port(&path).say(format_args!(
            "flash read failed on {path}: {}",
            chain(error)
        )),
    }
}

/// The options for a port.
fn options(plan: &PortPlan, table_offset: u32, max_dump_bytes: usize) -> FlashReadOptions {
    let PortSettings { lines, baud, .. } = plan.settings;
    FlashReadOptions {
        reset: plan.reset_circuit(),
        lines,
        console_baud: baud,
        settings: bootloader::SessionSettings {
            table_offset,
            limit: u32::try_from(max_dump_bytes).unwrap_or(u32::MAX),
            ..bootloader::SessionSettings::default()
        },
    }
}
