//! The bootloader's side of the protocol, written from Espressif's protocol
//! page and from what `esptool` asks of a ROM; shares no code with the reader
//! under test.

use super::registers::{Burned, Chip, Registers};

/// A ROM's bootloader: frames in, frames out.
pub struct Rom {
    burned: Burned,
    registers: Registers,
    flash: Vec<u8>,
    secure_download: bool,
    attached: bool,
    /// How much flash it believes in; what lies beyond is refused.
    flash_size: usize,
    last_value: u32,
}

/// What a request leads to.
pub struct Reply {
    /// Payloads of the answers, in order.
    pub frames: Vec<Vec<u8>>,
    /// The speed after they are sent.
    pub speed: Option<u32>,
}

impl Rom {
    pub fn new(burned: Burned, flash: Vec<u8>, secure_download: bool) -> Self {
        Self {
            registers: Registers::new(&burned),
            burned,
            flash,
            secure_download,
            attached: false,
            flash_size: 2 * 1024 * 1024,
            last_value: 0,
        }
    }

    /// Answers one request that came at `baud`.
    pub fn request(&mut self, frame: &[u8], baud: u32) -> Reply {
        let mut speed = None;
        let Some((opcode, data)) = parse(frame) else {
            return Reply {
                frames: vec![answer(frame.get(1).copied().unwrap_or(0), 0, &[], INVALID)],
                speed,
            };
        };
        let word = |index: usize| {
            let bytes = data.get(4 * index..4 * index + 4);
            bytes.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
        };
        let allowed = !self.secure_download || SECURE.contains(&opcode);
        let mut repeat = 1;
        let (answered, data, status) = match opcode {
            _ if !allowed => (opcode, vec![], INVALID),
            // Its value is no register, and what follows repeats it.
            SYNC if data.len() == 36 => {
                self.last_value = 0x2012_0707;
                repeat = 8;
                (opcode, vec![], DONE)
            }
            WRITE_REG => {
                for operation in data.chunks_exact(16) {
                    let word =
                        |at: usize| u32::from_le_bytes(operation[at..at + 4].try_into().unwrap());
                    let kept = self.registers.read(word(0), baud) & !word(8);
                    self.registers.write(word(0), kept | word(4) & word(8));
                }
                (opcode, vec![], DONE)
            }
            READ_REG if data.len() == 4 => {
                self.last_value = self.registers.read(word(0), baud);
                (opcode, vec![], DONE)
            }
            SPI_SET_PARAMS if data.len() == 24 => {
                self.flash_size = word(1) as usize;
                (opcode, vec![], DONE)
            }
            SPI_ATTACH if data.len() == 8 => {
                self.attached = true;
                (opcode, vec![], DONE)
            }
            READ_FLASH_SLOW if data.len() == 8 => {
                let (data, status) = self.read_flash(word(0) as usize, word(1) as usize);
                (opcode, data, status)
            }
            CHANGE_BAUDRATE if data.len() == 8 => {
                speed = Some(self.true_speed(word(0)));
                (opcode, vec![], DONE)
            }
            GET_SECURITY_INFO if self.burned.chip != Chip::Esp32 => {
                (opcode, self.security_info(), DONE)
            }
            // Refusals of what a ROM does not know come eight times and do not
            // name the command.
            _ => {
                repeat = 8;
                (0, vec![], INVALID)
            }
        };
        let frame = answer(answered, self.last_value, &data, status);
        Reply {
            frames: vec![frame; repeat],
            speed,
        }
    }

    /// Always 64 bytes, of which those past `length` mean nothing.
    fn read_flash(&self, offset: usize, length: usize) -> (Vec<u8>, [u8; 4]) {
        if length > 64 {
            return (vec![], [1, 0x0A, 0, 0]);
        }
        if !self.attached || offset + length > self.flash_size {
            return (vec![], [1, 0x09, 0, 0]);
        }
        let byte = |at: usize| self.flash[at % self.flash.len()];
        let mut block: Vec<u8> = (offset..offset + length).map(byte).collect();
        block.resize(64, 0xEE);
        (block, DONE)
    }

    fn security_info(&self) -> Vec<u8> {
        let flags = u32::from(self.secure_download) << 2;
        let mut info = flags.to_le_bytes().to_vec();
        info.push(u8::from(self.burned.encrypting));
        info.extend([0; 7]);
        let id = match self.burned.chip {
            Chip::Esp32 | Chip::Esp32S2 => return info,
            Chip::Esp32C3 => 5,
            Chip::Unknown(id) => id,
        };
        info.extend(u32::to_le_bytes(id));
        info.extend([0; 4]);
        info
    }

    /// An ESP32's ROM divides by what it takes for its crystal's speed.
    fn true_speed(&self, asked: u32) -> u32 {
        match self.burned.chip {
            Chip::Esp32 => asked / (100 + self.burned.clock_error) * 100,
            _ => asked,
        }
    }
}

/// Opcode and data; `None` if the length is not what the header says.
pub fn parse(frame: &[u8]) -> Option<(u8, &[u8])> {
    let (header, data) = frame.split_at_checked(8)?;
    let length = u16::from_le_bytes([header[2], header[3]]);
    (header[0] == 0 && usize::from(length) == data.len()).then_some((header[1], data))
}

fn answer(opcode: u8, value: u32, data: &[u8], status: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0x01, opcode];
    frame.extend(((data.len() + status.len()) as u16).to_le_bytes());
    frame.extend(value.to_le_bytes());
    frame.extend(data);
    frame.extend(status);
    frame
}

pub const SYNC: u8 = 0x08;
pub const READ_FLASH_SLOW: u8 = 0x0E;
const WRITE_REG: u8 = 0x09;
const READ_REG: u8 = 0x0A;
const SPI_SET_PARAMS: u8 = 0x0B;
const SPI_ATTACH: u8 = 0x0D;
const CHANGE_BAUDRATE: u8 = 0x0F;
const GET_SECURITY_INFO: u8 = 0x14;

/// What is left in secure download mode, of what is simulated here.
const SECURE: [u8; 5] = [
    SYNC,
    SPI_SET_PARAMS,
    SPI_ATTACH,
    CHANGE_BAUDRATE,
    GET_SECURITY_INFO,
];

const DONE: [u8; 4] = [0; 4];
const INVALID: [u8; 4] = [1, 0x05, 0, 0];
