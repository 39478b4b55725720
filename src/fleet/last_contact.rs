//! A device's last contact and running build, from its dumps, its console and its
//! downloads. Only noted in memory (see
//! [`crate::store::registry::StateFile::note`]): this never waits for the disk.

use crate::build_id::BuildId;
use crate::clock::{Moment, iso8601};
use crate::device::{DeviceKey, ModelCode};
use crate::store::registry::devices::Running;
use crate::store::registry::{Devices, Registry};

/// The running build, as far as a contact tells.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// The build itself, where that is known and not only what it says of itself.
    pub build_id: Option<BuildId>,
    pub version: Option<String>,
    /// May be shortened.
    pub app_elf_sha256: Option<String>,
}

/// Kind of contact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// It sent a dump.
    Dump,
    /// A dump that came over USB.
    UsbDump,
    /// Its boot messages, over USB.
    Banner,
    /// It fetched this build.
    Download,
}

impl Way {
    /// `from` of what a device runs.
    fn as_str(self) -> &'static str {
        match self {
            Self::Dump | Self::UsbDump => "dump",
            Self::Banner => "banner",
            Self::Download => "download",
        }
    }

    /// Whether a device that is not in the register is added, unregistered.
    /// Boards that send requests are registered before, or on purpose not.
    fn adds(self) -> bool {
        matches!(self, Self::UsbDump | Self::Banner)
    }
}

/// A request of the device came.
pub fn heard(registry: &Registry, key: &DeviceKey) {
    let (key, now) = (key.clone(), iso8601(Moment::now().wall));
    registry.devices.note_passing(move |devices| {
        if let Some(device) = devices.get_mut(&key) {
            device.last_seen = Some(now.clone());
        }
    });
}

/// A contact that tells what the device runs. `model` is taken if
/// none is known.
pub fn heard_that(
    registry: &Registry,
    key: &DeviceKey,
    way: Way,
    runs: Runs,
    model: Option<&ModelCode>,
) {
    let (key, model) = (key.clone(), model.cloned());
    let now = iso8601(Moment::now().wall);
    registry
        .devices
        .note(move |devices| note(devices, &key, way, &runs, model.as_ref(), &now));
}

fn note(
    devices: &mut Devices,
    key: &DeviceKey,
    way: Way,
    runs: &Runs,
    model: Option<&ModelCode>,
    now: &str,
) {
    if !way.adds() && !devices.devices.contains_key(key) {
        return;
    }
    let device = devices.ensure(key, now);
    device.last_seen = Some(now.to_owned());
    if device.model.is_none() {
        device.model = model.cloned();
    }
    if runs.version.is_some() || runs.app_elf_sha256.is_some() {
        device.running = Some(Running {
            build_id: runs.build_id,
            version: runs.version.clone(),
            app_elf_sha256: runs.app_elf_sha256.clone(),
            at: now.to_owned(),
            from: way.as_str().to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(version: &str) -> Runs {
        Runs {
            build_id: None,
            version: (!version.is_empty()).then(|| version.to_owned()),
            app_elf_sha256: None,
        }
    }

    #[test]
    fn the_last_contact_that_names_a_build_tells_what_runs() {
        let mut devices = Devices::default();
        let key: DeviceKey = "k1".parse().unwrap();
        devices.ensure(&key, "0");
        for (way, version, now, expected) in [
            (Way::Dump, "1", "1", ("1", "dump", "1")),
            (Way::Banner, "", "2", ("1", "dump", "1")),
            (Way::Banner, "2", "3", ("2", "banner", "3")),
            (Way::Download, "3", "4", ("3", "download", "4")),
            (Way::UsbDump, "2", "5", ("2", "dump", "5")),
        ] {
            note(&mut devices, &key, way, &runs(version), None, now);
            let device = &devices.devices[&key];
            let running = device.running.as_ref().unwrap();
            let found = (
                running.version.as_deref().unwrap(),
                running.from.as_str(),
                running.at.as_str(),
            );
            assert_eq!(found, expected);
            assert_eq!(device.last_seen.as_deref(), Some(now));
        }
    }

    #[test]
    fn a_known_model_stays_and_an_unknown_one_is_taken() {
        let mut devices = Devices::default();
        let key: DeviceKey = "k1".parse().unwrap();
        for model in ["lamp", "pump"] {
            let model: ModelCode = model.parse().unwrap();
            note(
                &mut devices,
                &key,
                Way::UsbDump,
                &runs("1"),
                Some(&model),
                "t",
            );
            let kept = devices.devices[&key].model.as_ref();
            assert_eq!(kept.map(ModelCode::as_str), Some("lamp"));
        }
    }

    #[test]
    fn only_what_comes_over_usb_adds_devices() {
        let key: DeviceKey = "k1".parse().unwrap();
        for (way, expected) in [
            (Way::Dump, false),
            (Way::Download, false),
            (Way::UsbDump, true),
            (Way::Banner, true),
        ] {
            let mut devices = Devices::default();
            note(&mut devices, &key, way, &runs("1"), None, "t");
            assert_eq!(devices.devices.contains_key(&key), expected, "{way:?}");
            assert!(devices.devices.values().all(|device| !device.registered));
        }
    }

    #[test]
    fn a_request_is_a_contact_of_a_known_device() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let key: DeviceKey = "k1".parse().unwrap();
        heard(&registry, &key);
        assert!(registry.devices.read().devices.is_empty());
        let known = key.clone();
        registry.devices.note(move |devices| {
            devices.ensure(&known, "t");
        });
        heard(&registry, &key);
        assert!(registry.devices.read().devices[&key].last_seen.is_some());
    }
}
