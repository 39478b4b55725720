//! A device's own tokens: two at most, and the older one ends when the newer is
//! first used.

use super::devices::{alter, apply, by_a_person, checked, known, say_changed};
use super::{Error, Result, must_exist};
use crate::api::devices::Change;
use crate::clock::{Moment, iso8601};
use crate::device::DeviceKey;
use crate::identity::Caller;
use crate::journal::Event;
use crate::store;
use crate::store::registry::tokens::generate;
use crate::store::registry::{Device, Devices, Registry};

/// Tokens that a device may hold: one in use and one to change over to.
const MOST: usize = 2;

/// Registers a device with its first token, at once or not at all: the device
/// and the token, which is on the disk then.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Missing`] for the model, [`Error::Conflict`] if
/// it is registered already, [`Error::Store`].
pub fn register(
    registry: &Registry,
    key: &DeviceKey,
    change: Change,
    actor: &Caller,
) -> Result<(Device, String)> {
    let change = checked(change)?;
    let (device, text) = alter(registry, key, |devices, now| {
        must_exist(
            &registry.models.read(),
            change.model.clone().flatten().as_ref(),
        )?;
        if devices.devices.get(key).is_some_and(|d| d.registered) {
            return Err(Error::Conflict(format!("Device {key} already exists")));
        }
        apply(&change, devices, key, now)?;
        add_to(known(devices, key)?, now)
    })?;
    say_changed(key, &device, actor, "registered");
    say_made(key, &device, actor);
    Ok((device, text))
}

/// Makes one more token, which is on the disk then. A third one replaces the
/// second.
///
/// # Errors
/// [`Error::Missing`], [`Error::Store`].
pub fn add(registry: &Registry, key: &DeviceKey, actor: &Caller) -> Result<(Device, String)> {
    let (device, text) = alter(registry, key, |devices, now| {
        let device = known(devices, key)?;
        by_a_person(device);
        add_to(device, now)
    })?;
    say_made(key, &device, actor);
    Ok((device, text))
}

fn add_to(device: &mut Device, now: &str) -> Result<String> {
    let (text, credential) = generate(now).map_err(Error::Random)?;
    device.tokens.truncate(MOST - 1);
    device.tokens.push(credential);
    Ok(text)
}

fn say_made(key: &DeviceKey, device: &Device, actor: &Caller) {
    let id = device.tokens.last().map(|token| token.id.as_str());
    Event::TokenMade
        .entry()
        .device(key)
        .actor(actor)
        .say(format_args!(
            "{actor} created token {} for device {key}",
            id.unwrap_or_default()
        ));
}

/// Revokes all tokens of a device; returns their ids.
///
/// # Errors
/// [`Error::Missing`], [`Error::Store`].
pub fn revoke(registry: &Registry, key: &DeviceKey, actor: &Caller) -> Result<Vec<String>> {
    let (_, ended) = alter(registry, key, |devices, _| {
        Ok(std::mem::take(&mut known(devices, key)?.tokens))
    })?;
    let ids: Vec<String> = ended.into_iter().map(|token| token.id).collect();
    for id in &ids {
        Event::TokenEnded
            .entry()
            .device(key)
            .actor(actor)
            .say(format_args!("{actor} revoked token {id} of device {key}"));
    }
    Ok(ids)
}

/// A token was used for the first time: older ones end, and that is on the disk
/// when this returns. Without older ones it is only noted: a power cut makes the
/// next use the first one.
///
/// # Errors
/// [`store::Error`].
pub fn first_used(registry: &Registry, key: &DeviceKey, token_id: &str) -> store::Result<()> {
    let now = iso8601(Moment::now().wall);
    let is_oldest = registry
        .devices
        .read()
        .devices
        .get(key)
        .is_none_or(|device| {
            let oldest = device.tokens.first();
            oldest.is_none_or(|oldest| oldest.id == token_id)
        });
    if is_oldest {
        let (key, token_id) = (key.clone(), token_id.to_owned());
        registry
            .devices
            .note(move |devices| drop(use_first(devices, &key, &token_id, &now)));
        return Ok(());
    }
    let ended = registry
        .devices
        .change(|devices| {
            Ok::<_, std::convert::Infallible>(use_first(devices, key, token_id, &now))
        })?
        .unwrap_or_else(|never| match never {});
    for id in ended {
        Event::TokenEnded.entry().device(key).say(format_args!(
            "token {id} of {key} expired: the newer one is in use"
        ));
    }
    Ok(())
}

/// The ids of the tokens that end. A token that is gone meanwhile ends none.
fn use_first(devices: &mut Devices, key: &DeviceKey, token_id: &str, now: &str) -> Vec<String> {
    let Some(device) = devices.get_mut(key) else {
        return Vec::new();
    };
    let Some(at) = device.tokens.iter().position(|token| token.id == token_id) else {
        return Vec::new();
    };
    device.own_token_since.get_or_insert_with(|| now.to_owned());
    // Older ones stand before it, a still newer one after it.
    let ended = device.tokens.drain(..at).map(|token| token.id).collect();
    if let Some(token) = device.tokens.first_mut() {
        token.first_used_at.get_or_insert_with(|| now.to_owned());
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(device: &Device) -> Vec<(&str, Option<&str>)> {
        let tokens = device.tokens.iter();
        tokens
            .map(|token| (token.created_at.as_str(), token.first_used_at.as_deref()))
            .collect()
    }

    #[test]
    fn a_third_token_of_a_device_replaces_the_second() {
        let mut device = Device::default();
        for now in ["1", "2", "3"] {
            add_to(&mut device, now).unwrap();
        }
        assert_eq!(times(&device), [("1", None), ("3", None)]);
    }

    #[test]
    fn the_first_use_of_the_newer_token_ends_the_older_one() {
        let mut devices = Devices::default();
        let key: DeviceKey = "k1".parse().unwrap();
        let device = devices.ensure(&key, "t");
        for now in ["1", "2"] {
            add_to(device, now).unwrap();
        }
        let ids: Vec<String> = device.tokens.iter().map(|t| t.id.clone()).collect();
        assert!(use_first(&mut devices, &key, &ids[0], "8").is_empty());
        let seen = &devices.devices[&key];
        assert_eq!(times(seen), [("1", Some("8")), ("2", None)]);
        assert_eq!(seen.own_token_since.as_deref(), Some("8"));
        assert_eq!(use_first(&mut devices, &key, &ids[1], "9"), ids[..1]);
        let seen = &devices.devices[&key];
        assert_eq!(times(seen), [("2", Some("9"))]);
        assert_eq!(seen.own_token_since.as_deref(), Some("8"));
        assert!(use_first(&mut devices, &key, &ids[0], "10").is_empty());
        assert_eq!(times(&devices.devices[&key]), [("2", Some("9"))]);
    }

    #[test]
    fn what_ends_a_token_is_on_the_disk_and_a_first_use_alone_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let key: DeviceKey = "k1".parse().unwrap();
        let by = Caller::Anonymous;
        let on_disk = || Registry::open(folder.path()).unwrap().devices.read();
        let (device, _) = register(&registry, &key, Change::default(), &by).unwrap();
        assert_eq!(*on_disk().devices[&key], device);
        first_used(&registry, &key, &device.tokens[0].id).unwrap();
        assert_eq!(*on_disk().devices[&key], device);
        let (device, _) = add(&registry, &key, &by).unwrap();
        first_used(&registry, &key, &device.tokens[1].id).unwrap();
        assert_eq!(on_disk().devices[&key].tokens.len(), 1);
        assert_eq!(on_disk().by_token(&device.tokens[0].id), None);
        assert_eq!(revoke(&registry, &key, &by).unwrap().len(), 1);
        assert!(on_disk().devices[&key].tokens.is_empty());
    }
}
