//! Which crash group a dump is in once it was decoded, or cannot be.

use crate::crashes::{Crashes, Decoded, Occurrence};
use crate::device::{DeviceKey, ModelCode};
use crate::journal::chain;
use crate::signature::Signature;
use crate::store::coredumps::{DeviceFolder, Entry};
use crate::store::firmware::Build;
use crate::store::{Result, Store};

/// The stored builds that a dump may be of: looked up before its folder is held.
pub(super) fn decoded_by(store: &Store, entry: &Entry) -> Decoded {
    let found = match entry.app_elf_sha256().filter(|hash| !hash.is_empty()) {
        Some(hash) => store.firmware.makers(hash),
        None => named(store, entry),
    };
    let builds = found.unwrap_or_else(|error| {
        log::warn!(
            "builds of coredump {} are not known: {}",
            entry.id,
            chain(&error)
        );
        Vec::new()
    });
    Decoded {
        signature: None,
        model: builds.first().map(|(model, _)| model.to_string()),
        builds: builds
            .iter()
            .map(|(_, build)| build.id().to_string())
            .collect(),
        gateway_client: false,
    }
}

/// Dumps without a hash: the build that their version names.
fn named(store: &Store, entry: &Entry) -> Result<Vec<(ModelCode, Build)>> {
    let model = entry.model_code().and_then(|code| code.parse().ok());
    let (Some(model), Some(version)) = (model, entry.firmware_version()) else {
        return Ok(Vec::new());
    };
    let builds = store.firmware.builds(&model)?.into_iter();
    let is_it = |build: &Build| build.version.as_str() == version;
    Ok(builds
        .filter(is_it)
        .map(|build| (model.clone(), build))
        .collect())
}

/// Notes the signature in the device's record of the crash, and finds its group.
pub(super) fn place(
    crashes: &Crashes,
    folder: &mut DeviceFolder,
    device: &DeviceKey,
    id: &str,
    decoded: Decoded,
) -> Option<String> {
    let entry = folder.find(id)?;
    let (crash, fingerprint) = (
        Occurrence::of(device.as_str(), entry),
        entry.fingerprint.as_ref().map(ToString::to_string),
    );
    let signature: Option<Signature> = decoded.signature.clone();
    let group = crashes.decoded(&crash, decoded);
    if let Some(fingerprint) = fingerprint {
        // what is counted without its name stays where it was counted
        let known = folder.crash(&fingerprint).and_then(|of| of.group.clone());
        folder.note_group(&fingerprint, group.clone().or(known), signature);
        // before the sidecar says that it is decoded: it is not decoded again
        if let Err(error) = folder.flush() {
            log::warn!(
                "cannot save the signature of coredump {id}: {}",
                chain(&error)
            );
        }
    }
    group
}
