//! Devices: register, change, remove.

use super::{Condition, Error, Result, must_exist, no_device};
use crate::api::devices::Change;
use crate::clock::{Moment, iso8601};
use crate::device::{DeviceKey, MacAddress};
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::registry::devices::Retired;
use crate::store::registry::{Device, Devices, Registry};

/// Longest name or USB serial number, in characters.
const MAX_TEXT: usize = 128;

/// Checks the values and gives the MAC address the form it is kept in.
///
/// # Errors
/// [`Error::Invalid`].
pub(super) fn checked(mut change: Change) -> Result<Change> {
    for (what, text) in [
        ("name", &change.name),
        ("usb_serial", &change.usb_serial),
        ("hw", &change.hw),
    ] {
        let length = text.iter().flatten().map(|text| text.chars().count()).max();
        if length.is_some_and(|length| length == 0 || length > MAX_TEXT) {
            return Err(Error::Invalid(format!(
                "Invalid {what}: 1 to {MAX_TEXT} characters"
            )));
        }
    }
    if let Some(Some(mac)) = &mut change.mac {
        let parsed: MacAddress = mac
            .parse()
            .map_err(|error| Error::Invalid(format!("Invalid mac: {error}")))?;
        *mac = parsed.to_string();
    }
    Ok(change)
}

/// Applies the change, once its values are checked and its model is registered;
/// the device is registered then, and by a person.
///
/// # Errors
/// [`Error::Conflict`] if another device has the MAC address or the USB
/// serial number.
pub(super) fn apply(
    change: &Change,
    devices: &mut Devices,
    key: &DeviceKey,
    now: &str,
) -> Result<()> {
    let is_taken = |what: &str, value: &str, of: fn(&Device) -> Option<&String>| {
        let other = devices
            .devices
            .iter()
            .find(|(other, device)| *other != key && of(device).is_some_and(|v| v == value));
        match other {
            Some((other, _)) => Err(Error::Conflict(format!(
                "{what} {value} is already used by device {other}"
            ))),
            None => Ok(()),
        }
    };
    if let Some(Some(mac)) = &change.mac {
        is_taken("MAC address", mac, |device| device.mac.as_ref())?;
    }
    if let Some(Some(serial)) = &change.usb_serial {
        is_taken("USB serial number", serial, |d| d.usb_serial.as_ref())?;
    }
    let device = devices.ensure(key, now);
    by_a_person(device);
    set(change, device, now);
    Ok(())
}

/// Sets what the change gives.
pub(super) fn set(change: &Change, device: &mut Device, now: &str) {
    let text = [
        (&change.name, &mut device.name),
        (&change.mac, &mut device.mac),
        (&change.usb_serial, &mut device.usb_serial),
        (&change.hw, &mut device.hw),
    ];
    for (given, kept) in text {
        if let Some(value) = given {
            kept.clone_from(value);
        }
    }
    if let Some(model) = &change.model {
        device.model.clone_from(model);
    }
    match change.retired {
        // once more: what was heard of it is dealt with
        Some(true) => {
            device.retired = Some(Retired {
                at: now.to_owned(),
                heard_at: None,
            });
        }
        Some(false) => device.retired = None,
        None => {}
    }
}

/// A board known by a fleet token counts as registered by a person.
pub(super) fn by_a_person(device: &mut Device) {
    device.registered = true;
    device.fleet_token = None;
}

/// A device of the register, for changing it.
///
/// # Errors
/// [`Error::Missing`].
pub(super) fn known<'a>(devices: &'a mut Devices, key: &DeviceKey) -> Result<&'a mut Device> {
    devices.get_mut(key).ok_or_else(|| no_device(key))
}

/// Registers or changes a device: it as it is then, and whether it was known.
/// A device that was only seen may be both created and changed.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Missing`] for the model or the device,
/// [`Error::Conflict`], [`Error::Store`].
pub fn put(
    registry: &Registry,
    key: &DeviceKey,
    change: Change,
    condition: Condition,
    actor: &Caller,
) -> Result<Device> {
    let change = checked(change)?;
    let (device, was_known) = alter(registry, key, |devices, now| {
        must_exist(
            &registry.models.read(),
            change.model.clone().flatten().as_ref(),
        )?;
        let known = devices.devices.get(key);
        let is_known =
            known.is_some_and(|device| device.registered || condition == Condition::Change);
        condition.check(is_known, || format!("Device {key}"))?;
        apply(&change, devices, key, now)?;
        Ok(is_known)
    })?;
    let done = match (was_known, change.retired) {
        (_, Some(true)) => "retired",
        (true, Some(false)) => "put back into service",
        (true, None) => "changed",
        (false, _) => "registered",
    };
    say_changed(key, &device, actor, done);
    Ok(device)
}

/// Removes a device and its tokens; its dumps are kept.
///
/// # Errors
/// [`Error::Missing`], [`Error::Store`].
pub fn remove(registry: &Registry, key: &DeviceKey, actor: &Caller) -> Result<()> {
    let device = registry.devices.change(|devices| {
        let device = devices.devices.remove(key);
        device.ok_or_else(|| no_device(key))
    })??;
    say_changed(key, &device, actor, "removed");
    Ok(())
}

/// Changes the register and gives the device as it is then.
///
/// # Errors
/// What `change` says; nothing is changed then. [`Error::Store`].
pub(super) fn alter<R>(
    registry: &Registry,
    key: &DeviceKey,
    change: impl FnOnce(&mut Devices, &str) -> Result<R>,
) -> Result<(Device, R)> {
    let now = iso8601(Moment::now().wall);
    registry.devices.change(|devices| {
        let answer = change(devices, &now)?;
        let device = devices.get(key).cloned().unwrap_or_default();
        Ok((device, answer))
    })?
}

/// Reports a change to a device and its actor.
pub(super) fn say_changed(key: &DeviceKey, device: &Device, actor: &Caller, done: &str) {
    Event::DeviceChanged
        .entry()
        .device(key)
        .maybe("MODEL_CODE", device.model.as_ref())
        .actor(actor)
        .say(format_args!("device {key} was {done} by {actor}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ModelCode;

    fn change(text: &str) -> Result<Change> {
        checked(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn absent_values_stay_and_null_removes_them() {
        let mut devices = Devices::default();
        let key: DeviceKey = "k1".parse().unwrap();
        let first = r#"{"name":"Kitchen","mac":"AA:BB:CC:00:11:22","model":"m"}"#;
        apply(&change(first).unwrap(), &mut devices, &key, "t").unwrap();
        let second = r#"{"name":null,"usb_serial":"S1"}"#;
        apply(&change(second).unwrap(), &mut devices, &key, "t").unwrap();
        let device = &devices.devices[&key];
        assert_eq!(device.name, None);
        assert_eq!(device.mac.as_deref(), Some("aabbcc001122"));
        assert_eq!(device.usb_serial.as_deref(), Some("S1"));
        assert_eq!(device.model.as_ref().map(ModelCode::as_str), Some("m"));
        assert!(device.registered);
    }

    #[test]
    fn a_board_that_a_person_changes_is_no_longer_known_by_its_fleet_token_alone() {
        let mut devices = Devices::default();
        let key: DeviceKey = "k1".parse().unwrap();
        devices.ensure(&key, "t").fleet_token = Some(String::from("id"));
        let name = change(r#"{"name":"Kitchen"}"#).unwrap();
        apply(&name, &mut devices, &key, "t").unwrap();
        assert_eq!(devices.devices[&key].fleet_token, None);
    }

    #[test]
    fn a_retired_device_is_back_in_service_when_a_person_says_so() {
        let mut devices = Devices::default();
        let key: DeviceKey = "k1".parse().unwrap();
        let mut set = |text: &str, now: &str| {
            apply(&change(text).unwrap(), &mut devices, &key, now).unwrap();
            let device = devices.get_mut(&key).unwrap();
            let shown = device.retired.clone();
            if let Some(retired) = &mut device.retired {
                retired.heard_at = Some(String::from("heard"));
            }
            shown.map(|retired| (retired.at, retired.heard_at))
        };
        assert_eq!(set("{}", "1"), None);
        assert_eq!(set(r#"{"retired":true}"#, "2"), Some(("2".into(), None)));
        let heard = Some(String::from("heard"));
        assert_eq!(set(r#"{"name":"x"}"#, "3"), Some(("2".into(), heard)));
        assert_eq!(set(r#"{"retired":true}"#, "4"), Some(("4".into(), None)));
        assert_eq!(set(r#"{"retired":false}"#, "5"), None);
    }

    #[test]
    fn two_devices_never_share_a_mac_address_or_usb_serial_number() {
        let mut devices = Devices::default();
        let (a, b): (DeviceKey, DeviceKey) = ("a".parse().unwrap(), "b".parse().unwrap());
        let same = r#"{"mac":"aa-bb-cc-00-11-22","usb_serial":"S"}"#;
        apply(&change(same).unwrap(), &mut devices, &a, "t").unwrap();
        apply(&change(same).unwrap(), &mut devices, &a, "t").unwrap();
        for taken in [r#"{"mac":"AABBCC001122"}"#, r#"{"usb_serial":"S"}"#] {
            let error = apply(&change(taken).unwrap(), &mut devices, &b, "t");
            assert!(matches!(error, Err(Error::Conflict(_))), "{taken}");
        }
        assert!(!devices.devices.contains_key(&b));
    }

    #[test]
    fn impossible_values_are_refused() {
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(129));
        for text in [r#"{"mac":"12"}"#, r#"{"name":""}"#, &long] {
            assert!(matches!(change(text), Err(Error::Invalid(_))), "{text}");
        }
        assert!(serde_json::from_str::<Change>(r#"{"nam":"x"}"#).is_err());
    }

    #[test]
    fn a_device_that_was_only_seen_can_be_registered_and_changed() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let key: DeviceKey = "k1".parse().unwrap();
        let by = Caller::Anonymous;
        let put = |condition| put(&registry, &key, Change::default(), condition, &by);
        assert!(matches!(put(Condition::Change), Err(Error::Missing(_))));
        let seen = key.clone();
        registry.devices.note(move |devices| {
            devices.ensure(&seen, "t");
        });
        assert!(put(Condition::Create).unwrap().registered);
        assert!(matches!(put(Condition::Create), Err(Error::Conflict(_))));
        assert!(put(Condition::Change).is_ok());
        remove(&registry, &key, &by).unwrap();
        assert!(matches!(
            remove(&registry, &key, &by),
            Err(Error::Missing(_))
        ));
    }
}
