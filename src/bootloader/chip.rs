//! What differs between the chips: where their MAC address is, how they are
//! told apart, and whether their ROM knows its own clock.

use crate::device::{Chip, MacAddress};

/// A word in the ROM that differs between the chips without a chip id.
pub const MAGIC_REGISTER: u32 = 0x4000_1000;

/// ESP32: eFuse word 0, with the flash encryption counter in bits 20..27.
pub const ESP32_ENCRYPTION: u32 = 0x3FF5_A000;

/// ESP32: how many slow clock cycles of the crystal were counted (bits 7..32).
pub const ESP32_CALIBRATION: u32 = 0x3FF5_F06C;

/// ESP32: eFuse word 4, with the speed of the 8 MHz clock in bits 0..8.
pub const ESP32_SLOW_CLOCK: u32 = 0x3FF5_A010;

/// The chip whose ROM has `magic` at [`MAGIC_REGISTER`]; only chips that
/// cannot tell their id are looked for.
pub fn from_magic(magic: u32) -> Option<Chip> {
    match magic {
        0x00F0_1D83 => Some(Chip::Esp32),
        0x0000_07C6 => Some(Chip::Esp32S2),
        _ => None,
    }
}

/// Address of the eFuse word with the MAC address's last four bytes; the word
/// after it has the first two.
pub fn mac_register(chip: Chip) -> u32 {
    match chip {
        Chip::Esp32 => 0x3FF5_A004,
        Chip::Esp32S2 => 0x3F41_A044,
        Chip::Esp32S3 => 0x6000_7044,
        Chip::Esp32C2 => 0x6000_8840,
        Chip::Esp32C3 => 0x6000_8844,
        Chip::Esp32C6 | Chip::Esp32H2 => 0x600B_0844,
        Chip::Esp32C5 | Chip::Esp32C61 => 0x600B_4844,
        Chip::Esp32H4 => 0x600B_1844,
        Chip::Esp32H21 => 0x600B_4044,
        Chip::Esp32P4 => 0x5012_D044,
        Chip::Esp32S31 => 0x2071_5050,
    }
}

/// The MAC address in the two words at [`mac_register`]; `None` if it was
/// never burned.
pub fn mac_address(low: u32, high: u32) -> Option<MacAddress> {
    let [.., first, second] = high.to_be_bytes();
    let [third, fourth, fifth, sixth] = low.to_be_bytes();
    let bytes = [first, second, third, fourth, fifth, sixth];
    (bytes != [0; 6] && bytes != [0xFF; 6]).then(|| MacAddress::from_bytes(bytes))
}

/// Whether flash encryption is on: an odd number of bits was burned.
pub fn is_encrypting(counter: u32) -> bool {
    counter.count_ones() % 2 == 1
}

/// Whether the ROM can be asked for another speed by its number.
///
/// The ROMs of ESP32-C2 and ESP32-C5 misjudge some crystals; the first speed is
/// kept there.
pub fn changes_speed(chip: Chip) -> bool {
    !matches!(chip, Chip::Esp32C2 | Chip::Esp32C5)
}

/// What to ask an ESP32's ROM for to get `baud`.
///
/// That ROM measures its crystal against a clock that drifts with temperature
/// and then divides by what it measured, so the error goes into the request.
/// `calibration` and `slow_clock` are the words named above.
pub fn esp32_speed(baud: u32, calibration: u32, slow_clock: u32) -> u32 {
    let counted = u64::from(calibration >> 7);
    let measured = counted * 15_625 * u64::from(slow_clock & 0xFF) / 40;
    let crystal = if measured > 33_000_000 {
        40_000_000
    } else {
        26_000_000
    };
    match u32::try_from(u64::from(baud) * measured / crystal) {
        // Nothing measured: an emulator.
        Ok(0) | Err(_) => baud,
        Ok(corrected) => corrected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_put_together_from_two_words() {
        let mac = mac_address(0xA44B_417C, 0x00A1_30AE).unwrap();
        assert_eq!(mac.to_string(), "30aea44b417c");
        assert_eq!(mac_address(0, 0xABCD_0000), None);
    }

    #[test]
    fn encryption_is_on_for_an_odd_number_of_bits() {
        let on = [0, 1, 3, 7, 0x7F].map(is_encrypting);
        assert_eq!(on, [false, true, false, true, true]);
    }

    #[test]
    fn an_esp32_with_a_drifted_clock_is_asked_for_another_speed() {
        // Counts for which the ROM computes exactly 40 MHz, then 1 % more.
        let exact = 1024 << 7;
        assert_eq!(esp32_speed(921_600, exact, 100), 921_600);
        assert_eq!(esp32_speed(921_600, exact, 101), 930_816);
        // 26 MHz crystal; nothing measured.
        assert_eq!(esp32_speed(921_600, exact, 65), 921_600);
        assert_eq!(esp32_speed(921_600, 0, 0), 921_600);
        assert_eq!(esp32_speed(921_600, u32::MAX, 0xFF), 921_600);
    }

    #[test]
    fn each_chip_has_a_mac_register_in_its_peripheral_space() {
        for chip in Chip::ALL {
            assert!(mac_register(*chip) > 0x2000_0000, "{chip}");
        }
    }
}
