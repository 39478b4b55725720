//! Reading a board's coredump from flash: when asked, or after a crash whose
//! dump the console did not give.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::bootloader::{self, Found, Progress};
use crate::clock::Moment;
use crate::config::ReadFlash;
use crate::device::DeviceKey;
use crate::ingest::Received;
use crate::journal::{Event, chain};
use crate::store::registry::StateFile;

use super::flash::{self, FlashError, Note, Options};
use super::intake::{Crash, Site};
use super::link::SerialLink;
use super::policy::{Plan, PortSettings};
use super::port::Port;
use super::reset::{Kind, Reset};
use super::state::PortsState;
use super::status::State;

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
        request: Request,
    ) {
        let Request { progress, reply } = request;
        self.board.enter(State::ReadingFlash, None);
        let answer = self.read_and_store(link, plan, &progress).await;
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

    async fn read_and_store(
        &mut self,
        link: &mut SerialLink,
        plan: &Plan,
        progress: &watch::Sender<Option<Progress>>,
    ) -> Result<Read, ReadError> {
        if plan.settings.read_flash == ReadFlash::Never {
            return Err(ReadError::Never);
        }
        let options = self.options(plan);
        let (state, id) = (Arc::clone(&self.state), plan.id.clone());
        let mut note = move |note| note_bootloader(&state, &id, note == Note::Entering);
        let mut tell = |now| {
            progress.send_replace(Some(now));
        };
        let found = flash::read_coredump(link, &options, &self.stop, &mut note, &mut tell).await?;
        let Found { bytes, mac, .. } = found;
        self.mac = mac.or(self.mac);
        let site = Site {
            mac: self.mac,
            ..Site::of(plan)
        };
        let (intake, board) = (Arc::clone(&self.intake), Arc::clone(&self.board));
        let work = move || intake.take(&Crash::Flash(bytes), &site);
        let (received, device) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| ReadError::BrokenOff)?
            .map_err(ReadError::Store)?;
        board.stored(&received, &device);
        Ok(Read { received, device })
    }

    /// Resets a board into its application that was left in its bootloader by
    /// a daemon that was killed, or by a power cut.
    pub(super) async fn bring_back(&self, link: &mut SerialLink, plan: &Plan) {
        let path = plan.path.display();
        match flash::reset_into_app(link, &self.options(plan)).await {
            Ok(()) => {
                note_bootloader(&self.state, &plan.id, false);
                Event::BoardResetLate.entry().port(&path).say(format_args!(
                    "the board on {path} was left in its bootloader by a read that was cut short; it was reset into its application"
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
    let noted = state.change(|state| {
        state.ensure(id).in_bootloader = inside;
        state.tidy(&Moment::now());
        Ok::<_, Infallible>(())
    });
    if let Err(error) = noted {
        Event::PortTrouble.entry().port(&id).say(format_args!(
            "cannot note where the board on {id} is: {}",
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
fn kind(plan: &Plan) -> Kind {
    use crate::config::Reset as Configured;
    let reset = match plan.settings.reset {
        Configured::Auto => Reset::Auto,
        Configured::Classic => Reset::Kind(Kind::Classic),
        Configured::UsbJtag => Reset::Kind(Kind::UsbJtag),
        Configured::None => Reset::Kind(Kind::None),
    };
    reset.resolve(plan.usb.as_ref().map(|usb| (usb.vid, usb.pid)))
}

/// Remembers for which crashes the flash was read without being asked.
#[derive(Default)]
pub(super) struct OnCrash {
    read: VecDeque<String>,
    last: Option<Duration>,
}

impl OnCrash {
    /// Whether a crash that was stored is worth a reset of the board: the
    /// console did not give the whole dump, the crash is a new one, the last
    /// read is long enough ago, and the board survives the reset.
    pub(super) fn wants(&mut self, plan: &Plan, received: &Received, now: Duration) -> bool {
        let allowed = plan.settings.read_flash == ReadFlash::OnCrash && kind(plan) != Kind::UsbJtag;
        let recent = self
            .last
            .is_some_and(|last| now.saturating_sub(last) < APART);
        let known = received
            .fingerprint
            .as_ref()
            .is_some_and(|crash| self.read.contains(crash));
        if !allowed || received.verdict.is_whole() || recent || known {
            return false;
        }
        self.last = Some(now);
        if let Some(crash) = &received.fingerprint {
            self.read.push_back(crash.clone());
            if self.read.len() > MOST_CRASHES {
                self.read.pop_front();
            }
        }
        true
    }
}

/// Between two reads without being asked.
const APART: Duration = Duration::from_secs(600);
const MOST_CRASHES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coredump::Verdict;
    use crate::serial::discover::{Found, Usb};
    use crate::serial::policy;

    fn plan(text: &str, pid: u16) -> Plan {
        let config = crate::config::parse(text).unwrap().config.serial;
        let usb = Usb {
            vid: 0x303a,
            pid,
            place: "1-1".to_owned(),
            ..Usb::default()
        };
        let found = [Found {
            path: "/dev/ttyACM0".into(),
            usb,
        }];
        policy::plan(&found, &[], &config, &PortsState::default(), &Moment::now()).remove(0)
    }

    fn received(verdict: Verdict, fingerprint: Option<&str>) -> Received {
        Received {
            filename: String::new(),
            id: String::new(),
            kept: true,
            verdict,
            fingerprint: fingerprint.map(str::to_owned),
        }
    }

    const ON_CRASH: &str =
        "[[serial.port]]\nmatch = { place = \"1-1\" }\nread_flash = \"on-crash\"";

    #[test]
    fn the_flash_is_read_once_per_crash_and_not_too_often() {
        let plan = plan(ON_CRASH, 2);
        let mut on_crash = OnCrash::default();
        let mut wants = |verdict, crash, minute: u64| {
            on_crash.wants(
                &plan,
                &received(verdict, crash),
                Duration::from_secs(minute * 60),
            )
        };
        assert!(!wants(Verdict::Valid, Some("a"), 0));
        assert!(wants(Verdict::PanicOnly, Some("a"), 1));
        assert!(!wants(Verdict::PanicOnly, Some("b"), 2));
        assert!(!wants(Verdict::PanicOnly, Some("a"), 12));
        assert!(wants(Verdict::Truncated, Some("b"), 12));
        assert!(wants(Verdict::PanicOnly, None, 23));
    }

    #[test]
    fn it_is_never_read_unasked_over_a_chips_own_usb_or_if_not_configured() {
        let crash = received(Verdict::PanicOnly, Some("a"));
        for plan in [plan(ON_CRASH, 0x1001), plan("", 2)] {
            assert!(
                !OnCrash::default().wants(&plan, &crash, Duration::ZERO),
                "{plan:?}"
            );
        }
    }
}
