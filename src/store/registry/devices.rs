//! Devices: who they are, what they run, what opens the door for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::BuildRef;
use super::tokens::Credential;
use crate::build_id::BuildId;
use crate::device::{DeviceKey, ModelCode};

/// The build a device was last known to run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Running {
    /// The build itself, where that is known and not only what it says of itself.
    #[serde(default)]
    pub build_id: Option<BuildId>,
    pub version: Option<String>,
    pub app_elf_sha256: Option<String>,
    pub at: String,
    /// How it was known: `dump`, `banner` or `download`.
    pub from: String,
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
    /// At most two: the older one ends when the newer is first used.
    pub tokens: Vec<Credential>,
    pub created_at: String,
    pub last_seen: Option<String>,
    pub running: Option<Running>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `devices.json`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Devices {
    pub schema: u32,
    pub devices: BTreeMap<DeviceKey, Device>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Devices {
    /// The device with this key, made (unregistered) if it is new.
    pub fn ensure(&mut self, key: &DeviceKey, now: &str) -> &mut Device {
        self.schema = 1;
        self.devices.entry(key.clone()).or_insert_with(|| Device {
            created_at: now.to_owned(),
            ..Device::default()
        })
    }

    /// The devices of a model.
    pub fn of_model(&self, model: &ModelCode) -> impl Iterator<Item = (&DeviceKey, &Device)> {
        let of_model =
            move |(_, device): &(&DeviceKey, &Device)| device.model.as_ref() == Some(model);
        self.devices.iter().filter(of_model)
    }

    /// The device whose token has this id.
    pub fn by_token(&self, id: &str) -> Option<(&DeviceKey, &Device, &Credential)> {
        self.devices.iter().find_map(|(key, device)| {
            let credential = device.tokens.iter().find(|token| token.id == id)?;
            Some((key, device, credential))
        })
    }
}
