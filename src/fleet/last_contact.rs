//! Contacts of a device and what they tell, noted in memory (see
//! [`crate::store::registry::StateFile::note`]): nothing here waits for a register's
//! file.

use super::contacts::{self, At, BootReport};
use super::evidence::{Finding, Kind, Names, conclude};
use super::reported::Reported;
use super::reset_reason::without_dump;
use super::running;
use crate::clock::{Moment, iso8601};
use crate::device::{DeviceKey, ModelCode};
use crate::journal::{Event, chain};
use crate::store::Store;
use crate::store::registry::devices::Retired;
use crate::store::registry::{Device, Devices, Registry};

/// A contact that tells more than that the device is there.
#[derive(Clone, Copy, Debug)]
pub struct Contact<'a> {
    pub device: &'a DeviceKey,
    /// Taken if no model of the device is known.
    pub model: Option<&'a ModelCode>,
    /// It came over USB: a device that is not in the register is added, unregistered.
    /// Boards that send requests are registered before, or on purpose not.
    pub is_usb: bool,
}

/// A device that was heard.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Heard {
    /// When it was heard before.
    pub before: Option<String>,
    /// Why it was reset, if it has booted since and that leaves no dump.
    pub reset: Option<&'static str>,
}

/// A request of the device, or bytes on its console.
pub fn heard(registry: &Registry, key: &DeviceKey, reported: &Reported) -> Heard {
    let now = Moment::now();
    let (seconds, wall) = (now.monotonic_us / 1_000_000, iso8601(now.wall));
    let heard = {
        let devices = registry.devices.read();
        let Some(device) = devices.get(key) else {
            return Heard::default();
        };
        say_if_retired(registry, key, device);
        let reset = reported.boot.reset_reason.as_deref();
        let reset = reset.and_then(without_dump).filter(|_| {
            let at = At {
                seconds,
                wall: &wall,
            };
            contacts::note_boots(&mut device.contacts.clone(), &reported.boot, at)
        });
        let before = device.last_seen.clone();
        Heard { before, reset }
    };
    let key = key.clone();
    let (boot, hw) = (reported.boot.clone(), reported.hw.clone());
    registry.devices.note_passing(move |devices| {
        if let Some(device) = devices.get_mut(&key) {
            let at = At {
                seconds,
                wall: &wall,
            };
            contacts::heard(device, at);
            contacts::note_boots(&mut device.contacts, &boot, at);
            if hw.is_some() {
                device.hw.clone_from(&hw);
            }
        }
    });
    heard
}

/// A boot that was seen on the console of a device that is in the register.
pub fn booted(registry: &Registry, key: &DeviceKey, reset_reason: Option<&str>, is_ours: bool) {
    let boot = BootReport {
        is_banner: true,
        is_ours,
        reset_reason: reset_reason.map(str::to_owned),
        ..BootReport::default()
    };
    let reported = Reported {
        boot,
        ..Reported::default()
    };
    heard(registry, key, &reported);
}

/// A contact with evidence of builds. Blocks if nobody has read the folder of the
/// device's model yet.
pub fn learned(store: &Store, contact: Contact<'_>, evidence: &[(Kind, Names<'_>)]) {
    let known = store.registry.devices.read().get(contact.device).cloned();
    if known.is_none() && !contact.is_usb {
        return;
    }
    let known = known.unwrap_or_default();
    say_if_retired(&store.registry, contact.device, &known);
    let findings = match evidence.is_empty() {
        true => Vec::new(),
        false => conclusions(store, contact.model.or(known.model.as_ref()), evidence),
    };
    note(store, contact, &known, findings);
}

/// Says once that a device is not out of service, as a person believes.
fn say_if_retired(registry: &Registry, key: &DeviceKey, device: &Device) {
    let is_news = |retired: &Retired| retired.heard_at.is_none();
    if !device.retired.as_ref().is_some_and(is_news) {
        return;
    }
    let (noted, now) = (key.clone(), iso8601(Moment::now().wall));
    registry.devices.note(move |devices| {
        let device = devices.get_mut(&noted);
        if let Some(retired) = device.and_then(|device| device.retired.as_mut()) {
            retired.heard_at.get_or_insert_with(|| now.clone());
        }
    });
    Event::RetiredDeviceHeard
        .entry()
        .device(key)
        .maybe("MODEL_CODE", device.model.as_ref())
        .say(format_args!(
            "retired device {key} was heard: it is in use again, or another board uses its key"
        ));
}

fn conclusions(
    store: &Store,
    model: Option<&ModelCode>,
    evidence: &[(Kind, Names<'_>)],
) -> Vec<Finding> {
    let builds = model.map(|model| store.firmware.builds(model)).transpose();
    let builds = builds.unwrap_or_else(|error| {
        log::warn!("builds of a device are not known: {}", chain(&error));
        None
    });
    let builds = builds.unwrap_or_default();
    let findings = evidence.iter();
    findings
        .filter_map(|(kind, names)| conclude(*kind, *names, &builds))
        .collect()
}

fn note(store: &Store, contact: Contact<'_>, known: &Device, findings: Vec<Finding>) {
    let now = Moment::now();
    let (seconds, wall) = (now.monotonic_us / 1_000_000, iso8601(now.wall));
    let mut after = known.clone();
    let is_news = apply(&mut after, &findings, &wall) || after.created_at.is_empty();
    let is_news = is_news || (known.model.is_none() && contact.model.is_some());
    let (key, model, adds) = (
        contact.device.clone(),
        contact.model.cloned(),
        contact.is_usb,
    );
    let change = move |devices: &mut Devices| {
        if !adds && !devices.devices.contains_key(&key) {
            return;
        }
        let device = devices.ensure(&key, &wall);
        let at = At {
            seconds,
            wall: &wall,
        };
        contacts::heard(device, at);
        if device.model.is_none() {
            device.model.clone_from(&model);
        }
        apply(device, &findings, &wall);
    };
    let devices = &store.registry.devices;
    match is_news {
        true => devices.note(change),
        false => devices.note_passing(change),
    }
}

fn apply(device: &mut Device, findings: &[Finding], now: &str) -> bool {
    let mut changed = false;
    for finding in findings {
        changed |= running::apply(device, finding, now);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::BundleLimits;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let limits = BundleLimits::for_bundles_of(1 << 20);
        let store = Store::open(folder.path(), None, None, limits).unwrap();
        (folder, store)
    }

    fn known(store: &Store) -> DeviceKey {
        let key: DeviceKey = "k1".parse().unwrap();
        let added = key.clone();
        store.registry.devices.note(move |devices| {
            devices.ensure(&added, "t");
        });
        key
    }

    #[test]
    fn a_known_model_stays_and_an_unknown_one_is_taken() {
        let (_folder, store) = store();
        let key = known(&store);
        for model in ["lamp", "pump"] {
            let model: ModelCode = model.parse().unwrap();
            let contact = Contact {
                device: &key,
                model: Some(&model),
                is_usb: true,
            };
            learned(&store, contact, &[(Kind::Banner, Names::Version("1"))]);
            let devices = store.registry.devices.read();
            let kept = devices.devices[&key].model.as_ref();
            assert_eq!(kept.map(ModelCode::as_str), Some("lamp"));
        }
    }

    #[test]
    fn only_what_comes_over_usb_adds_devices() {
        for is_usb in [false, true] {
            let (_folder, store) = store();
            let key: DeviceKey = "k1".parse().unwrap();
            let contact = Contact {
                device: &key,
                model: None,
                is_usb,
            };
            learned(&store, contact, &[]);
            let devices = store.registry.devices.read();
            assert_eq!(devices.devices.contains_key(&key), is_usb);
            assert!(devices.devices.values().all(|device| !device.registered));
        }
    }

    #[test]
    fn a_request_is_a_contact_of_a_known_device() {
        let (_folder, store) = store();
        let key: DeviceKey = "k1".parse().unwrap();
        let reported = Reported {
            hw: Some(String::from("rev-b")),
            ..Reported::default()
        };
        assert_eq!(heard(&store.registry, &key, &reported).before, None);
        assert!(store.registry.devices.read().devices.is_empty());
        known(&store);
        assert_eq!(heard(&store.registry, &key, &reported).before, None);
        let heard = heard(&store.registry, &key, &Reported::default());
        assert!(heard.before.is_some());
        let devices = store.registry.devices.read();
        let device = &devices.devices[&key];
        assert_eq!(device.hw.as_deref(), Some("rev-b"));
        assert_eq!(device.contacts.days, 1);
    }
}
