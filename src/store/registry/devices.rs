//! Devices: who they are, what they run, what opens the door for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::BuildRef;
use super::activity::{BuildSeen, Certainty, Contacts};
use super::tokens::Credential;
use crate::build_id::BuildId;
use crate::device::{DeviceKey, ModelCode};
use crate::store::open_enum::OpenEnum;

/// The build a device was last known to run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Running {
    /// The build itself, where that is known and not only what it says of itself.
    #[serde(default)]
    pub build_id: Option<BuildId>,
    pub version: Option<String>,
    pub app_elf_sha256: Option<String>,
    pub at: String,
    /// The evidence. Releases without a certainty wrote `dump`, `banner` or `download`.
    pub from: String,
    #[serde(default)]
    pub certainty: Option<OpenEnum<Certainty>>,
}

/// One board.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Device {
    pub model: Option<ModelCode>,
    pub name: Option<String>,
    /// Twelve hex digits.
    pub mac: Option<String>,
    pub usb_serial: Option<String>,
    /// A build that this device gets whatever its model's active one is.
    pub pin: Option<BuildRef>,
    /// Whether a person or a token registered it; others were only seen.
    pub registered: bool,
    /// The id of the fleet token that it is known by alone; `None` once a
    /// person registered or changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet_token: Option<String>,
    /// Since when it uses tokens of its own; no fleet token speaks for it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_token_since: Option<String>,
    /// At most two: the older one ends when the newer is first used.
    pub tokens: Vec<Credential>,
    pub created_at: String,
    pub last_seen: Option<String>,
    pub running: Option<Running>,
    /// The last builds that it ran, has or crashed with, in no order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<BuildSeen>,
    #[serde(skip_serializing_if = "Contacts::is_empty")]
    pub contacts: Contacts,
    /// What the device says of its hardware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hw: Option<String>,
    /// A person took it out of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired: Option<Retired>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Of a device that is out of service.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Retired {
    /// Since when.
    pub at: String,
    /// When it was first heard all the same.
    #[serde(default)]
    pub heard_at: Option<String>,
}

/// `devices.json`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Devices {
    pub schema: u32,
    /// Each is shared by the states of the register that it is the same in: a change
    /// copies the one that it is about.
    pub devices: BTreeMap<DeviceKey, Arc<Device>>,
    #[serde(skip)]
    by_token: TokenIndex,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Whose token an id is. Made at the first look-up and not kept up to date:
/// a clone begins without, and whoever changes tokens changes a clone
/// ([`super::StateFile::change`]).
#[derive(Debug, Default)]
struct TokenIndex(OnceLock<HashMap<String, DeviceKey>>);

impl Clone for TokenIndex {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for TokenIndex {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Device {
    /// Whether it is out of use.
    pub fn is_retired(&self) -> bool {
        self.retired.is_some()
    }
}

impl Devices {
    /// The device with this key, made (unregistered) if it is new.
    pub fn ensure(&mut self, key: &DeviceKey, now: &str) -> &mut Device {
        self.schema = 1;
        let new = || {
            Arc::new(Device {
                created_at: now.to_owned(),
                ..Device::default()
            })
        };
        Arc::make_mut(self.devices.entry(key.clone()).or_insert_with(new))
    }

    /// The device with this key.
    pub fn get(&self, key: &DeviceKey) -> Option<&Device> {
        self.devices.get(key).map(|device| &**device)
    }

    /// The device with this key, for changing it.
    pub fn get_mut(&mut self, key: &DeviceKey) -> Option<&mut Device> {
        self.devices.get_mut(key).map(Arc::make_mut)
    }

    /// The devices of a model.
    pub fn of_model(&self, model: &ModelCode) -> impl Iterator<Item = (&DeviceKey, &Device)> {
        let devices = self.devices.iter().map(|(key, device)| (key, &**device));
        devices.filter(move |(_, device)| device.model.as_ref() == Some(model))
    }

    /// The device whose token has this id. Tokens must not be changed after
    /// this, but in a clone.
    pub fn by_token(&self, id: &str) -> Option<(&DeviceKey, &Device, &Credential)> {
        let index = self.by_token.0.get_or_init(|| {
            let ids = self.devices.iter().flat_map(|(key, device)| {
                let ids = device.tokens.iter().map(|token| token.id.clone());
                ids.map(|id| (id, key.clone()))
            });
            ids.collect()
        });
        let (key, device) = self.devices.get_key_value(index.get(id)?)?;
        let credential = device.tokens.iter().find(|token| token.id == id)?;
        Some((key, device, credential))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_by_their_ids_also_after_a_change() {
        let token = |id: &str| Credential {
            id: id.to_owned(),
            sha256: String::new(),
            created_at: String::new(),
            first_used_at: None,
        };
        let mut devices = Devices::default();
        for key in ["a", "b"] {
            let device = devices.ensure(&key.parse().unwrap(), "t");
            device.tokens = vec![token(&format!("{key}1")), token(&format!("{key}2"))];
        }
        let found = |devices: &Devices, id: &str| {
            let (key, _, token) = devices.by_token(id)?;
            assert_eq!(token.id, id);
            Some(key.to_string())
        };
        assert_eq!(found(&devices, "b2").as_deref(), Some("b"));
        assert_eq!(found(&devices, "c1"), None);
        let mut changed = devices.clone();
        changed.ensure(&"a".parse().unwrap(), "t").tokens = vec![token("c1")];
        assert_eq!(found(&changed, "c1").as_deref(), Some("a"));
        assert_eq!(found(&changed, "a1"), None);
    }
}
