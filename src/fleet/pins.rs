//! Pins: devices that get a build other than their model's active one.

use super::devices::{alter, known, say_changed};
use super::{Error, Result, no_device};
use crate::build_id::BuildId;
use crate::device::{DeviceKey, ModelCode};
use crate::identity::Caller;
use crate::store::Store;
use crate::store::firmware::Build;
use crate::store::registry::{Device, Devices, Registry};

/// The model whose builds a device can be pinned to.
///
/// # Errors
/// [`Error::Missing`], [`Error::Conflict`] for a device without a model.
pub fn model_of(devices: &Devices, key: &DeviceKey) -> Result<ModelCode> {
    let device = devices.devices.get(key).ok_or_else(|| no_device(key))?;
    let model = device.model.clone();
    model.ok_or_else(|| Error::Conflict(format!("Device {key} has no model")))
}

/// Pins a device to a build of `model`: it as it is then.
///
/// # Errors
/// As [`model_of`], [`Error::Conflict`] if it is of another model meanwhile,
/// [`Error::Missing`] if the build was removed meanwhile, [`Error::Store`].
pub fn pin(
    store: &Store,
    key: &DeviceKey,
    model: &ModelCode,
    build: &Build,
    actor: &Caller,
) -> Result<Device> {
    let _decision = store.firmware.decision();
    if store.firmware.description(model, build.id())?.is_none() {
        let what = format!("Firmware {} of {model}", build.name);
        return Err(Error::Missing(what));
    }
    let device = set_pin(&store.registry, key, model, build.id())?;
    say_changed(key, &device, actor, &format!("pinned to {}", build.name));
    Ok(device)
}

fn set_pin(
    registry: &Registry,
    key: &DeviceKey,
    model: &ModelCode,
    build: BuildId,
) -> Result<Device> {
    let (device, ()) = alter(registry, key, |devices, _| {
        // the build was looked for before the register was locked
        if model_of(devices, key)? != *model {
            let why = format!("Device {key} no longer has model {model}");
            return Err(Error::Conflict(why));
        }
        known(devices, key)?.pin = Some(build.into());
        Ok(())
    })?;
    Ok(device)
}

/// Unpins a device; returns the changed device.
///
/// # Errors
/// [`Error::Missing`], [`Error::Store`].
pub fn unpin(registry: &Registry, key: &DeviceKey, actor: &Caller) -> Result<Device> {
    let (device, ()) = alter(registry, key, |devices, _| {
        known(devices, key)?.pin = None;
        Ok(())
    })?;
    say_changed(key, &device, actor, "unpinned");
    Ok(device)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bundle::BundleLimits;

    fn build() -> Build {
        let digest = "0123456789abcdef".repeat(4);
        let text = json!({
            "schema": 1, "name": "1.0", "version": "1.0", "kind": "zip",
            "size": 1, "sha256": digest, "bin_size": 1, "bin_sha256": digest,
            "app_elf_sha256": null, "elf_sha256": null, "secure_version": 0,
            "warnings": [], "uploaded_at": "t", "sequence": 1,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_device_is_pinned_to_a_build_of_the_model_it_has_then() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let key: DeviceKey = "k1".parse().unwrap();
        let (lamp, pump): (ModelCode, ModelCode) =
            ("lamp".parse().unwrap(), "pump".parse().unwrap());
        let (build, by) = (build(), Caller::Anonymous);
        let pin = |model| set_pin(&registry, &key, model, build.id());
        let model = || model_of(&registry.devices.read(), &key);
        let set_model = |model: Option<&ModelCode>| {
            let (key, model) = (key.clone(), model.cloned());
            registry.devices.note(move |devices| {
                devices.ensure(&key, "t").model.clone_from(&model);
            });
        };
        let pinned = || registry.devices.read().devices[&key].pin.clone();
        assert!(matches!(model(), Err(Error::Missing(_))));
        assert!(matches!(pin(&lamp), Err(Error::Missing(_))));
        assert!(matches!(
            unpin(&registry, &key, &by),
            Err(Error::Missing(_))
        ));
        set_model(None);
        assert!(matches!(model(), Err(Error::Conflict(_))));
        set_model(Some(&lamp));
        assert_eq!(model().unwrap(), lamp);
        // another model was given to it since the build was looked for
        assert!(matches!(pin(&pump), Err(Error::Conflict(_))));
        assert_eq!(pinned(), None);
        assert_eq!(pin(&lamp).unwrap().pin, Some(build.id().into()));
        let on_disk = Registry::open(folder.path()).unwrap().devices.read();
        assert_eq!(on_disk.devices[&key].pin, Some(build.id().into()));
        assert_eq!(unpin(&registry, &key, &by).unwrap().pin, None);
        assert_eq!(pinned(), None);
    }

    #[test]
    fn a_device_is_not_pinned_to_a_build_that_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let limits = BundleLimits::for_bundles_of(1 << 20);
        let store = Store::open(root.path(), None, None, limits).unwrap();
        let (key, model): (DeviceKey, ModelCode) = ("k1".parse().unwrap(), "lamp".parse().unwrap());
        let (known, of) = (key.clone(), model.clone());
        store.registry.devices.note(move |devices| {
            devices.ensure(&known, "t").model = Some(of.clone());
        });
        let pinned = pin(&store, &key, &model, &build(), &Caller::Anonymous);
        assert!(matches!(pinned, Err(Error::Missing(_))));
        assert_eq!(store.registry.devices.read().devices[&key].pin, None);
    }
}
