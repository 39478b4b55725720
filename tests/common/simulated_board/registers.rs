//! The registers that `esptool` and we look at: eFuses, clocks, and the SPI
//! controller through which `esptool` asks the flash chip for its id.

use std::collections::HashMap;

/// The simulated chips.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chip {
    Esp32,
    Esp32S2,
    Esp32C3,
    /// One that nobody has heard of, with this chip id.
    Unknown(u32),
}

/// Where the registers of one chip are.
struct Map {
    magic: u32,
    /// First word of the MAC address.
    mac: u32,
    spi: u32,
    /// Offsets in the SPI controller: USR2, MISO_DLEN, W0.
    spi_offsets: [u32; 3],
    uart_divider: u32,
}

impl Chip {
    fn map(self) -> Map {
        match self {
            Self::Esp32 => Map {
                magic: 0x00F0_1D83,
                mac: 0x3FF5_A004,
                spi: 0x3FF4_2000,
                spi_offsets: [0x24, 0x2C, 0x80],
                uart_divider: 0x3FF4_0014,
            },
            Self::Esp32S2 => Map {
                magic: 0x0000_07C6,
                mac: 0x3F41_A044,
                spi: 0x3F40_2000,
                spi_offsets: [0x20, 0x28, 0x58],
                uart_divider: 0x3F40_0014,
            },
            Self::Esp32C3 | Self::Unknown(_) => Map {
                magic: 0x1B31_506F,
                mac: 0x6000_8844,
                spi: 0x6000_2000,
                spi_offsets: [0x20, 0x28, 0x58],
                uart_divider: 0x6000_0014,
            },
        }
    }
}

/// What is burned into the chip and what its clocks do.
#[derive(Clone, Debug)]
pub struct Burned {
    pub chip: Chip,
    pub mac: [u8; 6],
    pub encrypting: bool,
    /// By how many percent the clock is off against which an ESP32's ROM
    /// measures its crystal.
    pub clock_error: u32,
    pub flash_size: usize,
}

/// The register file.
pub struct Registers {
    map: Map,
    flash_size: usize,
    words: HashMap<u32, u32>,
}

impl Registers {
    pub fn new(burned: &Burned) -> Self {
        let map = burned.chip.map();
        let [first, second, third, fourth, fifth, sixth] = burned.mac;
        // The ESP32 has a checksum of the address above its first two bytes.
        let high = u32::from_be_bytes([0x00, 0xA1, first, second]);
        let low = u32::from_be_bytes([third, fourth, fifth, sixth]);
        let mut words = HashMap::from([(MAGIC, map.magic), (map.mac, low), (map.mac + 4, high)]);
        if burned.chip == Chip::Esp32 {
            words.extend([
                (ESP32_EFUSE, u32::from(burned.encrypting) << 20),
                // Revision 1, rated for 240 MHz.
                (ESP32_EFUSE + 12, 1 << 15 | 1 << 13),
                (ESP32_EFUSE + 16, 100 + burned.clock_error),
                // 1024 cycles make exactly 40 MHz.
                (ESP32_CALIBRATION, 1024 << 7),
            ]);
        } else {
            // Minor revision 4.
            words.insert(map.mac + 12, 4 << 18);
        }
        Self {
            map,
            flash_size: burned.flash_size,
            words,
        }
    }

    /// `baud` is the present speed, from which the UART's divider follows.
    pub fn read(&self, address: u32, baud: u32) -> u32 {
        if address == self.map.uart_divider {
            return 40_000_000 / baud.max(1);
        }
        self.words.get(&address).copied().unwrap_or_default()
    }

    pub fn write(&mut self, address: u32, value: u32) {
        self.words.insert(address, value);
        // The SPI controller runs a command when this bit is set, and clears
        // it when it is done.
        if address == self.map.spi && value & SPI_RUN != 0 {
            let [command, answer_length, answer] = self.map.spi_offsets;
            let word = |offset| self.read(self.map.spi + offset, 0);
            let bits = (word(answer_length) + 1).min(32);
            let reply = self.flash_chip(word(command) as u8) & (u32::MAX >> (32 - bits));
            self.words.insert(self.map.spi + answer, reply);
            self.words.insert(address, value & !SPI_RUN);
        }
    }

    /// What the flash chip itself says to one of its commands.
    fn flash_chip(&self, command: u8) -> u32 {
        match command {
            // Id: maker, type, size as a power of two.
            0x9F => 0x0000_40C8 | self.flash_size.ilog2() << 16,
            // Status.
            0x05 | 0x15 | 0x35 => 0,
            // "SFDP", the beginning of its description of itself.
            0x5A => u32::from_le_bytes(*b"SFDP"),
            _ => u32::MAX,
        }
    }
}

const MAGIC: u32 = 0x4000_1000;
const ESP32_EFUSE: u32 = 0x3FF5_A000;
const ESP32_CALIBRATION: u32 = 0x3FF5_F06C;
const SPI_RUN: u32 = 1 << 18;
