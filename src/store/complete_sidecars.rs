//! Completes rebuilt sidecars from the rest of the data directory.

use serde_json::Value;

use super::Result;
use super::coredumps::{DeviceFolder, Entry, REBUILT, Sidecar};
use super::open_store::Store;
use crate::device::DeviceKey;
use crate::journal::chain;

impl Store {
    /// Adds to rebuilt sidecars what only the
    /// registers, the other dumps and the firmware know: model and version.
    /// Blocks, and reads every folder.
    pub fn complete_rebuilt(&self) {
        let lacking = self.coredumps.collect(|device, entry| {
            let lacks = entry.model_code().is_none() || entry.firmware_version().is_none();
            lacks.then(|| (device.clone(), entry.stem.to_string()))
        });
        for (device, stem) in lacking {
            if let Err(error) = self.complete(&device, &stem) {
                log::warn!(
                    "cannot complete the sidecar of {stem}.dmp: {}",
                    chain(&error)
                );
            }
        }
    }

    fn complete(&self, device: &DeviceKey, stem: &str) -> Result<()> {
        let read = |folder: &mut DeviceFolder| folder.sidecar(stem);
        let sidecar = self.coredumps.with(device, read)?;
        if sidecar.identity != REBUILT {
            return Ok(());
        }
        let build = self.build_of(&sidecar)?;
        let registered = self.registry.devices.read();
        let registered = registered.devices.get(device);
        self.coredumps.with(device, |folder| {
            let beside = Beside::of(folder, &sidecar, stem);
            let built = build.map(|(model, version)| (Some(model), Some(version)));
            let (built_model, built_version) = built.unwrap_or_default();
            let model = beside
                .model
                .or(built_model)
                .or_else(|| Some(registered?.model.as_ref()?.to_string()));
            let version = beside.version.or(built_version);
            folder.change(stem, |sidecar| {
                sidecar.model_code = sidecar.model_code.take().or(model);
                sidecar.firmware_version = sidecar.firmware_version.take().or(version);
            })
        })?;
        Ok(())
    }

    /// The stored build whose hash is in the dump.
    fn build_of(&self, sidecar: &Sidecar) -> Result<Option<(String, String)>> {
        let Some(prefix) = &sidecar.app_elf_sha256 else {
            return Ok(None);
        };
        for model in self.firmware.models()? {
            let builds = self.firmware.builds(&model)?;
            let fits = builds.iter().find(|build| {
                build
                    .app_elf_sha256
                    .is_some_and(|digest| digest.has_prefix(prefix))
            });
            if let Some(build) = fits {
                return Ok(Some((model.to_string(), build.version.to_string())));
            }
        }
        Ok(None)
    }
}

/// What the other files of the device's folder tell of a dump.
#[derive(Debug, Default)]
struct Beside {
    model: Option<String>,
    version: Option<String>,
}

impl Beside {
    fn of(folder: &mut DeviceFolder, sidecar: &Sidecar, stem: &str) -> Self {
        let crash = sidecar.fingerprint.as_deref();
        let crash = crash
            .and_then(|fingerprint| folder.crash(fingerprint))
            .cloned();
        let folder = &*folder;
        let others = || {
            folder
                .entries()
                .iter()
                .rev()
                .filter(|entry| entry.stem != *stem)
        };
        let same_build = |entry: &&Entry| {
            let hash = entry.app_elf_sha256();
            hash.is_some() && hash == sidecar.app_elf_sha256.as_deref()
        };
        let model = crash.as_ref().and_then(|crash| crash.model_code.clone());
        // A fingerprint holds the build's hash: it has one version, but for dumps
        // that were counted while the sidecar was lost.
        let mut counted = crash
            .iter()
            .flat_map(|crash| crash.occurrences_per_version.keys())
            .filter(|version| *version != "unknown");
        Self {
            model: model.or_else(|| others().find_map(Entry::model_code).map(str::to_owned)),
            version: others()
                .find(same_build)
                .and_then(Entry::firmware_version)
                .map(str::to_owned)
                .or_else(|| counted.next().cloned())
                .or_else(|| reported(folder, stem)),
        }
    }
}

/// The version in an earlier report, if that was read with the right ELF.
fn reported(folder: &DeviceFolder, stem: &str) -> Option<String> {
    let bytes = std::fs::read(folder.file(stem, "report.json")).ok()?;
    let report: Value = serde_json::from_slice(&bytes).ok()?;
    let app = report.get("app")?;
    (app.get("match")? == "exact").then_some(())?;
    Some(app.get("version")?.as_str()?.to_owned())
}
