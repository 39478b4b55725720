//! The same from the files, if no daemon is running.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::dumps_and_firmware::about_dumps;
use super::finding::Finding;
use super::firmware::{not_served, warned};
use crate::api::coredumps::Coredump;
use crate::api::devices::Device;
use crate::api::firmware::Build;
use crate::api::models::Model;
use crate::firmware::ModelState;
use crate::store::firmware;
use crate::store::registry::{BuildRef, Devices, Models};

/// Sidecars that are looked at.
const MAX_SIDECARS: usize = 20_000;

/// What cannot be read is skipped: missing permissions are a finding of their own.
pub(super) fn findings(root: &Path, coredumps: &Path, assets: &Path) -> Vec<Finding> {
    if fs::read_dir(coredumps).is_err() {
        return Vec::new();
    }
    let mut findings = about_dumps(&dumps(coredumps));
    let models: Models = read(&root.join("state/models.json")).unwrap_or_default();
    let devices: Devices = read(&root.join("state/devices.json")).unwrap_or_default();
    for (code, model) in &models.models {
        let folder = assets.join(code.as_str());
        let stored = described(&folder);
        let name = |build: &BuildRef| shown_name(&stored, build);
        let is_there = |build: &firmware::Build| folder.join(build.file_name()).exists();
        let state = ModelState::of(model, |id| {
            stored
                .iter()
                .any(|build| build.id() == id && is_there(build))
        });
        let of_model = devices.of_model(code);
        let of_model = of_model.filter(|(_, device)| device.retired.is_none());
        let of_model: Vec<Device> = of_model
            .map(|(key, device)| Device::of(key, device, device.pin.as_ref().map(name)))
            .collect();
        let shown = Model::of(code, model, state.as_str(), 0, name);
        findings.extend(not_served(&shown, &of_model));
        let there = stored.iter().filter(|build| is_there(build));
        let builds: Vec<Build> = there.map(|build| Build::of(build, model)).collect();
        findings.extend(warned(code.as_str(), &builds));
    }
    findings
}

/// A model's builds, also those whose files are gone.
fn described(folder: &Path) -> Vec<firmware::Build> {
    let sidecars = listed(folder).filter(|path| path.extension().is_some_and(|e| e == "json"));
    sidecars.filter_map(|path| read(&path)).collect()
}

/// What the daemon would call a build of a register.
fn shown_name(stored: &[firmware::Build], build: &BuildRef) -> String {
    match build {
        BuildRef::Name(name) => name.clone(),
        BuildRef::Id(id) => {
            let known = stored.iter().find(|build| build.id() == *id);
            known.map_or_else(|| id.short(), |build| build.name.clone())
        }
    }
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
