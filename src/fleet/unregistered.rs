//! Unregistered boards: how many are told apart, and what is kept of
//! them so that they are recognised.

use std::fmt::Display;

use crate::clock::{Moment, iso8601};
use crate::device::{DeviceKey, MacAddress, ModelCode};
use crate::digest::Sha256;
use crate::journal::Event;
use crate::store::registry::{Devices, Registry};

/// Maximum number of unregistered devices with keys of their own.
pub const MOST: usize = 64;

/// Whether a board without a registration gets a place of its own in the
/// register: a port full of noise or a bench where boards come and go must not
/// fill it.
pub fn has_place(devices: &Devices, key: &DeviceKey) -> bool {
    let unregistered = || devices.devices.values().filter(|d| !d.registered).count();
    devices.devices.contains_key(key) || unregistered() < MOST
}

/// The key of all on USB that have no place of their own.
pub fn shared_key() -> DeviceKey {
    // the one key that no MAC address and no hash has
    MacAddress::from_bytes([0; 6]).device_key()
}

/// The key of what comes with a fleet token in the name of `claimed`, a registered
/// board that the token does not speak for. One for each such board: they do not
/// wait for each other, nor count as one. Nothing is registered under it; retention
/// bounds how many there are.
pub fn fleet_key(devices: &Devices, claimed: &DeviceKey) -> DeviceKey {
    // whoever has a fleet's token can register any key, so also one of these
    let keys = (0..=u8::MAX).filter_map(|n| {
        let digest = Sha256::of_parts(&[claimed.as_str().as_bytes(), &[0, n]]);
        format!("fleet{}", digest.short(16)).parse().ok()
    });
    let mut free = keys.filter(|key| !devices.devices.contains_key(key));
    free.next().unwrap_or_else(shared_key)
}

/// The key of what comes with a fleet token in the name of `claimed`, a board that the token
/// may not register: that name, unless something is known by it, such as a board on USB.
pub fn pool_key(devices: &Devices, claimed: &DeviceKey) -> DeviceKey {
    match devices.devices.contains_key(claimed) {
        true => fleet_key(devices, claimed),
        false => claimed.clone(),
    }
}

/// A board that nobody registered came for the first time, on a serial port:
/// its MAC address is kept, if it is known, and a person is told how to name it.
pub fn introduce(
    registry: &Registry,
    key: &DeviceKey,
    mac: Option<MacAddress>,
    model: Option<&ModelCode>,
    port: &impl Display,
) {
    let now = iso8601(Moment::now().wall);
    let noted = key.clone();
    registry.devices.note(move |devices| {
        let device = devices.ensure(&noted, &now);
        if !device.registered {
            device.mac = mac.map(|mac| mac.to_string());
        }
    });
    Event::DeviceFirstSeen
        .entry()
        .device(key)
        .maybe("MODEL_CODE", model)
        .port(port)
        .say(format_args!(
            "first crash of an unregistered device on {port}; register it with `espgate \
             devices add {key} --model MODEL --name NAME`"
        ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_unregistered_boards_have_a_place_of_their_own() {
        let mut devices = Devices::default();
        let key = |n: usize| format!("usb{n:08x}").parse::<DeviceKey>().unwrap();
        devices.ensure(&"k1".parse().unwrap(), "").registered = true;
        for n in 0..MOST {
            assert!(has_place(&devices, &key(n)), "{n}");
            devices.ensure(&key(n), "");
        }
        assert!(!has_place(&devices, &key(MOST)));
        assert!(has_place(&devices, &key(3)));
    }

    #[test]
    fn boards_that_a_fleet_token_does_not_speak_for_have_keys_that_nobody_has() {
        let mut devices = Devices::default();
        let (a, b): (DeviceKey, DeviceKey) = ("k1".parse().unwrap(), "k2".parse().unwrap());
        let first = fleet_key(&devices, &a);
        assert_eq!(first, fleet_key(&devices, &a));
        assert_ne!(first, fleet_key(&devices, &b));
        devices.ensure(&first, "t").registered = true;
        let second = fleet_key(&devices, &a);
        assert!(!devices.devices.contains_key(&second));
        assert_eq!(second, fleet_key(&devices, &a));
    }

    #[test]
    fn a_registered_devices_mac_address_is_not_replaced_by_a_ports() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let (new, known): (DeviceKey, DeviceKey) = ("new".parse().unwrap(), "k1".parse().unwrap());
        registry.devices.note(|devices| {
            devices.ensure(&"k1".parse().unwrap(), "t").registered = true;
        });
        let mac = "84:F7:03:00:00:01".parse().ok();
        for key in [&new, &known] {
            introduce(&registry, key, mac, None, &"/dev/ttyUSB0");
        }
        let devices = registry.devices.read();
        assert_eq!(devices.devices[&new].mac.as_deref(), Some("84f703000001"));
        assert_eq!(devices.devices[&known].mac, None);
    }
}
