//! Dumps and firmware as the files tell, when there is no daemon to ask.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::finding::Finding;
use super::firmware::{not_served, warned};
use super::stored::about_dumps;
use crate::firmware::ModelState;
use crate::store::firmware::Build;
use crate::store::registry::Model;

/// Sidecars that are looked at.
const MAX_SIDECARS: usize = 20_000;

/// What cannot be read is passed over: whose data this is was said already.
pub(super) fn look(root: &Path, coredumps: &Path, assets: &Path) -> Vec<Finding> {
    if fs::read_dir(coredumps).is_err() {
        return Vec::new();
    }
    let mut findings = about_dumps(&dumps(coredumps));
    let models = read(&root.join("state/models.json")).unwrap_or_default();
    let models = models.get("models").and_then(Value::as_object);
    let devices = devices(root);
    for (code, model) in models.into_iter().flatten() {
        let Ok(known) = serde_json::from_value::<Model>(model.clone()) else {
            continue;
        };
        let stored = builds(&assets.join(code));
        let state = ModelState::of(&known, |id| stored.iter().any(|build| build.id() == id));
        let active = stored.iter().find(|b| Some(b.id()) == known.active_id());
        let mut shown = model.clone();
        if let Some(object) = shown.as_object_mut() {
            object.insert("code".into(), code.as_str().into());
            object.insert("state".into(), state.as_str().into());
            if let Some(build) = active {
                object.insert("active".into(), build.name.as_str().into());
            }
        }
        findings.extend(not_served(&shown, &devices));
        if let Some(Ok(Value::Object(mut build))) = active.map(serde_json::to_value) {
            build.insert(String::from("active"), true.into());
            findings.extend(warned(code, &json!({ "firmware": [build] })));
        }
    }
    findings
}

/// A model's builds whose files are there.
fn builds(folder: &Path) -> Vec<Build> {
    let described = listed(folder).filter_map(|path| serde_json::from_value(read(&path)?).ok());
    described
        .filter(|build: &Build| folder.join(build.file_name()).exists())
        .collect()
}

/// The devices as the daemon would show them.
fn devices(root: &Path) -> Vec<Value> {
    let devices = read(&root.join("state/devices.json")).unwrap_or_default();
    let devices = devices.get("devices").and_then(Value::as_object);
    let shown = devices.into_iter().flatten().map(|(key, device)| {
        let mut device = device.clone();
        if let Some(object) = device.as_object_mut() {
            object.insert("device_key".into(), key.as_str().into());
        }
        device
    });
    shown.collect()
}

/// The sidecars of all dumps, newest first.
fn dumps(coredumps: &Path) -> Vec<Value> {
    let mut dumps: Vec<Value> = listed(coredumps)
        .flat_map(|device| listed(&device))
        .filter(|path| is_sidecar(path))
        .take(MAX_SIDECARS)
        .filter_map(|path| read(&path))
        .collect();
    dumps.sort_by_key(|dump| Reverse(dump.get("sequence").and_then(Value::as_u64)));
    dumps
}

fn is_sidecar(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_suffix(".json"))
        .is_some_and(|stem| stem.starts_with("coredump_") && !stem.ends_with(".report"))
}

fn listed(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// JSON in a file, as an object.
fn read(path: &Path) -> Option<Value> {
    let bytes = fs::read(path).ok()?;
    let value: Value = serde_json::from_slice(&bytes).ok()?;
    value.is_object().then_some(value)
}
