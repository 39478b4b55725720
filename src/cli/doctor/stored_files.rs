//! Dumps and firmware as the files tell, when there is no daemon to ask.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::finding::Finding;
use super::firmware::{not_served, warned};
use super::stored::about_dumps;
use crate::api::coredumps::Coredump;
use crate::api::devices::Device;
use crate::api::firmware::Build;
use crate::api::models::Model;
use crate::cli::answer::known;
use crate::device::ModelCode;
use crate::store::registry::{self, Devices, Models};
use crate::store::served::Served;

/// Sidecars that are looked at.
const MAX_SIDECARS: usize = 20_000;

/// What cannot be read is passed over: whose data this is was said already.
pub(super) fn look(root: &Path, coredumps: &Path, assets: &Path) -> Vec<Finding> {
    if fs::read_dir(coredumps).is_err() {
        return Vec::new();
    }
    let mut findings = about_dumps(&dumps(coredumps));
    let models: Models = read(&root.join("state/models.json")).unwrap_or_default();
    let devices: Devices = read(&root.join("state/devices.json")).unwrap_or_default();
    let devices = devices.devices.iter();
    let devices: Vec<Device> = devices
        .map(|(key, device)| Device::of(key, device))
        .collect();
    for (code, model) in &models.models {
        findings.extend(not_served(&as_shown(code, model, assets), &devices));
        let sidecar = format!("firmware-{}.json", known(&model.active));
        let build: Option<Build> = read(&assets.join(code.as_str()).join(sidecar));
        if let Some(mut build) = build {
            build.active = true;
            findings.extend(warned(code.as_str(), &[build]));
        }
    }
    findings
}

/// A model as the daemon would show it.
fn as_shown(code: &ModelCode, model: &registry::Model, assets: &Path) -> Model {
    let folder = assets.join(code.as_str());
    let there = |name: &str| {
        ["zip", "bin"]
            .iter()
            .any(|kind| folder.join(format!("firmware-{name}.{kind}")).exists())
    };
    let state = Served::of(model, there);
    Model::of(code, model, state, 0)
}

/// All dumps, newest first.
fn dumps(coredumps: &Path) -> Vec<Coredump> {
    let mut dumps: Vec<Coredump> = listed(coredumps)
        .flat_map(|device| listed(&device))
        .filter(|path| is_sidecar(path))
        .take(MAX_SIDECARS)
        .filter_map(|path| read(&path))
        .collect();
    dumps.sort_by_key(|dump| Reverse(dump.sidecar.sequence));
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

/// What a file says; nothing if it cannot be read.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
