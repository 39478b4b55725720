//! From the first sync to the last byte of the coredump.

use std::time::Duration;

use super::chip;
use super::command::{Command, FLASH_BLOCK, RomReply};
use super::dump::PartialDump;
use super::exchange::{Exchange, ExchangeEvent};
use super::outcome::{Error, LineActivity, RawDump, ReadProgress, ReadStage};
use super::partition::PartitionTable;
use super::phase::Phase;
use crate::device::{Chip, MacAddress};
use crate::reader::{Reader, word_at};

/// Settings of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionSettings {
    /// Where the partition table is; 0x8000 unless the project moved it.
    pub table_offset: u32,
    /// A faster speed than the first one, if the line can do it.
    pub faster: Option<u32>,
    /// Most bytes of coredump to take.
    pub limit: u32,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            table_offset: 0x8000,
            faster: Some(921_600),
            limit: 1024 * 1024,
        }
    }
}

/// What a [`ReadSession`] wants done next.
#[derive(Debug, Eq, PartialEq)]
pub enum SessionAction {
    /// Send `bytes`; call [`ReadSession::receive`] with what arrives, or
    /// [`ReadSession::expire`] once `patience` is over without another action.
    Send {
        bytes: Vec<u8>,
        patience: Duration,
    },
    /// Set the port to `baud`, wait `settle`, drop what arrived meanwhile,
    /// then call [`ReadSession::speed_changed`].
    ChangeSpeed {
        baud: u32,
        settle: Duration,
    },
    Done(Result<RawDump, Error>),
}

/// The session with a ROM that finds and reads the coredump.
#[derive(Debug)]
pub struct ReadSession {
    settings: SessionSettings,
    exchange: Exchange,
    phase: Phase,
    /// What came before the first answer, for a better message.
    heard: Vec<u8>,
    chip: Option<Chip>,
    mac: Option<MacAddress>,
    encrypting: bool,
    table: PartitionTable,
    dump: PartialDump,
    /// What an earlier session read of the dump.
    earlier: Option<UnfinishedRead>,
    /// The request that gives the ROM its first speed back.
    first_speed: Option<Vec<u8>>,
}

/// What a session that was lost read of the dump; another one continues there.
#[derive(Debug)]
pub struct UnfinishedRead {
    mac: Option<MacAddress>,
    dump: PartialDump,
}

/// The end of a session, early or not, is passed up like an error.
type Step = Result<SessionAction, Result<RawDump, Error>>;

impl ReadSession {
    /// A session with a board that was just reset into its bootloader, and its
    /// first action.
    pub fn begin(settings: SessionSettings) -> (Self, SessionAction) {
        let mut session = Self {
            settings,
            exchange: Exchange::idle(),
            phase: Phase::Sync,
            heard: Vec::new(),
            chip: None,
            mac: None,
            encrypting: false,
            table: PartitionTable::default(),
            dump: PartialDump::default(),
            earlier: None,
            first_speed: None,
        };
        let first = session.ask(Phase::Sync, Command::Sync);
        let first = first.unwrap_or_else(SessionAction::Done);
        (session, first)
    }

    /// Continues where a lost session was, if the board has the same dump still.
    #[must_use]
    pub fn continuing(mut self, earlier: Option<UnfinishedRead>) -> Self {
        self.earlier = earlier;
        self
    }

    /// What was read of the dump, of a session that is lost.
    pub fn unfinished(self) -> Option<UnfinishedRead> {
        let read = UnfinishedRead {
            mac: self.mac,
            dump: self.dump,
        };
        let is_more = read.dump.done() > 0;
        if is_more { Some(read) } else { self.earlier }
    }

    /// The request after which the ROM listens at its first speed again, once its
    /// speed was changed.
    pub fn first_speed(&self) -> Option<&[u8]> {
        self.first_speed.as_deref()
    }

    /// Takes what arrived; `None` while the answer is not there yet.
    pub fn receive(&mut self, bytes: &[u8]) -> Option<SessionAction> {
        if self.phase == Phase::Sync {
            let room = HEARD.saturating_sub(self.heard.len());
            self.heard.extend(bytes.iter().take(room));
        }
        let event = self.exchange.receive(bytes)?;
        Some(self.handle(event).unwrap_or_else(SessionAction::Done))
    }

    /// No reply within the time.
    pub fn expire(&mut self) -> SessionAction {
        let event = match self.phase {
            // The ROM's speed is unknown now.
            Phase::Speed { .. } => ExchangeEvent::Silent,
            _ => self.exchange.expire(),
        };
        self.handle(event).unwrap_or_else(SessionAction::Done)
    }

    /// The port has the speed that was asked for.
    pub fn speed_changed(&mut self) -> SessionAction {
        let step = match self.phase {
            Phase::Speed { baud, .. } => self.ask(Phase::FastSync { baud }, Command::Sync),
            _ => self.read_table(0),
        };
        step.unwrap_or_else(SessionAction::Done)
    }

    /// Progress of the session.
    pub fn progress(&self) -> ReadProgress {
        ReadProgress {
            stage: self.phase.stage(),
            mac: self.mac,
            app: self.table.app_slot().filter(|_| !self.encrypting),
            done: self.dump.done(),
            total: self.dump.length,
        }
    }

    fn handle(&mut self, event: ExchangeEvent) -> Step {
        match event {
            ExchangeEvent::Send(bytes, patience) => Ok(SessionAction::Send { bytes, patience }),
            ExchangeEvent::Answered(RomReply::Done { value, data }) => self.advance(value, &data),
            ExchangeEvent::Answered(RomReply::Refused { reason }) => self.refused(reason),
            ExchangeEvent::Silent => Err(Err(self.silence())),
        }
    }

    fn refused(&mut self, reason: u8) -> Step {
        match self.phase {
            // Not an error: only the ESP32 refuses this command.
            Phase::SecurityInfo => self.register(Phase::Magic, chip::MAGIC_REGISTER),
            // The speed stays.
            Phase::Speed { .. } => self.read_table(0),
            _ => match self.exchange.again() {
                ExchangeEvent::Send(bytes, patience) => Ok(SessionAction::Send { bytes, patience }),
                _ => Err(Err(Error::Refused {
                    stage: self.phase.stage(),
                    reason,
                })),
            },
        }
    }

    fn silence(&self) -> Error {
        match self.phase {
            Phase::Sync => Error::NoAnswer(self.line_activity()),
            Phase::Speed { baud, .. } | Phase::FastSync { baud } => Error::SpeedLost(baud),
            _ => Error::Lost(self.phase.stage()),
        }
    }

    fn line_activity(&self) -> LineActivity {
        let said = |text: &[u8]| self.heard.windows(text.len()).any(|window| window == text);
        let prompts: [&[u8]; 4] = [
            b"waiting for download",
            b"wait uart0 download",
            b"(DOWNLOAD",
            b"(UART_BOOT",
        ];
        if prompts.into_iter().any(said) {
            LineActivity::DownloadPrompt
        } else if self.heard.iter().any(u8::is_ascii_graphic) {
            LineActivity::OtherText
        } else {
            LineActivity::Silent
        }
    }

    /// The answer to the command of the present phase leads to the next one.
    fn advance(&mut self, value: u32, data: &[u8]) -> Step {
        match self.phase {
            Phase::Sync => self.ask(Phase::SecurityInfo, Command::SecurityInfo),
            Phase::SecurityInfo => self.identify(data),
            Phase::Magic => {
                let chip = chip::from_magic(value);
                let unknown = || Err(Error::UnknownChip(format!("magic {value:#010x}")));
                self.chip = Some(chip.ok_or_else(unknown)?);
                match chip {
                    Some(Chip::Esp32) => self.register(Phase::Encryption, chip::ESP32_ENCRYPTION),
                    _ => self.read_mac(),
                }
            }
            Phase::Encryption => {
                self.encrypting = chip::is_encrypting(value >> 20 & 0x7F);
                self.read_mac()
            }
            Phase::MacLow => {
                let next = self.chip.map(chip::mac_register).unwrap_or_default() + 4;
                self.register(Phase::MacHigh { low: value }, next)
            }
            Phase::MacHigh { low } => {
                self.mac = chip::mac_address(low, value);
                self.ask(Phase::Attach, Command::AttachFlash)
            }
            Phase::Attach => self.ask(Phase::FlashSize, Command::FlashSize { bytes: REACH }),
            Phase::FlashSize => self.raise_speed(),
            Phase::Calibration => {
                let calibration = value;
                self.register(Phase::SlowClock { calibration }, chip::ESP32_SLOW_CLOCK)
            }
            Phase::SlowClock { calibration } => {
                let wanted = self.settings.faster.unwrap_or(super::ROM_BAUD);
                let asked = |baud| chip::esp32_speed(baud, calibration, value);
                self.change_speed(wanted, asked(wanted), asked(super::ROM_BAUD))
            }
            Phase::Speed { baud, first } => {
                self.first_speed = Some(Command::ChangeSpeed { baud: first }.frame());
                Ok(SessionAction::ChangeSpeed {
                    baud,
                    settle: SETTLE,
                })
            }
            Phase::FastSync { .. } => self.read_table(0),
            Phase::Table { read } => self.search_table(read, data),
            Phase::Dump => self.collect(data),
        }
    }

    /// Security info: flags, encryption counter, seven key purposes and, but
    /// for the ESP32-S2, the chip id.
    fn identify(&mut self, data: &[u8]) -> Step {
        let mut info = Reader::new(data);
        let flags = info.word().unwrap_or_default();
        self.encrypting = chip::is_encrypting(info.byte().unwrap_or_default().into());
        if flags & SECURE_DOWNLOAD != 0 {
            return Err(Err(Error::SecureDownload));
        }
        let Some(id) = word_at(data, 12) else {
            return self.register(Phase::Magic, chip::MAGIC_REGISTER);
        };
        let chip = u16::try_from(id).ok().and_then(Chip::from_id);
        let unknown = || Err(Error::UnknownChip(format!("chip id {id}")));
        self.chip = Some(chip.ok_or_else(unknown)?);
        self.read_mac()
    }

    fn read_mac(&mut self) -> Step {
        let address = self.chip.map(chip::mac_register).unwrap_or_default();
        self.register(Phase::MacLow, address)
    }

    fn raise_speed(&mut self) -> Step {
        match (self.settings.faster, self.chip) {
            (Some(_), Some(Chip::Esp32)) => {
                self.register(Phase::Calibration, chip::ESP32_CALIBRATION)
            }
            (Some(baud), Some(chip)) if chip::changes_speed(chip) => {
                self.change_speed(baud, baud, super::ROM_BAUD)
            }
            _ => self.read_table(0),
        }
    }

    /// `asked` and `first` are what to ask for to get `baud` and the first speed.
    fn change_speed(&mut self, baud: u32, asked: u32, first: u32) -> Step {
        let command = Command::ChangeSpeed { baud: asked };
        self.ask(Phase::Speed { baud, first }, command)
    }

    fn read_table(&mut self, read: u32) -> Step {
        let offset = self.settings.table_offset.saturating_add(read);
        self.read_flash(Phase::Table { read }, offset, FLASH_BLOCK)
    }

    fn search_table(&mut self, read: u32, data: &[u8]) -> Step {
        match self.table.feed(data) {
            Ok(false) => self.read_table(read.saturating_add(FLASH_BLOCK)),
            Ok(true) => self.open_partition(),
            // The table is encrypted as soon as anything is.
            Err(_) if self.encrypting => Err(Err(Error::Encrypted)),
            Err(cause) => Err(Err(Error::Table {
                offset: self.settings.table_offset,
                cause,
            })),
        }
    }

    fn open_partition(&mut self) -> Step {
        let partition = self.table.coredump().ok_or(Err(Error::NoPartition))?;
        let (offset, size) = (partition.offset, partition.size);
        if partition.encrypted && self.encrypting {
            return Err(Err(Error::Encrypted));
        }
        if offset.checked_add(size).is_none_or(|end| end > REACH) {
            return Err(Err(Error::OutOfReach { offset }));
        }
        self.dump = PartialDump::new(offset, size, self.settings.limit);
        self.read_flash(Phase::Dump, offset, FLASH_BLOCK)
    }

    fn collect(&mut self, data: &[u8]) -> Step {
        let is_first = self.dump.done() == 0;
        let mut next = self.dump.feed(data).map_err(Err)?;
        if is_first && let Some(earlier) = self.earlier.take() {
            let block = self.dump.bytes();
            if earlier.mac == self.mac && earlier.dump.begins_with(&self.dump, block) {
                self.dump = earlier.dump;
                next = self.dump.next();
            }
        }
        if let Some((offset, length)) = next {
            return self.read_flash(Phase::Dump, offset, length);
        }
        let chip = self.chip.ok_or(Err(Error::Lost(ReadStage::Identifying)))?;
        Err(Ok(RawDump {
            bytes: self.dump.bytes().to_vec(),
            chip,
            mac: self.mac,
            offset: self.dump.offset,
            partition_size: self.dump.partition_size,
        }))
    }

    fn read_flash(&mut self, phase: Phase, offset: u32, length: u32) -> Step {
        self.ask(phase, Command::ReadFlash { offset, length })
    }

    fn register(&mut self, phase: Phase, address: u32) -> Step {
        self.ask(phase, Command::ReadRegister { address })
    }

    fn ask(&mut self, phase: Phase, command: Command) -> Step {
        self.phase = phase;
        let event = self.exchange.begin(command);
        self.handle(event)
    }
}

/// Bytes kept of what came before the first answer.
const HEARD: usize = 2048;

/// Flash that the ROM is told of: all that three address bytes reach. Reading
/// past the end of a smaller chip starts over at its beginning.
const REACH: u32 = 16 * 1024 * 1024;

/// Flag in the security info.
const SECURE_DOWNLOAD: u32 = 1 << 2;

/// Both sides change speed at their own pace; what is sent in between is lost.
const SETTLE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
