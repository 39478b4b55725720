//! Boards that are on the bus themselves keep their name when their firmware shows
//! a USB device without a MAC address: the same place, within a minute.

use std::collections::BTreeMap;
use std::time::Duration;

use super::discover::FoundPort;
use super::usb_serial;
use crate::device::MacAddress;

/// The boards that were seen by their MAC address, by place in the USB tree.
#[derive(Debug, Default)]
pub(super) struct SamePlace(BTreeMap<String, SeenBoard>);

#[derive(Debug)]
struct SeenBoard {
    mac: MacAddress,
    gone: Option<Duration>,
}

impl SamePlace {
    /// Takes the ports that are there at `now`, a time that only grows.
    pub(super) fn look(&mut self, found: &[FoundPort], now: Duration) {
        self.0.retain(|_, board| {
            let gone = board
                .gone
                .is_some_and(|gone| now.saturating_sub(gone) > MINUTE);
            !gone
        });
        for port in found {
            let place = usb_serial::device(&port.usb.place);
            let shown = port.usb.mac();
            if let Some(mac) = shown {
                // it is here, and nowhere else
                self.0.retain(|at, board| board.mac != mac || at == place);
                self.0
                    .insert(place.to_owned(), SeenBoard { mac, gone: None });
            } else if !port.usb.is_espressif() || !port.usb.is_chip() {
                self.0.remove(place);
            }
        }
        for (place, board) in &mut self.0 {
            let is_here = found
                .iter()
                .any(|port| usb_serial::device(&port.usb.place) == place);
            if is_here {
                board.gone = None;
            } else {
                board.gone.get_or_insert(now);
            }
        }
    }

    /// The board at a place, if it shows no MAC address itself.
    pub(super) fn board(&self, place: &str) -> Option<MacAddress> {
        let board = self.0.get(usb_serial::device(place))?;
        Some(board.mac)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serial::discover::Usb;

    fn port(pid: u16, serial: &str, place: &str) -> FoundPort {
        let usb = Usb {
            vid: 0x303a,
            pid,
            serial: Some(serial.to_owned()),
            place: place.to_owned(),
            ..Usb::default()
        };
        FoundPort {
            path: "/dev/ttyACM0".into(),
            usb,
        }
    }

    const AT: fn(u64) -> Duration = Duration::from_secs;
    const MAC: &str = "84:F7:03:00:00:01";

    #[test]
    fn a_board_at_the_same_place_within_a_minute_is_the_same() {
        for (absent, known) in [(0, true), (59, true), (61, false)] {
            let mut boards = SamePlace::default();
            boards.look(&[port(0x1001, MAC, "1-1")], AT(10));
            boards.look(&[], AT(100));
            boards.look(&[port(0x4001, "123456", "1-1:1.0")], AT(100 + absent));
            let expected = known.then(|| MAC.parse().unwrap());
            assert_eq!(boards.board("1-1:1.0"), expected, "{absent}");
            assert_eq!(boards.board("1-2"), None);
            // and stays it over its restarts
            boards.look(&[port(0x4001, "123456", "1-1:1.0")], AT(1000));
            boards.look(&[], AT(1001));
            boards.look(&[port(0x4001, "123456", "1-1:1.0")], AT(1003));
            assert_eq!(boards.board("1-1:1.0"), expected, "{absent}");
        }
    }

    #[test]
    fn another_device_or_the_board_elsewhere_ends_it() {
        let another = FoundPort {
            usb: Usb {
                vid: 0x10c4,
                pid: 0xea60,
                ..port(0, "0001", "1-1").usb
            },
            ..port(0, "0001", "1-1")
        };
        for between in [another, port(0x1001, MAC, "1-2")] {
            let mut boards = SamePlace::default();
            boards.look(&[port(0x1001, MAC, "1-1")], AT(10));
            boards.look(&[between], AT(20));
            boards.look(&[port(0x4001, "123456", "1-1")], AT(30));
            assert_eq!(boards.board("1-1"), None);
        }
    }
}
