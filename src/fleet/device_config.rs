//! Which file is a device's configuration: a folder for devices, one for models, and
//! the flat files of older releases.

use std::path::PathBuf;

use crate::device::{DeviceKey, ModelCode};
use crate::store::registry::Models;

/// Where a device's configuration may be, below the folder of configurations: the first
/// that is there is served. `key` is `None` for a device that shows no credential of
/// its own: it may call itself as it likes, and gets what is for all of its model.
pub fn places(key: Option<&DeviceKey>, model: Option<&ModelCode>, models: &Models) -> Vec<PathBuf> {
    let mut places = Vec::with_capacity(4);
    if let Some(key) = key {
        places.push(format!("devices/{key}.json"));
        if !is_model(key.as_str(), models) {
            places.push(format!("{key}.json"));
        }
    }
    if let Some(model) = model {
        places.push(format!("models/{model}.json"));
        places.push(format!("{model}.json"));
    }
    places.into_iter().map(PathBuf::from).collect()
}

/// A flat file with this name is for the model.
fn is_model(name: &str, models: &Models) -> bool {
    let code: Option<ModelCode> = name.parse().ok();
    code.is_some_and(|code| models.models.contains_key(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_own_file_comes_first_and_a_flat_one_is_not_taken_from_a_model() {
        let mut models = Models::default();
        for code in ["lamp", "pump"] {
            models.ensure(&code.parse().unwrap(), "t");
        }
        let lamp: ModelCode = "lamp".parse().unwrap();
        for (key, model, expected) in [
            (
                Some("k1"),
                Some(&lamp),
                "devices/k1.json k1.json models/lamp.json lamp.json",
            ),
            (
                Some("pump"),
                Some(&lamp),
                "devices/pump.json models/lamp.json lamp.json",
            ),
            (
                Some("lamp"),
                Some(&lamp),
                "devices/lamp.json models/lamp.json lamp.json",
            ),
            (Some("k1"), None, "devices/k1.json k1.json"),
            (None, Some(&lamp), "models/lamp.json lamp.json"),
            (None, None, ""),
        ] {
            let key: Option<DeviceKey> = key.map(|key| key.parse().unwrap());
            let found = places(key.as_ref(), model, &models);
            let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
            assert_eq!(found.join(" "), expected, "{key:?} {model:?}");
        }
    }
}
