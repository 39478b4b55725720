//! Configuration files of devices whose name does not tell whom they are for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::finding::Finding;
use crate::device::{DeviceKey, ModelCode};
use crate::store::registry::{Devices, Models};

/// What cannot be read is skipped: missing permissions are a finding of their own.
pub(super) fn findings(root: &Path) -> Vec<Finding> {
    let folder = root.join("config");
    let listing = fs::read_dir(&folder).into_iter().flatten().flatten();
    let names: BTreeSet<String> = listing
        .filter_map(|entry| {
            Some(
                entry
                    .file_name()
                    .to_str()?
                    .strip_suffix(".json")?
                    .to_owned(),
            )
        })
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    let state = |name| fs::read(root.join("state").join(name)).unwrap_or_default();
    let devices: Devices = serde_json::from_slice(&state("devices.json")).unwrap_or_default();
    let models: Models = serde_json::from_slice(&state("models.json")).unwrap_or_default();
    names
        .iter()
        .filter(|name| is_both(name, &devices, &models))
        .map(|name| ambiguous(&folder, name))
        .collect()
}

fn is_both(name: &str, devices: &Devices, models: &Models) -> bool {
    let key: Option<DeviceKey> = name.parse().ok();
    let code: Option<ModelCode> = name.parse().ok();
    key.is_some_and(|key| devices.devices.contains_key(&key))
        && code.is_some_and(|code| models.models.contains_key(&code))
}

fn ambiguous(folder: &Path, name: &str) -> Finding {
    let folder = folder.display();
    Finding::warning(
        "config",
        format!("{folder}/{name}.json: {name} is a device and a model; served for the model only"),
        &format!("move it to {folder}/models/{name}.json or {folder}/devices/{name}.json"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_a_device_and_a_model_is_told() {
        let mut devices = Devices::default();
        let mut models = Models::default();
        for key in ["k1", "lamp"] {
            devices.ensure(&key.parse().unwrap(), "t");
        }
        for code in ["lamp", "pump"] {
            models.ensure(&code.parse().unwrap(), "t");
        }
        for (name, expected) in [
            ("lamp", true),
            ("k1", false),
            ("pump", false),
            ("other", false),
            ("a b", false),
        ] {
            assert_eq!(is_both(name, &devices, &models), expected, "{name}");
        }
    }
}
