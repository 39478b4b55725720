//! Changes to builds: activate, roll back, block.

use std::collections::BTreeSet;
use std::convert::Infallible;

use super::resolve_build::build_named;
use super::{Error, Result};
use crate::build_id::BuildId;
use crate::clock::{Moment, iso8601};
use crate::device::ModelCode;
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::Store;
use crate::store::firmware::Build;
use crate::store::registry::{Block, BuildRef, Model};

/// A build that a model's devices get from now on.
#[derive(Clone, Debug)]
pub struct Activated {
    /// The model's number.
    pub model_id: u64,
    pub build: Build,
}

/// Makes a build the active one.
///
/// # Errors
/// As [`build_named`], [`Error::Blocked`], and [`Error::Rollout`] while one is running.
pub fn activate(
    store: &Store,
    model: &ModelCode,
    name: &str,
    caller: &Caller,
) -> Result<Activated> {
    let _decision = store.firmware.decision();
    no_rollout(store, model)?;
    let build = build_named(store, model, name)?;
    let model_id = change(store, model, |entry| {
        if entry.is_blocked(build.id()) {
            return Err(Error::Blocked {
                model: model.clone(),
                name: name.to_owned(),
            });
        }
        entry.set_active(build.id());
        Ok(entry.id)
    })?;
    Ok(activated(model, model_id, build, caller))
}

/// Makes the build active that was so before, and is stored and not blocked.
///
/// # Errors
/// [`Error::NothingBefore`], [`Error::Rollout`] while one is running, [`Error::Store`].
pub fn roll_back(store: &Store, model: &ModelCode, caller: &Caller) -> Result<Activated> {
    let _decision = store.firmware.decision();
    no_rollout(store, model)?;
    let builds = store.firmware.builds(model)?;
    let there: BTreeSet<BuildId> = builds.iter().map(Build::id).collect();
    let (model_id, id) = change(store, model, |entry| {
        let before = go_back(entry, &there);
        let before = before.ok_or_else(|| Error::NothingBefore(model.clone()))?;
        Ok((entry.id, before))
    })?;
    let build = builds.into_iter().find(|build| build.id() == id);
    let build = build.ok_or_else(|| Error::NothingBefore(model.clone()))?;
    Ok(activated(model, model_id, build, caller))
}

/// While a rollout offers a build, what is active is its base.
fn no_rollout(store: &Store, model: &ModelCode) -> Result<()> {
    match store.rollouts.live(model) {
        Some(rollout) if rollout.is_offering() => Err(Error::Rollout {
            model: model.clone(),
            id: rollout.id.clone(),
        }),
        _ => Ok(()),
    }
}

/// Builds activated in between are skipped.
fn go_back(model: &mut Model, there: &BTreeSet<BuildId>) -> Option<BuildId> {
    let usable = |build: &BuildRef| {
        let id = build.id();
        id.is_some_and(|id| there.contains(&id) && !model.is_blocked(id))
    };
    let at = model.previous.iter().rposition(usable)?;
    let id = model.previous.get(at)?.id()?;
    model.previous.truncate(at);
    model.active = Some(id.into());
    Some(id)
}

fn activated(model: &ModelCode, model_id: u64, build: Build, caller: &Caller) -> Activated {
    let name = &build.name;
    Event::FirmwareActivated
        .entry()
        .model(model)
        .version(name)
        .actor(caller)
        .say(format_args!(
            "{caller} activated firmware {name} of {model} (build {})",
            build.id().short()
        ));
    Activated { model_id, build }
}

/// A build that is never served again.
#[derive(Clone, Debug)]
pub struct Blocked {
    pub build: Build,
    /// It is the active one, so the model serves nothing now.
    pub is_active: bool,
    /// The name of another build of its version that is active, and is served.
    pub still_active: Option<String>,
}

/// Never serves a build again. `why` is what a person wrote.
///
/// # Errors
/// As [`build_named`].
pub fn block(
    store: &Store,
    model: &ModelCode,
    name: &str,
    why: Option<&str>,
    caller: &Caller,
) -> Result<Blocked> {
    let build = build_named(store, model, name)?;
    let name = &build.name;
    let active = change(store, model, |entry| {
        entry.set_blocked(build.id(), build.version.as_str(), true);
        let now = iso8601(Moment::now().wall);
        entry.explain_block(build.id(), &caller.to_string(), &now, why);
        Ok(entry.active_id())
    })?;
    let is_active = active == Some(build.id());
    let entry = Event::ModelChanged
        .entry()
        .model(model)
        .version(name)
        .actor(caller);
    match is_active {
        true => entry.at(log::Level::Warn).say(format_args!(
            "{caller} blocked firmware {name} of {model}, which was active: nothing is \
             served for this model"
        )),
        false => entry.say(format_args!("{caller} blocked firmware {name} of {model}")),
    }
    let active = active.filter(|_| !is_active);
    let active = active.map(|id| store.firmware.get(model, id)).transpose()?;
    let same_version = |active: &Build| active.version == build.version;
    let still_active = active.flatten().filter(same_version);
    Ok(Blocked {
        still_active: still_active.map(|active| active.name),
        build,
        is_active,
    })
}

/// Allows a blocked build again, or, by a version, all its builds; also a block that stands for
/// no stored build, by the version or the id it names.
///
/// # Errors
/// As [`build_named`].
pub fn unblock(store: &Store, model: &ModelCode, name: &str, caller: &Caller) -> Result<()> {
    let found = match build_named(store, model, name) {
        Ok(build) => Some(build),
        Err(Error::NoBuild { .. }) => None,
        Err(error) => return Err(error),
    };
    change(store, model, |entry| {
        let before = entry.blocked.len();
        let is_meant = |block: &Block| match &block.build {
            BuildRef::Id(id) => {
                let found = found.as_ref().map(Build::id);
                found == Some(*id) || (found.is_none() && name.len() >= 8 && id.has_prefix(name))
            }
            BuildRef::Name(blocked) => blocked == name,
        };
        // a version means all of its builds: which of them was blocked is easily forgotten
        let of_version = |block: &Block| block.version == name;
        entry
            .blocked
            .retain(|block| !is_meant(block) && !of_version(block));
        if found.is_none() && entry.blocked.len() == before {
            return Err(Error::NoBuild {
                model: model.clone(),
                name: name.to_owned(),
            });
        }
        Ok(())
    })?;
    Event::ModelChanged
        .entry()
        .model(model)
        .version(&name)
        .actor(caller)
        .say(format_args!(
            "{caller} unblocked firmware {name} of {model}"
        ));
    Ok(())
}

fn change<R>(
    store: &Store,
    model: &ModelCode,
    change: impl FnOnce(&mut Model) -> Result<R>,
) -> Result<R> {
    store
        .registry
        .models
        .change(|models| change(models.ensure(model, &iso8601(Moment::now().wall))))?
}

/// Clears a model's active and previous builds.
///
/// # Errors
/// [`Error::Store`].
pub(super) fn deactivate(store: &Store, model: &ModelCode) -> Result<()> {
    let outcome = store.registry.models.change(|models| {
        let entry = models.ensure(model, &iso8601(Moment::now().wall));
        entry.active = None;
        entry.previous.clear();
        Ok::<_, Infallible>(())
    })?;
    outcome.unwrap_or_else(|never| match never {});
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn going_back_passes_over_what_is_gone_or_blocked_and_forgets_what_was_tried() {
        let build = |number: u8| BuildId::from(Sha256::of(&[number]));
        let mut model = Model::default();
        for number in [1, 2, 3, 4] {
            model.set_active(build(number));
        }
        let name = BuildRef::Name(String::from("0.9"));
        model.previous.insert(0, name.clone());
        model.set_blocked(build(2), "2", true);
        let there = BTreeSet::from([build(1), build(2), build(4)]);
        assert_eq!(go_back(&mut model, &there), Some(build(1)));
        assert_eq!(model.active_id(), Some(build(1)));
        assert_eq!(model.previous, [name]);
        assert_eq!(go_back(&mut model, &there), None);
        assert_eq!(model.active_id(), Some(build(1)));
    }
}
