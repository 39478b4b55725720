//! Reads the coredump out of a board's flash: reset into the bootloader, read,
//! reset into the application, the last also after an error.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::link::{Link, LinkError, ModemLines};
use super::reset::{self, ResetCircuit};
use crate::bootloader::{
    self, LineActivity, ROM_BAUD, RawDump, ReadProgress, ReadSession, ReadStage, SessionAction,
    SessionSettings, UnfinishedRead,
};

/// How to reset the board and read it.
#[derive(Clone, Copy, Debug)]
pub struct FlashReadOptions {
    pub reset: ResetCircuit,
    /// The lines at rest, before and afterwards.
    pub lines: ModemLines,
    /// The speed of the board's console, to which the port returns.
    pub console_baud: u32,
    pub settings: SessionSettings,
}

/// Whether the board is in its bootloader; has to be on disk, so that a board is
/// reset after a crash of the daemon or a power cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BootloaderNote {
    /// The board is about to be reset into its bootloader.
    Entering,
    /// The board was reset into its application.
    Left,
}

/// Why there is no coredump. Unless [`BootloaderNote::Left`] was given, the board still
/// has to be reset into its application.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Bootloader(#[from] bootloader::Error),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("flash read interrupted: daemon stopping")]
    Interrupted,
}

/// Reads the coredump from the board behind `link`.
///
/// The application does not run meanwhile (some seconds for 64 KiB). The board
/// is reset into it in every case: success, error, `stop`, and if the future is
/// dropped. After that, and only if the port still exists, `note` gets
/// [`BootloaderNote::Left`]. Without modem lines the board is read if it is in
/// its bootloader, and cannot be reset; it listens at its first speed afterwards.
///
/// If the bootloader stops responding, a board with a reset circuit is reset
/// again, up to three times, and the read continues where it was.
///
/// The bytes are not verified: the protocol has no checksum for them.
pub async fn read_coredump<L: Link>(
    link: &mut L,
    options: &FlashReadOptions,
    stop: &CancellationToken,
    note: &mut (dyn FnMut(BootloaderNote) + Send),
    progress: &mut (dyn FnMut(ReadProgress) + Send),
) -> Result<RawDump, SessionError> {
    note(BootloaderNote::Entering);
    let mut visit = Visit {
        link,
        options,
        note,
        inside: true,
        lacks_lines: false,
        first_speed: None,
    };
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => Err(SessionError::Interrupted),
        outcome = visit.read(progress) => outcome,
    };
    match visit.leave().await {
        // The dump counts, also if the port disconnected after it.
        Ok(()) | Err(LinkError::Gone) => {}
        Err(error) => log::warn!("board may still be in its bootloader: {error}"),
    }
    outcome
}

/// Resets the board behind `link` into its application, if the last
/// [`BootloaderNote`] was `Entering`. `false` if the port has no modem lines.
pub async fn reset_into_app<L: Link>(
    link: &mut L,
    options: &FlashReadOptions,
) -> Result<bool, LinkError> {
    link.set_baud(options.console_baud)?;
    let steps = options.reset.leave(options.lines);
    let was_reset = reset::run_steps(link, &steps).await?;
    if !was_reset {
        // what came while the bootloader was spoken to is no console text
        link.discard()?;
    }
    Ok(was_reset)
}

/// A stay in the bootloader; ends with the application running again.
struct Visit<'a, L: Link> {
    link: &'a mut L,
    options: &'a FlashReadOptions,
    note: &'a mut (dyn FnMut(BootloaderNote) + Send),
    inside: bool,
    /// The port turned out to have no modem lines.
    lacks_lines: bool,
    /// The request that gives a raised speed back.
    first_speed: Option<Vec<u8>>,
}

impl<L: Link> Visit<'_, L> {
    async fn read(
        &mut self,
        progress: &mut (dyn FnMut(ReadProgress) + Send),
    ) -> Result<RawDump, SessionError> {
        let mut settings = self.options.settings;
        if self.is_usb_unit() {
            // USB has no speed to raise.
            settings.faster = None;
        }
        let mut heard = LineActivity::Silent;
        let (mut attempt, mut losses) = (0, 0);
        let mut unfinished = None;
        let mut lost = None;
        loop {
            self.enter(attempt).await?;
            let outcome = match self.converse(settings, &mut unfinished, progress).await {
                Err(LinkError::Gone) if self.is_usb_unit() => {
                    self.link.reopen().await?;
                    self.converse(settings, &mut unfinished, progress).await
                }
                other => other,
            };
            match outcome? {
                Ok(found) => return Ok(found),
                // The line cannot do it: once more from the beginning, slowly.
                Err(bootloader::Error::SpeedLost(_)) if settings.faster.is_some() => {
                    settings.faster = None;
                }
                Err(bootloader::Error::NoAnswer(now)) => {
                    heard = heard.max(now);
                    attempt += 1;
                    if attempt == ATTEMPTS {
                        return Err(lost.unwrap_or(bootloader::Error::NoAnswer(heard)).into());
                    }
                }
                Err(failure) if is_lost(&failure) && self.has_circuit() && losses < RESTARTS => {
                    losses += 1;
                    attempt = 0;
                    if losses > 1 {
                        settings.faster = None;
                    }
                    lost = Some(failure);
                }
                Err(failure) => return Err(failure.into()),
            }
            self.give_speed_back().await;
        }
    }

    /// Into the bootloader, with the port at the speed where it begins.
    async fn enter(&mut self, attempt: u32) -> Result<(), LinkError> {
        let is_odd = attempt % 2 == 1;
        let raised = self.options.settings.faster.filter(|_| is_odd);
        // A chip that is not reset may have the speed of a read that was killed.
        let baud = match self.resets() {
            true => ROM_BAUD,
            false => raised.unwrap_or(ROM_BAUD),
        };
        self.link.set_baud(baud)?;
        self.link.discard()?;
        let hold = if is_odd { LONG_HOLD } else { SHORT_HOLD };
        let steps = self.options.reset.enter(hold);
        match reset::run_steps(self.link, &steps).await {
            // The unit left the bus because of the reset.
            Err(LinkError::Gone) if self.is_usb_unit() => self.link.reopen().await,
            other => {
                self.lacks_lines |= !other?;
                Ok(())
            }
        }
    }

    /// One session from the first sync to its end; it continues what is
    /// `unfinished`.
    async fn converse(
        &mut self,
        settings: SessionSettings,
        unfinished: &mut Option<UnfinishedRead>,
        progress: &mut (dyn FnMut(ReadProgress) + Send),
    ) -> Result<Result<RawDump, bootloader::Error>, LinkError> {
        let (session, mut action) = ReadSession::begin(settings);
        let mut session = session.continuing(unfinished.take());
        self.first_speed = None;
        loop {
            progress(session.progress());
            let next = match action {
                SessionAction::Send { bytes, patience } => {
                    exchange(self.link, &mut session, &bytes, patience).await
                }
                SessionAction::ChangeSpeed { baud, settle } => {
                    self.first_speed = session.first_speed().map(<[u8]>::to_vec);
                    self.link.set_baud(baud)?;
                    sleep(settle).await;
                    self.link.discard()?;
                    Ok(session.speed_changed())
                }
                SessionAction::Done(outcome) => {
                    *unfinished = session.unfinished();
                    return Ok(outcome);
                }
            };
            action = match next {
                Ok(action) => action,
                Err(error) => {
                    *unfinished = session.unfinished();
                    return Err(error);
                }
            };
        }
    }

    /// A chip that is not reset keeps the speed that it was asked for, and the
    /// next program would find a silent line.
    async fn give_speed_back(&mut self) {
        let Some(request) = self.first_speed.take().filter(|_| !self.resets()) else {
            return;
        };
        // as far as the line can do it
        if let Ok(Ok(())) = timeout(WRITE_LIMIT, self.link.write(&request)).await {
            let mut buffer = [0; 256];
            let answered = async { while self.link.read(&mut buffer).await.is_ok() {} };
            let _ = timeout(SPEED_ANSWER, answered).await;
        }
    }

    /// Whether the board has a reset circuit, by the configuration.
    fn has_circuit(&self) -> bool {
        self.options.reset != ResetCircuit::None
    }

    /// Whether the board can be reset, as far as is known.
    fn resets(&self) -> bool {
        self.has_circuit() && !self.lacks_lines
    }

    /// Whether the port is a part of the chip, which may leave the bus when
    /// the chip is reset.
    fn is_usb_unit(&self) -> bool {
        self.options.reset == ResetCircuit::UsbJtag
    }

    async fn leave(&mut self) -> Result<(), LinkError> {
        self.give_speed_back().await;
        match reset_into_app(self.link, self.options).await {
            // The unit is gone, and so is the chip.
            Err(LinkError::Gone) if self.is_usb_unit() => {}
            other => other.map(drop)?,
        }
        self.inside = false;
        (self.note)(BootloaderNote::Left);
        Ok(())
    }
}

impl<L: Link> Drop for Visit<'_, L> {
    fn drop(&mut self) {
        if !self.inside {
            return;
        }
        let speed = self.link.set_baud(self.options.console_baud);
        let steps = self.options.reset.leave(self.options.lines);
        if speed
            .and_then(|()| reset::run_steps_blocking(self.link, &steps))
            .is_ok()
        {
            (self.note)(BootloaderNote::Left);
        }
    }
}

/// Whether a new session may get further. A bootloader that was reset meanwhile
/// refuses to read: its flash is not attached.
fn is_lost(failure: &bootloader::Error) -> bool {
    matches!(
        failure,
        bootloader::Error::Lost(_)
            | bootloader::Error::Refused {
                stage: ReadStage::ReadingDump,
                ..
            }
    )
}

/// Sends a request and waits for what the session makes of the answer.
async fn exchange<L: Link>(
    link: &mut L,
    session: &mut ReadSession,
    request: &[u8],
    patience: Duration,
) -> Result<SessionAction, LinkError> {
    // A port that takes no bytes counts as no response.
    let sent = timeout(WRITE_LIMIT, link.write(request)).await;
    let deadline = Instant::now() + patience;
    if let Ok(written) = sent {
        written?;
    }
    let mut buffer = [0; 1024];
    loop {
        let Ok(count) = timeout_at(deadline, link.read(&mut buffer)).await else {
            return Ok(session.expire());
        };
        let arrived = buffer.get(..count?).unwrap_or_default();
        if let Some(action) = session.receive(arrived) {
            return Ok(action);
        }
    }
}

/// Resets into the bootloader before a board counts as not answering.
const ATTEMPTS: u32 = 3;

/// How long IO0 is held low, by turns.
const SHORT_HOLD: Duration = Duration::from_millis(50);
const LONG_HOLD: Duration = Duration::from_millis(550);

/// Times that a read begins again after the bootloader stopped responding.
const RESTARTS: u32 = 3;

const WRITE_LIMIT: Duration = Duration::from_secs(1);

/// For the answer to a change of speed, and for the change itself.
const SPEED_ANSWER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
