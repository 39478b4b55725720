//! Which device a dump from a serial port belongs to: decided by port, board and
//! registry. No I/O.

use crate::device::{DeviceKey, MacAddress, ModelCode};
use crate::digest::Sha256;
use crate::fleet::unregistered::{has_place, shared_key};
use crate::store::registry::Devices;

use super::discover::Usb;

/// The device that a dump from a serial port belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceIdentity {
    pub device: DeviceKey,
    pub model: Option<ModelCode>,
    /// As in the sidecar: `configured`, `mac` or `place`.
    pub identified_by: &'static str,
}

/// What is known about the port and the board.
#[derive(Clone, Copy, Debug)]
pub struct IdentityClues<'a> {
    /// As configured for the port.
    pub device_key: Option<&'a DeviceKey>,
    pub model: Option<&'a ModelCode>,
    /// Of the board, from its USB descriptor or its bootloader.
    pub mac: Option<MacAddress>,
    pub usb: Option<&'a Usb>,
    /// No other port that is plugged in has this USB serial number.
    pub serial_is_unique: bool,
    /// Place in the USB tree, or path.
    pub place: &'a str,
    /// The model whose bundle has the dump's app ELF hash.
    pub model_of_build: Option<&'a ModelCode>,
}

/// Decides which device it is: the configured one, else the registered one with
/// this MAC address or USB serial number, else one named after the MAC address,
/// else one named after the place where it is plugged in.
pub fn identify(clues: &IdentityClues<'_>, devices: &Devices) -> DeviceIdentity {
    let (device, identified_by) = device(clues, devices);
    let registered = devices
        .devices
        .get(&device)
        .and_then(|device| device.model.as_ref());
    let model = clues.model.or(registered).or(clues.model_of_build);
    DeviceIdentity {
        model: model.cloned(),
        device,
        identified_by,
    }
}

fn device(clues: &IdentityClues<'_>, devices: &Devices) -> (DeviceKey, &'static str) {
    if let Some(key) = clues.device_key {
        return (key.clone(), "configured");
    }
    let mac = clues.mac.map(|mac| mac.to_string());
    let by_mac = devices
        .devices
        .iter()
        .find(|(_, device)| mac.is_some() && device.mac == mac);
    if let Some((key, _)) = by_mac {
        return (key.clone(), "mac");
    }
    let serial = clues
        .usb
        .and_then(Usb::own_serial)
        .filter(|_| clues.serial_is_unique);
    let by_serial = devices
        .devices
        .iter()
        .find(|(_, device)| serial.is_some() && device.usb_serial.as_deref() == serial);
    if let Some((key, _)) = by_serial {
        return (key.clone(), "configured");
    }
    if let Some(mac) = clues.mac {
        return (mac.device_key(), "mac");
    }
    let (vid, pid) = clues.usb.map_or((0, 0), |usb| (usb.vid, usb.pid));
    let ids = format!("{vid:04x}:{pid:04x}");
    let serial = clues
        .usb
        .and_then(|usb| usb.serial.as_deref())
        .unwrap_or_default();
    let parts = [
        clues.place.as_bytes(),
        &[0],
        ids.as_bytes(),
        &[0],
        serial.as_bytes(),
    ];
    let key = format!("usb{}", Sha256::of_parts(&parts).short(8));
    (key.parse().unwrap_or_else(|_| shared_key()), "place")
}

/// `identity`, with the shared key for a new device when the register is full.
pub fn or_shared_key(identity: DeviceIdentity, devices: &Devices) -> DeviceIdentity {
    if identity.identified_by == "configured" || has_place(devices, &identity.device) {
        return identity;
    }
    DeviceIdentity {
        device: shared_key(),
        ..identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::unregistered::MOST;

    fn usb(serial: &str) -> Usb {
        Usb {
            vid: 0x10c4,
            pid: 0xea60,
            serial: Some(serial.to_owned()),
            place: "1-2".to_owned(),
            ..Usb::default()
        }
    }

    fn registry() -> Devices {
        let mut devices = Devices::default();
        let mut add = |key: &str, mac: Option<&str>, serial: Option<&str>| {
            let device = devices.ensure(&key.parse().unwrap(), "");
            device.registered = true;
            device.mac = mac.map(str::to_owned);
            device.usb_serial = serial.map(str::to_owned);
            device.model = Some("pump".parse().unwrap());
        };
        add("bymac", Some("84f703000001"), None);
        add("byserial", None, Some("A6008is1"));
        devices
    }

    #[test]
    fn configuration_goes_before_registry_before_mac_before_place() {
        let devices = registry();
        let configured: DeviceKey = "bench7".parse().unwrap();
        let (s1, s2) = (usb("A6008is1"), usb("A6008is2"));
        let nothing = IdentityClues {
            device_key: None,
            model: None,
            mac: None,
            usb: None,
            serial_is_unique: true,
            place: "/dev/pts/3",
            model_of_build: None,
        };
        let known = "84:F7:03:00:00:01".parse().ok();
        let other = "84:F7:03:00:00:02".parse().ok();
        for (clues, key, identified_by) in [
            (
                IdentityClues {
                    device_key: Some(&configured),
                    mac: known,
                    ..nothing
                },
                "bench7",
                "configured",
            ),
            (
                IdentityClues {
                    mac: known,
                    usb: Some(&s1),
                    ..nothing
                },
                "bymac",
                "mac",
            ),
            (
                IdentityClues {
                    mac: other,
                    usb: Some(&s1),
                    ..nothing
                },
                "byserial",
                "configured",
            ),
            (
                IdentityClues {
                    mac: other,
                    usb: Some(&s1),
                    serial_is_unique: false,
                    ..nothing
                },
                "84f703000002",
                "mac",
            ),
            (
                IdentityClues {
                    mac: other,
                    usb: Some(&s2),
                    ..nothing
                },
                "84f703000002",
                "mac",
            ),
        ] {
            let identity = identify(&clues, &devices);
            assert_eq!(
                (identity.device.as_str(), identity.identified_by),
                (key, identified_by),
                "{clues:?}"
            );
        }
        let here = identify(
            &IdentityClues {
                usb: Some(&s2),
                place: "1-2",
                ..nothing
            },
            &devices,
        );
        let there = identify(
            &IdentityClues {
                usb: Some(&s2),
                place: "1-3",
                ..nothing
            },
            &devices,
        );
        assert_eq!(
            (here.device.as_str().len(), here.identified_by),
            (11, "place")
        );
        assert_ne!(here.device, there.device);
    }

    #[test]
    fn the_model_is_the_ports_the_devices_or_the_builds() {
        let devices = registry();
        let (port, build): (ModelCode, ModelCode) =
            ("port".parse().unwrap(), "build".parse().unwrap());
        let clues = IdentityClues {
            device_key: None,
            model: Some(&port),
            mac: "84:F7:03:00:00:01".parse().ok(),
            usb: None,
            serial_is_unique: true,
            place: "x",
            model_of_build: Some(&build),
        };
        for (clues, model) in [
            (clues, "port"),
            (
                IdentityClues {
                    model: None,
                    ..clues
                },
                "pump",
            ),
            (
                IdentityClues {
                    model: None,
                    mac: None,
                    ..clues
                },
                "build",
            ),
        ] {
            assert_eq!(identify(&clues, &devices).model.unwrap().as_str(), model);
        }
    }

    #[test]
    fn more_unregistered_devices_than_allowed_share_a_key() {
        let mut devices = registry();
        for n in 0..MOST {
            devices.ensure(&format!("usb{n:08x}").parse().unwrap(), "");
        }
        let new = |identified_by| DeviceIdentity {
            device: "usb99999999".parse().unwrap(),
            model: None,
            identified_by,
        };
        let shared = or_shared_key(new("place"), &devices);
        assert_eq!(shared.device.as_str(), "000000000000");
        assert_eq!(
            or_shared_key(new("configured"), &devices),
            new("configured")
        );
        assert_eq!(or_shared_key(new("place"), &registry()), new("place"));
    }
}
