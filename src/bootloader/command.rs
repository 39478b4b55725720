//! The commands sent to a ROM, and its replies.
//!
//! Request: `00 opcode length16 checksum32 data`. Answer: `01 opcode length16
//! value32 data status`, where the length counts data and status, and the
//! status has four bytes from a ROM and two from a flasher stub.

use super::slip;
use crate::reader::Reader;

/// Bytes in every answer to [`Command::ReadFlash`], however few were asked for.
pub const FLASH_BLOCK: u32 = 64;

/// A request. None of them changes flash, eFuses or memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Answered eight times by a ROM.
    Sync,
    ReadRegister {
        address: u32,
    },
    /// Refused by the ESP32 itself.
    SecurityInfo,
    /// Connects the flash chip on its default pins.
    AttachFlash,
    /// Sets the flash size that the ROM assumes.
    FlashSize {
        bytes: u32,
    },
    /// At most [`FLASH_BLOCK`] bytes.
    ReadFlash {
        offset: u32,
        length: u32,
    },
    /// Takes effect after the answer.
    ChangeSpeed {
        baud: u32,
    },
}

impl Command {
    /// The byte that stands for this command on the wire.
    pub fn opcode(self) -> u8 {
        match self {
            Self::Sync => 0x08,
            Self::ReadRegister { .. } => 0x0A,
            Self::FlashSize { .. } => 0x0B,
            Self::AttachFlash => 0x0D,
            Self::ReadFlash { .. } => 0x0E,
            Self::ChangeSpeed { .. } => 0x0F,
            Self::SecurityInfo => 0x14,
        }
    }

    /// The request as a frame on the wire.
    pub fn frame(self) -> Vec<u8> {
        let data = self.data();
        let mut request = vec![0x00, self.opcode()];
        // The longest data has 36 bytes; the checksum stays 0, it is only
        // looked at for commands that carry blocks.
        request.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_le_bytes());
        request.extend(0_u32.to_le_bytes());
        request.extend(data);
        slip::encode(&request)
    }

    fn data(self) -> Vec<u8> {
        let words: &[u32] = match self {
            Self::Sync => {
                let mut pattern = vec![0x07, 0x07, 0x12, 0x20];
                pattern.extend([0x55; 32]);
                return pattern;
            }
            Self::SecurityInfo => &[],
            Self::ReadRegister { address } => &[address],
            // Default pins, no legacy mode.
            Self::AttachFlash => &[0, 0],
            // Id, size, then block, sector and page size and the status mask
            // that all NOR flash chips share.
            Self::FlashSize { bytes } => &[0, bytes, 0x1_0000, 0x1000, 0x100, 0xFFFF],
            Self::ReadFlash { offset, length } => &[offset, length],
            // The second word is the old speed for stubs and 0 for ROMs.
            Self::ChangeSpeed { baud } => &[baud, 0],
        };
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// How many bytes of data the answer has before its status.
    fn answer_length(self, available: usize) -> usize {
        match self {
            Self::ReadFlash { .. } => BLOCK,
            // The ESP32-S2 sends 12 bytes, all later chips 20.
            Self::SecurityInfo if available >= 20 => 20,
            Self::SecurityInfo => 12,
            _ => 0,
        }
    }

    /// What `frame` says in answer to this command; `None` if it is something
    /// else: an echo, noise, or the answer to another command.
    pub fn answer(self, frame: &[u8]) -> Option<RomReply> {
        let mut reader = Reader::new(frame);
        let (direction, opcode) = (reader.byte()?, reader.byte()?);
        let (length, value) = (reader.half()?, reader.word()?);
        let rest = reader.rest();
        // A byte that was lost or added on the way shows here.
        if direction != 0x01 || usize::from(length) != rest.len() {
            return None;
        }
        let refusal = |status: &[u8]| match status {
            [0, ..] | [] => None,
            [_, reason, ..] => Some(RomReply::Refused { reason: *reason }),
            [_] => Some(RomReply::Refused { reason: 0 }),
        };
        if opcode != self.opcode() {
            // Some ROMs put another opcode into the refusal of a command that
            // they do not know; of ours that can only be this one.
            let unknown = self == Self::SecurityInfo && rest.get(1) == Some(&UNKNOWN_COMMAND);
            return unknown.then(|| refusal(rest)).flatten();
        }
        // A refusal comes without the data that was asked for.
        if matches!(rest.len(), 2 | 4)
            && let Some(refused) = refusal(rest)
        {
            return Some(refused);
        }
        let length = self.answer_length(rest.len().saturating_sub(2));
        let (data, status) = rest.split_at_checked(length)?;
        if !matches!(status.len(), 2 | 4) {
            return None;
        }
        refusal(status).or_else(|| {
            Some(RomReply::Done {
                value,
                data: data.to_vec(),
            })
        })
    }
}

/// A ROM's answer to one command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RomReply {
    /// `value` is the register for [`Command::ReadRegister`] and without
    /// meaning for the others, but never 0 after a ROM's first sync.
    Done { value: u32, data: Vec<u8> },
    /// 5 is "not understood", 6 "failed", 7 "wrong checksum", 8 and 9 flash
    /// write and read errors, 10 "flash read length".
    Refused { reason: u8 },
}

const BLOCK: usize = FLASH_BLOCK as usize;
const UNKNOWN_COMMAND: u8 = 0x05;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(opcode: u8, value: u32, rest: &[u8]) -> Vec<u8> {
        let mut frame = vec![1, opcode];
        frame.extend(u16::try_from(rest.len()).unwrap().to_le_bytes());
        frame.extend(value.to_le_bytes());
        frame.extend(rest);
        frame
    }

    #[test]
    fn requests_have_the_layout_of_the_protocol_page() {
        assert_eq!(
            Command::ReadRegister {
                address: 0x4000_1000
            }
            .frame(),
            [0xC0, 0, 0x0A, 4, 0, 0, 0, 0, 0, 0, 0x10, 0, 0x40, 0xC0]
        );
        let sync = Command::Sync.frame();
        assert_eq!(sync.len(), 46);
        assert_eq!(
            sync[..13],
            [0xC0, 0, 8, 36, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20]
        );
        assert_eq!(
            Command::SecurityInfo.frame(),
            [0xC0, 0, 0x14, 0, 0, 0, 0, 0, 0, 0xC0]
        );
        let attach = Command::AttachFlash.frame();
        assert_eq!(attach.len(), 2 + 8 + 8);
    }

    #[test]
    fn answers_of_real_chips_are_understood() {
        // An ESP32's magic register; an ESP32-C6's security info.
        let magic = [1, 0x0A, 4, 0, 0x83, 0x1D, 0xF0, 0, 0, 0, 0, 0];
        let command = Command::ReadRegister {
            address: 0x4000_1000,
        };
        assert_eq!(
            command.answer(&magic),
            Some(RomReply::Done {
                value: 0x00F0_1D83,
                data: vec![]
            })
        );
        let mut info = vec![1, 0x14, 24, 0, 7, 7, 0x12, 0x20];
        info.extend([0; 11]);
        info.extend([0x0C, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let Some(RomReply::Done { data, .. }) = Command::SecurityInfo.answer(&info) else {
            panic!("no answer");
        };
        assert_eq!(data[12..16], [13, 0, 0, 0]);
    }

    #[test]
    fn stub_and_rom_status_lengths_are_both_taken() {
        let read = Command::ReadFlash {
            offset: 0,
            length: 64,
        };
        for status in [&[0, 0][..], &[0, 0, 0, 0]] {
            let rest = [&[9; BLOCK], status].concat();
            let Some(RomReply::Done { data, .. }) = read.answer(&answer(0x0E, 1, &rest)) else {
                panic!("status of {} bytes", status.len());
            };
            assert_eq!(data, [9; BLOCK]);
        }
    }

    #[test]
    fn refusals_carry_their_reason() {
        let read = Command::ReadFlash {
            offset: 0,
            length: 64,
        };
        for rest in [
            &[1, 9][..],
            &[1, 9, 0, 0],
            &[&[0; 64][..], &[1, 9, 0, 0]].concat(),
        ] {
            assert_eq!(
                read.answer(&answer(0x0E, 0, rest)),
                Some(RomReply::Refused { reason: 9 }),
                "{rest:?}"
            );
        }
        for opcode in [0x14, 0x00, 0x0A] {
            assert_eq!(
                Command::SecurityInfo.answer(&answer(opcode, 0, &[1, 5, 0, 0])),
                Some(RomReply::Refused { reason: 5 }),
                "{opcode:#x}"
            );
        }
    }

    #[test]
    fn what_answers_something_else_is_no_answer() {
        let read = Command::ReadFlash {
            offset: 0,
            length: 64,
        };
        let short = answer(0x0E, 0, &[0; 67]);
        let mut cut = answer(0x0E, 0, &[0; 68]);
        cut.pop();
        let mut request = answer(0x0E, 0, &[0; 68]);
        request[0] = 0;
        for frame in [
            answer(0x08, 7, &[0; 4]),
            answer(0x0A, 0, &[1, 5, 0, 0]),
            short,
            cut,
            request,
            b"noise".to_vec(),
            vec![],
        ] {
            assert_eq!(read.answer(&frame), None, "{frame:?}");
        }
    }
}
