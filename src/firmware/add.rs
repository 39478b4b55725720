//! Adds an uploaded build: check, store, and activate it if its model's policy says so.

use super::activation::Activation;
use super::{Error, Result};
use crate::clock::{Moment, iso8601};
use crate::config;
use crate::device::{ModelCode, Version};
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::disk_space::Space;
use crate::store::dump_removal::free_asked;
use crate::store::firmware::{Arrival, Build, PublishError, Published};
use crate::store::publish::Temporary;
use crate::store::{self, Store};

/// The result of an upload.
#[derive(Clone, Debug)]
pub struct TakenIn {
    /// The model's number.
    pub model_id: u64,
    pub version: Version,
    /// Whether it is active now.
    pub active: bool,
    pub warnings: Vec<String>,
    /// It is to go out in a rollout, which nobody started yet.
    pub for_rollout: Option<Build>,
}

/// What has to stay free for dumps, bytes.
///
/// # Errors
/// [`store::Error::Io`].
pub fn keep_free(store: &Store, settings: &config::Coredumps) -> store::Result<u64> {
    let space = Space::of(store.data_dir.assets())?;
    Ok(free_asked(settings, space.total))
}

/// Checks a received upload, stores it, and activates it if the model's policy says so. When
/// this returns, all of it is on the disk. A failure at any step leaves devices with what
/// they got before. `given` is the version of an image that has none of its own.
///
/// # Errors
/// [`Error::Refused`] for what is no firmware of this model, [`Error::Store`].
pub fn add_build(
    store: &Store,
    settings: &config::Coredumps,
    model: &ModelCode,
    upload: Temporary,
    given: Option<Version>,
    actor: &Caller,
) -> Result<TakenIn> {
    let now = Moment::now();
    let registry = &store.registry;
    let before = registry.models.read().models.get(model).cloned();
    let arrival = Arrival {
        sequence: store.coredumps.next_sequence()?,
        active: before.and_then(|model| model.active_id()),
        at: now.clone(),
        version: given,
        by: Some(actor.to_string()),
    };
    let free = keep_free(store, settings)?;
    let published = store.firmware.publish(model, upload, &arrival, free);
    let published = published.map_err(|error| match error {
        PublishError::Refused(refusal) => Error::Refused(refusal),
        PublishError::Store(error) => Error::Store(error),
    })?;
    let build = &published.build;
    // somebody may have removed it already
    let _decision = store.firmware.decision();
    let is_there = store.firmware.get(model, build.id())?.is_some();
    let in_rollout = store.rollouts.live(model);
    let in_rollout = in_rollout.is_some_and(|rollout| rollout.is_offering());
    let outcome = registry.models.change(|models| {
        let entry = models.ensure(model, &iso8601(now.wall));
        let activation =
            Activation::of(entry, build, published.activatable && is_there, in_rollout);
        if activation == Activation::Active {
            entry.set_active(build.id());
        }
        Ok::<_, std::convert::Infallible>((entry.id, activation))
    })?;
    let (model_id, activation) = outcome.unwrap_or_else(|never| match never {});
    let active = activation == Activation::Active;
    say_taken_in(model, &published, active, actor);
    let mut warnings: Vec<String> = published.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(activation.warning(model.as_str(), build.version.as_str()));
    Ok(TakenIn {
        model_id,
        version: build.version.clone(),
        active,
        warnings,
        for_rollout: (activation == Activation::ByRollout).then(|| published.build.clone()),
    })
}

fn say_taken_in(model: &ModelCode, published: &Published, active: bool, actor: &Caller) {
    let build = &published.build;
    Event::BundleStored
        .entry()
        .model(model)
        .version(&build.version)
        .actor(actor)
        .say(format_args!(
            "{} firmware {} of {model} ({}, {} bytes, build {}){}",
            match published.known {
                true => "already had",
                false => "stored",
            },
            build.version,
            build.chip.as_deref().unwrap_or("unknown chip"),
            build.size,
            build.id().short(),
            match active {
                true => "; active",
                false => "; not active",
            }
        ));
    for warning in &published.warnings {
        Event::BundleWarning
            .entry()
            .model(model)
            .version(&build.version)
            .say(format_args!(
                "firmware {} of {model}: {warning}",
                build.version
            ));
    }
}
