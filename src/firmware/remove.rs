//! Removes builds, on request or by the retention rule.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::manage::deactivate;
use super::resolve_build::{build_named, shown_name};
use super::{Error, Result};
use crate::build_id::BuildId;
use crate::clock::{Moment, parse};
use crate::device::{DeviceKey, ModelCode};
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::coredumps::DumpOrigin;
use crate::store::firmware::{Build, Use};
use crate::store::registry::{BuildRef, Device, Devices, Models};
use crate::store::rollouts::Rollout;
use crate::store::{self, Store};

/// Removes a build.
///
/// # Errors
/// As [`build_named`], and [`Error::InUse`] for one that is active or pinned.
pub fn one(store: &Store, model: &ModelCode, name: &str, caller: &Caller) -> Result<()> {
    let _decision = store.firmware.decision();
    let build = build_named(store, model, name)?;
    not_in_rollout(store, model, Some(build.id()))?;
    if is_served_now(store, model, build.id()) {
        return Err(Error::InUse {
            model: model.clone(),
            name: name.to_owned(),
        });
    }
    store.firmware.delete(model, build.id())?;
    say_removed(model, &build.name, caller);
    Ok(())
}

/// Removes every build of a model, the active one and the image for older tools too; gives
/// their names. The model stays and serves nothing.
///
/// # Errors
/// [`Error::Pinned`] while a device is pinned to a build, which it would ask for in vain;
/// [`Error::Store`].
pub fn all(store: &Store, model: &ModelCode, caller: &Caller) -> Result<Vec<String>> {
    let _decision = store.firmware.decision();
    not_in_rollout(store, model, None)?;
    if let Some((device, pin)) = pinned(&store.registry.devices.read(), model) {
        return Err(Error::Pinned {
            device,
            model: model.clone(),
            name: shown_name(store, model, &pin),
        });
    }
    // nothing is served that is about to go
    deactivate(store, model)?;
    let mut deleted = Vec::new();
    for build in store.firmware.builds(model)? {
        store.firmware.delete(model, build.id())?;
        say_removed(model, &build.name, caller);
        deleted.push(build.name);
    }
    store.firmware.delete_loose(model)?;
    Ok(deleted)
}

/// A live rollout needs its target and its base; `None`: any build.
fn not_in_rollout(store: &Store, model: &ModelCode, build: Option<BuildId>) -> Result<()> {
    let live = store.rollouts.live(model);
    let needs = |rollout: &Rollout| build.is_none_or(|build| rollout.needs(build));
    match live.filter(|rollout| needs(rollout)) {
        Some(rollout) => Err(Error::Rollout {
            model: model.clone(),
            id: rollout.id.clone(),
        }),
        None => Ok(()),
    }
}

fn is_in_rollout(store: &Store, model: &ModelCode, build: BuildId) -> bool {
    not_in_rollout(store, model, Some(build)).is_err()
}

fn say_removed(model: &ModelCode, name: &str, caller: &Caller) {
    Event::BundleRemoved
        .entry()
        .model(model)
        .version(&name)
        .actor(caller)
        .say(format_args!("{caller} deleted firmware {name} of {model}"));
}

/// A device of the model with a pin, and the pin.
fn pinned(devices: &Devices, model: &ModelCode) -> Option<(DeviceKey, BuildRef)> {
    let mut of_model = devices.of_model(model);
    of_model.find_map(|(key, device)| Some((key.clone(), device.pin.clone()?)))
}

fn is_served_now(store: &Store, model: &ModelCode, build: BuildId) -> bool {
    let registry = &store.registry;
    is_served(
        &registry.models.read(),
        &registry.devices.read(),
        model,
        build,
    )
}

/// Whether it is active or pinned.
fn is_served(models: &Models, devices: &Devices, model: &ModelCode, build: BuildId) -> bool {
    let active = models.models.get(model);
    let is_active = active.is_some_and(|model| model.active_id() == Some(build));
    let is_pinned = |pin: &BuildRef| pin.id() == Some(build);
    is_active
        || devices
            .of_model(model)
            .any(|(_, d)| d.pin.as_ref().is_some_and(is_pinned))
}

/// Removes builds beyond `keep` of a model by the rule of [`store::firmware::retention`];
/// none for a day after the clock jumped, since ages count.
///
/// # Errors
/// As [`store::firmware::Firmware::sweep`].
pub fn sweep(store: &Store, keep: usize, now: &Moment) -> store::Result<()> {
    if store.clock_jump.is_recent() {
        return Ok(());
    }
    let registry = &store.registry;
    let (models, devices) = (registry.models.read(), registry.devices.read());
    let mut dumps: HashSet<Arc<DumpOrigin>> = HashSet::new();
    store.coredumps.collect(|_, entry| {
        dumps.insert(Arc::clone(&entry.origin));
        None::<()>
    });
    let in_use = |model: &ModelCode, build: &Build| {
        let last_run = devices
            .of_model(model)
            .filter_map(|(_, device)| last_on(device, build))
            .filter_map(|at| Duration::try_from(now.wall - parse(at)?).ok())
            .min();
        Use {
            served: is_served(&models, &devices, model, build.id())
                || is_in_rollout(store, model, build.id()),
            last_run,
            needed: dumps.iter().any(|dump| {
                let of = dump.model_code.as_deref();
                let same = of.is_none_or(|of| of == model.as_str());
                let version = dump.firmware_version.as_deref();
                same && fits(build, version, dump.app_elf_sha256.as_deref())
            }),
        }
    };
    // looking at all dumps takes a while: what became active or pinned meanwhile stays
    store.firmware.sweep(keep, now, in_use, |model, build| {
        is_served_now(store, model, build.id()) || is_in_rollout(store, model, build.id())
    })?;
    Ok(())
}

/// When a build was last seen on a device.
fn last_on<'a>(device: &'a Device, build: &Build) -> Option<&'a str> {
    let running = device.running.iter().map(|running| {
        let (version, app_elf) = (&running.version, &running.app_elf_sha256);
        (running.build_id, version, app_elf, running.at.as_str())
    });
    let before = device.builds.iter().map(|seen| {
        let (version, app_elf) = (&seen.version, &seen.app_elf_sha256);
        (seen.build_id, version, app_elf, seen.last.as_str())
    });
    let is_it = |(id, version, app_elf, at): (_, &'a Option<String>, &'a Option<String>, _)| {
        let fits = match id {
            Some(id) => build.id() == id,
            None => fits(build, version.as_deref(), app_elf.as_deref()),
        };
        fits.then_some(at)
    };
    running.chain(before).filter_map(is_it).max()
}

/// Whether a build matches a reported one, by the ELF hash if there is one.
fn fits(build: &Build, version: Option<&str>, app_elf: Option<&str>) -> bool {
    match app_elf {
        Some(prefix) => build
            .app_elf_sha256
            .is_some_and(|digest| digest.has_prefix(prefix)),
        None => version == Some(build.version.as_str()),
    }
}
