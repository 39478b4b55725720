//! Rebuilds lost registers from the rest of the data directory.

use std::convert::Infallible;

use super::Result;
use super::coredumps::{Coredumps, Entry, Source};
use super::firmware::Firmware;
use super::registry::Registry;
use crate::clock::{Moment, iso8601};
use crate::device::{DeviceKey, ModelCode};
use crate::journal::{Event, chain};

/// Registers the models that have firmware again; what is served is for a
/// person to say, who alone knows whether the newest was held back.
pub(super) fn models(registry: &Registry, firmware: &Firmware) -> Result<()> {
    let codes = firmware.models()?;
    let now = iso8601(Moment::now().wall);
    let outcome = registry.models.change(|models| {
        for code in &codes {
            models.ensure(code, &now);
        }
        Ok::<_, Infallible>(())
    })?;
    outcome.unwrap_or_else(|never| match never {});
    Event::StoreRepaired.entry().say(format_args!(
        "models register lost: registered {} models from stored firmware, none active; \
         run `espgate firmware list` and `espgate firmware activate`",
        codes.len()
    ));
    Ok(())
}

/// Registers the devices that have dumps again, with the model of their newest
/// one. Over HTTPS nobody stores a dump who is not registered, but for boards
/// that show a fleet's token: that registers them again.
pub(super) fn devices(registry: &Registry, coredumps: &Coredumps) -> Result<()> {
    let now = iso8601(Moment::now().wall);
    let mut found: Vec<(DeviceKey, Option<ModelCode>, bool)> = Vec::new();
    for key in coredumps.devices()? {
        let told = coredumps.with(&key, |folder| {
            let entries = folder.entries();
            let model = entries.iter().rev().find_map(Entry::model_code);
            let is_registered =
                |entry: &Entry| entry.is_from(Source::Https) && !entry.by_fleet_token;
            let registered = entries.iter().any(is_registered);
            Ok((model.and_then(|code| code.parse().ok()), registered))
        });
        match told {
            Ok((model, registered)) => found.push((key, model, registered)),
            Err(error) => log::warn!("cannot register {key} from its dumps: {}", chain(&error)),
        }
    }
    let outcome = registry.devices.change(|devices| {
        for (key, model, registered) in &found {
            let device = devices.ensure(key, &now);
            device.model = model.clone();
            device.registered = *registered;
        }
        Ok::<_, Infallible>(())
    })?;
    outcome.unwrap_or_else(|never| match never {});
    Event::StoreRepaired
        .entry()
        .at(log::Level::Error)
        .say(format_args!(
            "devices register lost: registered {} devices from stored dumps, without \
             names, pins and tokens; restore a backup or run `espgate devices token`",
            found.len()
        ));
    Ok(())
}
