//! What a USB serial number tells: which are none, and which name a board.

use super::discover::{FoundPort, Usb};
use crate::device::MacAddress;

impl Usb {
    /// The serial number, if it looks like one of its own: CP210x come with `0001`
    /// from the factory, CH34x with none, and firmware with TinyUSB's example.
    pub fn own_serial(&self) -> Option<&str> {
        self.serial.as_deref().filter(|serial| is_own(serial))
    }

    /// Whether its serial number looks like one of its own.
    pub fn has_own_serial(&self) -> bool {
        self.own_serial().is_some()
    }

    /// Whether the board's chip itself is on the bus, not an adapter before it.
    pub fn is_chip(&self) -> bool {
        match self.kind() {
            // Espressif's bridge is another chip than the board behind it
            Some("Espressif") => self.pid != 0x1002,
            kind => matches!(kind, None | Some("USB-Serial-JTAG")),
        }
    }

    /// The board's MAC address, if its serial number is one: always with
    /// USB-Serial-JTAG, and with TinyUSB if the firmware sets it so.
    pub fn mac(&self) -> Option<MacAddress> {
        let serial = self.own_serial().filter(|_| self.is_chip());
        serial.and_then(|serial| serial.parse().ok())
    }
}

/// Whether no board or adapter but this one has its serial number. The ports of one
/// chip are one board; those of an adapter may be a board each.
pub(super) fn is_unique(usb: &Usb, found: &[FoundPort]) -> bool {
    let others = found.iter().map(|port| &port.usb);
    let mut same = others.filter(|other| other.serial == usb.serial && other.place != usb.place);
    same.all(|other| usb.is_chip() && device(&other.place) == device(&usb.place))
}

/// The place of the device, without the interface of the port.
pub(super) fn device(place: &str) -> &str {
    place.split(':').next().unwrap_or(place)
}

/// Whether a serial number may be of one device only. Too short, zeros, counted up
/// or down, two characters over and over: the factory's or an example's.
fn is_own(serial: &str) -> bool {
    let characters: Vec<u8> = serial
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| byte.to_ascii_uppercase())
        .collect();
    let zeros = characters.iter().take_while(|byte| **byte == b'0').count();
    let mut kinds = characters.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let is_counted = |from: u8, to: u8| {
        matches!((from, to), (b'9', b'0' | b'A') | (b'0' | b'A', b'9')) || from.abs_diff(to) == 1
    };
    let steps = characters.windows(2);
    let mut steps = steps.filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)));
    characters.len() >= 6
        && characters.len() - zeros >= 3
        && kinds.len() > 2
        && !steps.all(|(from, to)| is_counted(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usb(ids: (u16, u16), serial: &str, place: &str) -> Usb {
        Usb {
            vid: ids.0,
            pid: ids.1,
            serial: Some(serial.to_owned()),
            place: place.to_owned(),
            ..Usb::default()
        }
    }

    const JTAG: (u16, u16) = (0x303a, 0x1001);
    const TINY_USB: (u16, u16) = (0x303a, 0x4001);
    const BRIDGE: (u16, u16) = (0x303a, 0x1002);
    const CP210X: (u16, u16) = (0x10c4, 0xea60);

    #[test]
    fn numbers_of_the_factory_or_of_an_example_are_none() {
        for serial in [
            "",
            "0",
            "0001",
            "00000000",
            "00000001",
            "000000000000",
            "FFFFFFFF",
            "12345",
            "123456",
            "1234567890",
            "0123456789ABCDEF",
            "0123456789abcdef",
            "987654321",
            "00:00:00:00:00:00",
            "0101010101",
            "ABCDEF",
        ] {
            assert_eq!(usb(CP210X, serial, "1-1").own_serial(), None, "{serial}");
        }
        for serial in [
            "A6008isP",
            "84:F7:03:00:00:01",
            "30AEA44B417C",
            "5424026415",
            "01A2B3C4",
            "e2b0c4d1f00aec119a3d",
        ] {
            assert!(usb(CP210X, serial, "1-1").has_own_serial(), "{serial}");
        }
    }

    #[test]
    fn only_a_chip_on_the_bus_has_its_mac_as_serial_number() {
        let mac = |ids, serial| usb(ids, serial, "1-1").mac().map(|mac| mac.to_string());
        let expected = Some(String::from("84f703000001"));
        assert_eq!(mac(JTAG, "84:F7:03:00:00:01"), expected);
        assert_eq!(mac(TINY_USB, "84F703000001"), expected);
        assert_eq!(mac(TINY_USB, "123456"), None);
        assert_eq!(mac(TINY_USB, "000000000000"), None);
        assert_eq!(mac(CP210X, "84F703000001"), None);
        assert_eq!(mac(BRIDGE, "84F703000001"), None);
    }

    #[test]
    fn a_number_on_two_boards_is_of_neither() {
        let port = |ids, place: &str| FoundPort {
            path: place.into(),
            usb: usb(ids, "84F703000001", place),
        };
        for (ids, places, expected) in [
            (CP210X, ["1-1", "1-2"], false),
            (CP210X, ["1-1:1.0", "1-1:1.1"], false),
            (TINY_USB, ["1-1", "1-2"], false),
            (TINY_USB, ["1-1:1.0", "1-1:1.1"], true),
        ] {
            let found = places.map(|place| port(ids, place));
            let unique = found.each_ref().map(|port| is_unique(&port.usb, &found));
            assert_eq!(unique, [expected; 2], "{places:?}");
        }
    }
}
