//! Devices: boards, their tokens and pins.

use serde::{Deserialize, Deserializer, Serialize};

use super::OpenEnum;
use crate::device::{DeviceKey, ModelCode};
use crate::store::registry::activity::Certainty;
use crate::store::registry::{BuildRef, devices};

/// All devices, including those only seen on USB.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    pub devices: Vec<Device>,
    /// Always `null`: the list is complete.
    pub next_cursor: Option<String>,
}

/// A board.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Device {
    pub device_key: String,
    pub model: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// Twelve hex digits.
    pub mac: Option<String>,
    /// Serial number of its USB adapter.
    pub usb_serial: Option<String>,
    /// Name of the build that it is pinned to.
    pub pin: Option<String>,
    /// Id of that build; `null` if it is not stored.
    pub pin_build_id: Option<String>,
    /// `false`: only seen, not registered by a person.
    pub registered: bool,
    /// Id of the fleet token, if the device is known only by it.
    pub fleet_token: Option<String>,
    pub tokens: Vec<Token>,
    pub created_at: String,
    /// The last request, or byte on its console.
    pub last_seen: Option<String>,
    /// The last known running build.
    pub running: Option<Running>,
    /// The last builds that it ran, has or crashed with, the newest evidence first; at
    /// most 10.
    pub builds: Vec<BuildSeen>,
    /// Boots today (UTC), as far as the device tells.
    pub boots_today: u32,
    /// As the device reported it last.
    pub boot_count: Option<u64>,
    /// Seconds between its contacts; known after five contacts on three days.
    pub usual_interval_s: Option<u64>,
    /// `looping`: it boots again and again; `silent`: not heard for three usual
    /// intervals, and a day at least; `quiet`: its usual interval is not known;
    /// `retired`: a person took it out of service; else `null`.
    pub state: Option<String>,
    pub last_crash: Option<LastCrash>,
    /// A word for its hardware, as the device says or a person wrote.
    pub hw: Option<String>,
    /// Since when it is out of service; `null`: it is not.
    pub retired_at: Option<String>,
    /// When it was first heard after that.
    pub retired_heard_at: Option<String>,
    /// What it gets if it asks for firmware now; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gets: Option<Gets>,
}

/// What a device gets if it asks for firmware now.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Gets {
    /// `null`: nothing.
    pub build_id: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// The reasons; the one that decides comes first.
    pub why: Vec<String>,
}

/// A build that a device ran, has or crashed with.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct BuildSeen {
    /// `null`: no stored build fits, or more than one.
    pub build_id: Option<String>,
    pub version: Option<String>,
    pub app_elf_sha256: Option<String>,
    /// First and last evidence that it ran; of one that did not, that it is there.
    pub first: String,
    pub last: String,
    /// `exact` or `likely`; `null`: it is not known to have run.
    pub certainty: Option<OpenEnum<Certainty>>,
    /// As `from` of `running`; or `etag`, `delivery` or `dump`.
    pub evidence: String,
    /// Seconds that it ran, as far as contacts show.
    pub seconds: u64,
    /// Since when the device has the image.
    pub has_since: Option<String>,
    /// When the image was last delivered whole.
    pub delivered_at: Option<String>,
    pub crashed_at: Option<String>,
}

/// The last crash of a device.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LastCrash {
    pub at: String,
    /// Id of its crash group.
    pub crash: String,
}

/// A device's token, without its secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Token {
    /// Eight characters, used in the journal.
    pub id: String,
    pub created_at: String,
    pub first_used_at: Option<String>,
}

/// The build that a device runs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Running {
    /// The exact build, if known; otherwise only its version is known.
    pub build_id: Option<String>,
    pub version: Option<String>,
    pub app_elf_sha256: Option<String>,
    pub at: String,
    /// The evidence: `banner`, `running`, `update-client`, `upload` or `hang-up`. Up to release
    /// 0.1 `dump`, `banner` or `download`.
    pub from: String,
    /// `exact` or `likely`; `null` for what release 0.1 wrote.
    pub certainty: Option<OpenEnum<Certainty>>,
}

impl Device {
    /// A device of the register as answers show it: of its tokens the ids alone.
    /// `pin` is the name of the build that it is pinned to. What depends on the time and
    /// on its crashes is not there yet.
    pub fn of(key: &DeviceKey, device: &devices::Device, pin: Option<String>) -> Self {
        let pin_build_id = device.pin.as_ref().and_then(BuildRef::id);
        let tokens = device.tokens.iter().map(|token| Token {
            id: token.id.clone(),
            created_at: token.created_at.clone(),
            first_used_at: token.first_used_at.clone(),
        });
        Self {
            device_key: key.to_string(),
            model: device.model.as_ref().map(ToString::to_string),
            name: device.name.clone(),
            mac: device.mac.clone(),
            usb_serial: device.usb_serial.clone(),
            pin,
            pin_build_id: pin_build_id.map(|id| id.to_string()),
            registered: device.registered,
            fleet_token: device.fleet_token.clone(),
            tokens: tokens.collect(),
            created_at: device.created_at.clone(),
            last_seen: device.last_seen.clone(),
            running: device.running.as_ref().map(|running| Running {
                build_id: running.build_id.map(|id| id.to_string()),
                version: running.version.clone(),
                app_elf_sha256: running.app_elf_sha256.clone(),
                at: running.at.clone(),
                from: running.from.clone(),
                certainty: running.certainty.clone(),
            }),
            builds: builds(device),
            boot_count: device.contacts.boot_count,
            hw: device.hw.clone(),
            retired_at: device.retired.as_ref().map(|retired| retired.at.clone()),
            retired_heard_at: device.retired.as_ref().and_then(|r| r.heard_at.clone()),
            ..Self::default()
        }
    }
}

fn builds(device: &devices::Device) -> Vec<BuildSeen> {
    let builds = device.builds.iter().map(|seen| BuildSeen {
        build_id: seen.build_id.map(|id| id.to_string()),
        version: seen.version.clone(),
        app_elf_sha256: seen.app_elf_sha256.clone(),
        first: seen.first.clone(),
        last: seen.last.clone(),
        certainty: seen.certainty.clone(),
        evidence: seen.evidence.clone(),
        seconds: seen.seconds,
        has_since: seen.has_since.clone(),
        delivered_at: seen.delivered_at.clone(),
        crashed_at: seen.crashed_at.clone(),
    });
    let mut builds: Vec<_> = builds.collect();
    builds.sort_by(|a, b| b.last.cmp(&a.last));
    builds
}

/// Changes to a device: an absent field is left unchanged, `null` removes the
/// value.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub model: Option<Option<ModelCode>>,
    /// 1 to 128 characters.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<Option<String>>,
    /// Twelve hex digits, with or without `:` or `-`.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub mac: Option<Option<String>>,
    /// 1 to 128 characters.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub usb_serial: Option<Option<String>>,
    /// A word for its hardware, 1 to 128 characters. What the device reports replaces it.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub hw: Option<Option<String>>,
    /// `true`: out of service, from now on. Its tokens stay valid and its dumps are stored,
    /// but it is neither listed nor counted until it is heard again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired: Option<bool>,
}

/// A field of a change: absent leaves the value unchanged, `null` removes it.
fn given<'de, D, T>(from: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(from).map(Some)
}

/// A device to register, with the fields of a [`Change`].
#[derive(Clone, Debug, Serialize)]
pub struct NewDevice {
    /// 1 to 64 letters and digits.
    pub device_key: String,
    #[serde(flatten)]
    pub about: Change,
}

/// Devices to register or change, all of them or none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Import {
    /// A table with a heading of `key` and any of `model`, `name`, `mac`, `usb_serial`,
    /// `hw`; at most 10000 devices. An empty cell leaves the value as it is.
    pub csv: String,
    /// Tokens made by the caller, one for each device that is new; without any, new devices
    /// have none. Only root may give tokens.
    pub tokens: Vec<ImportedToken>,
    /// Only says what would be done.
    pub dry_run: bool,
}

/// A token `eg1_<id>_<secret>` as it is kept.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImportedToken {
    pub device_key: String,
    /// Eight letters and digits.
    pub id: String,
    /// Of its secret, 32 letters and digits.
    pub sha256: String,
}

/// What an import did, or would do.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Imported {
    /// Keys of the devices that are new.
    pub added: Vec<String>,
    /// Keys of those that are not as before.
    pub changed: Vec<String>,
    /// Number of the others.
    pub unchanged: u64,
    pub dry_run: bool,
}

/// The build to pin a device to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// As for `PUT /api/models/{code}/active`.
    pub version: String,
}

/// A device's new token.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Minted {
    pub device_key: String,
    pub model: Option<String>,
    /// Only shown here.
    pub token: String,
}

/// Revoked tokens of a device.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Revoked {
    pub device_key: String,
    /// Their ids.
    pub revoked: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::registry::tokens::generate;

    #[test]
    fn what_is_shown_of_a_token_opens_nothing() {
        let (text, credential) = generate("t").unwrap();
        let device = devices::Device {
            tokens: vec![credential.clone()],
            ..devices::Device::default()
        };
        let shown = Device::of(&"k1".parse().unwrap(), &device, None);
        let shown = serde_json::to_string(&shown).unwrap();
        assert!(shown.contains(&credential.id));
        assert!(!shown.contains(&credential.sha256));
        assert!(!shown.contains(text.rsplit('_').next().unwrap()));
    }
}
