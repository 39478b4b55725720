//! Registers and changes many devices at once, or none: a list that may be given again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::device_csv::{Column, Faults, Row};
use super::devices::{by_a_person, set};
use super::{Error, Result};
use crate::api::devices::{Imported, ImportedToken};
use crate::clock::{Moment, iso8601};
use crate::device::DeviceKey;
use crate::identity::Caller;
use crate::journal::Event;
use crate::store::registry::{Credential, Device, Devices, Models, Registry};

/// Keys that a journal entry names.
const MAX_NAMED: usize = 20;

/// Imports a list with its faults so far. `tokens` are for devices that it registers, each of them one; without
/// any, they get none. With `dry_run` nothing is changed.
///
/// # Errors
/// [`Error::Invalid`] with a line for each fault, [`Error::Conflict`] if the tokens are not
/// those of the new devices, [`Error::Store`]. Nothing is changed then.
pub fn import(
    registry: &Registry,
    (rows, faults): (&[Row], Faults),
    tokens: &[ImportedToken],
    dry_run: bool,
    actor: &Caller,
) -> Result<Imported> {
    let now = iso8601(Moment::now().wall);
    let models = registry.models.read();
    let refused = |faults: Faults| Error::Invalid(faults.to_string());
    if dry_run {
        let mut devices = Devices::clone(&registry.devices.read());
        let mut done = apply(rows, faults, &mut devices, &models, &now).map_err(refused)?;
        done.dry_run = true;
        return Ok(done);
    }
    let done = registry.devices.change(|devices| {
        let done = apply(rows, faults, devices, &models, &now).map_err(refused)?;
        give_tokens(&done.added, tokens, devices, &now)?;
        Ok::<_, Error>(done)
    })??;
    if !done.added.is_empty() || !done.changed.is_empty() {
        say(&done, tokens.len(), actor);
    }
    Ok(done)
}

/// Applies a list to the register: what it adds and changes.
fn apply(
    rows: &[Row],
    mut faults: Faults,
    devices: &mut Devices,
    models: &Models,
    now: &str,
) -> std::result::Result<Imported, Faults> {
    let mut done = Imported::default();
    let mut lines: BTreeMap<&DeviceKey, u64> = BTreeMap::new();
    for row in rows {
        let Row {
            line, key, change, ..
        } = row;
        if let Some(first) = lines.insert(key, *line) {
            let what = format!("device {key} is in line {first}, too");
            faults.add(*line, Some(Column::Key), what);
        }
        if row.is_faulty {
            continue;
        }
        let before = devices.devices.get(key).cloned();
        let is_new = before.as_ref().is_none_or(|device| !device.registered);
        let model = change.model.clone().flatten();
        match &model {
            Some(model) if !models.models.contains_key(model) => {
                let what = format!("model {model} is not registered");
                faults.add(*line, Some(Column::Model), what);
            }
            None if before.as_ref().is_none_or(|device| device.model.is_none()) => {
                faults.add(
                    *line,
                    Some(Column::Model),
                    "missing: the device has none yet",
                );
            }
            _ => {}
        }
        let device = devices.ensure(key, now);
        by_a_person(device);
        set(change, device, now);
        let is_same = before.is_some_and(|before| *before == *device);
        match (is_new, is_same) {
            (true, _) => done.added.push(key.to_string()),
            (false, false) => done.changed.push(key.to_string()),
            (false, true) => done.unchanged += 1,
        }
    }
    check_shared(rows, devices, &mut faults);
    faults.none_or().map(|()| done)
}

/// No two devices have a MAC address or a USB serial number in common.
fn check_shared(rows: &[Row], devices: &Devices, faults: &mut Faults) {
    type Value = fn(&Device) -> Option<&str>;
    let mac: Value = |device| device.mac.as_deref();
    let serial: Value = |device| device.usb_serial.as_deref();
    for (column, value) in [(Column::Mac, mac), (Column::UsbSerial, serial)] {
        let mut holders: HashMap<&str, Vec<&DeviceKey>> = HashMap::new();
        for (key, device) in &devices.devices {
            if let Some(value) = value(device) {
                holders.entry(value).or_default().push(key);
            }
        }
        for row in rows {
            let device = devices.devices.get(&row.key).map(Arc::as_ref);
            let value = device.and_then(value).unwrap_or_default();
            let holders = holders.get(value).into_iter().flatten();
            if let Some(other) = holders.copied().find(|other| **other != row.key) {
                let what = format!("{value} is already used by device {other}");
                faults.add(row.line, Some(column), what);
            }
        }
    }
}

/// Gives each new device its token.
fn give_tokens(
    added: &[String],
    tokens: &[ImportedToken],
    devices: &mut Devices,
    now: &str,
) -> Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    let given: BTreeSet<&str> = tokens
        .iter()
        .map(|token| token.device_key.as_str())
        .collect();
    let added: BTreeSet<&str> = added.iter().map(String::as_str).collect();
    if given != added || given.len() != tokens.len() {
        return Err(Error::Conflict(String::from(
            "The tokens are not those of the new devices: devices were registered meanwhile",
        )));
    }
    for token in tokens {
        let credential = Credential::of_parts(&token.id, &token.sha256, now)
            .ok_or_else(|| Error::Invalid(format!("Invalid token of {}", token.device_key)))?;
        let key: Option<DeviceKey> = token.device_key.parse().ok();
        if let Some(device) = key.and_then(|key| devices.get_mut(&key)) {
            device.tokens = vec![credential];
        }
    }
    Ok(())
}

fn say(done: &Imported, tokens: usize, actor: &Caller) {
    let (added, changed) = (named(&done.added), named(&done.changed));
    Event::DevicesImported.entry().actor(actor).say(format_args!(
        "{actor} imported devices: {} added{added}, {} changed{changed}, {} unchanged, {tokens} \
         tokens",
        done.added.len(),
        done.changed.len(),
        done.unchanged
    ));
}

fn named(keys: &[String]) -> String {
    let named: Vec<&str> = keys.iter().take(MAX_NAMED).map(String::as_str).collect();
    match keys.len().saturating_sub(named.len()) {
        0 if keys.is_empty() => String::new(),
        0 => format!(" ({})", named.join(", ")),
        more => format!(" ({} and {more} more)", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::device_csv::parse;
    use crate::store::registry::tokens::generate;

    fn registry(folder: &tempfile::TempDir) -> Registry {
        let registry = Registry::open(folder.path()).unwrap();
        let add = |models: &mut Models| {
            models.models.entry("lamp".parse().unwrap()).or_default();
            Ok::<_, Error>(())
        };
        registry.models.change(add).unwrap().unwrap();
        registry
    }

    fn list(registry: &Registry, text: &str) -> Result<Imported> {
        let (rows, faults) = parse(text);
        import(registry, (&rows, faults), &[], false, &Caller::Anonymous)
    }

    fn counts(done: &Imported) -> (usize, usize, u64) {
        (done.added.len(), done.changed.len(), done.unchanged)
    }

    #[test]
    fn a_list_that_is_given_again_changes_nothing_but_what_is_new_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(&folder);
        let text = "key,model,name\nk1,lamp,Hall\nk2,lamp,\n";
        assert_eq!(counts(&list(&registry, text).unwrap()), (2, 0, 0));
        let before = registry.devices.read();
        assert_eq!(counts(&list(&registry, text).unwrap()), (0, 0, 2));
        assert_eq!(*registry.devices.read(), *before);
        let text = "key,model,name\nk1,,Hall 2\nk2,lamp,\nk3,lamp,\n";
        assert_eq!(counts(&list(&registry, text).unwrap()), (1, 1, 1));
        let devices = Registry::open(folder.path()).unwrap().devices.read();
        let k1 = &devices.devices[&"k1".parse().unwrap()];
        assert_eq!(k1.name.as_deref(), Some("Hall 2"));
    }

    #[test]
    fn with_one_fault_nothing_is_imported_and_all_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(&folder);
        list(&registry, "key,model,mac\nold,lamp,AABBCC000001\n").unwrap();
        let text = "key,model,mac,usb_serial\nk1,lamp,AABBCC000001,\nk2,pump,,\nk3,,,\n\
                    k4,lamp,,S\nk5,lamp,,S\nk4,lamp,,\nk6,,1,\n";
        let error = list(&registry, text).unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(
            lines,
            [
                "line 2, mac: aabbcc000001 is already used by device old",
                "line 3, model: model pump is not registered",
                "line 4, model: missing: the device has none yet",
                "line 5, usb_serial: S is already used by device k5",
                "line 6, usb_serial: S is already used by device k4",
                "line 7, key: device k4 is in line 5, too",
                "line 7, usb_serial: S is already used by device k5",
                "line 8, mac: a MAC address is twelve hex digits, with or without colons",
            ]
        );
        assert_eq!(registry.devices.read().devices.len(), 1);
    }

    #[test]
    fn two_devices_may_change_their_addresses_with_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(&folder);
        let text = "key,model,mac\nk1,lamp,AABBCC000001\nk2,lamp,AABBCC000002\n";
        list(&registry, text).unwrap();
        let text = "key,mac\nk1,AABBCC000002\nk2,AABBCC000001\n";
        assert_eq!(counts(&list(&registry, text).unwrap()), (0, 2, 0));
    }

    #[test]
    fn tokens_are_for_all_new_devices_or_nothing_is_imported() {
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(&folder);
        let (rows, none) = parse("key,model\nk1,lamp\nk2,lamp\n");
        let rows = (rows.as_slice(), none);
        let token = |key: &str| {
            let (_, credential) = generate("t").unwrap();
            ImportedToken {
                device_key: key.to_owned(),
                id: credential.id,
                sha256: credential.sha256,
            }
        };
        let by = Caller::Anonymous;
        let broken = ImportedToken {
            sha256: String::from("x"),
            ..token("k2")
        };
        for tokens in [
            vec![token("k1")],
            vec![token("k1"), token("k3")],
            vec![token("k1"), token("k2"), token("k2")],
            vec![token("k1"), broken],
        ] {
            assert!(import(&registry, rows.clone(), &tokens, false, &by).is_err());
            assert!(registry.devices.read().devices.is_empty());
        }
        let tokens = [token("k1"), token("k2")];
        let planned = import(&registry, rows.clone(), &[], true, &by).unwrap();
        assert_eq!((planned.added.len(), planned.dry_run), (2, true));
        assert!(registry.devices.read().devices.is_empty());
        import(&registry, rows, &tokens, false, &by).unwrap();
        let devices = registry.devices.read();
        for token in &tokens {
            let (key, ..) = devices.by_token(&token.id).unwrap();
            assert_eq!(key.as_str(), token.device_key);
        }
    }

    #[test]
    fn a_board_that_was_only_seen_is_registered() {
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(&folder);
        registry.devices.note(|devices| {
            devices.ensure(&"k1".parse().unwrap(), "t");
        });
        let done = list(&registry, "key,model\nk1,lamp\n").unwrap();
        assert_eq!(done.added, ["k1"]);
        assert!(registry.devices.read().devices[&"k1".parse().unwrap()].registered);
    }
}
