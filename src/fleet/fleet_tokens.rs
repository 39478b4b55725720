//! Fleet tokens: a board's first request registers it, up to a limit. Beyond it,
//! and for a board that has a token of its own or another model, only its dump is
//! stored.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::registration_limit::Allowance;
use super::unregistered::{fleet_key, pool_key, shared_key};
use crate::clock::{Moment, iso8601};
use crate::config::Fleet;
use crate::device::{DeviceKey, ModelCode};
use crate::journal::Event;
use crate::store::registry::{Credential, Device, Devices, Registry};

/// A fleet token, as the request of a board shows it.
#[derive(Clone, Copy, Debug)]
pub struct FleetToken<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub model: Option<&'a ModelCode>,
}

/// What a fleet token does for a board.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Admission {
    /// The board is registered and served.
    Registered,
    /// Only its dump is stored, under this key.
    DumpOnly { key: DeviceKey, why: String },
}

/// The fleet tokens, as far as they registered boards since the start.
#[derive(Debug, Default)]
pub struct FleetTokens {
    /// By the token's id. Held while a board is registered, so that two at once
    /// do not pass the limit; never while the disk is waited for.
    allowances: Mutex<HashMap<String, Allowance>>,
    registered: Notify,
}

impl FleetTokens {
    /// Lets a board in that shows `token`, and registers it if it is new. That
    /// is only noted: after a power cut the board is new once more. Blocks for
    /// what it tells the journal; see [`known`].
    pub fn admit(
        &self,
        registry: &Registry,
        key: &DeviceKey,
        token: FleetToken<'_>,
        limits: Fleet,
    ) -> Admission {
        let now = Instant::now();
        let mut allowances = self
            .allowances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let allowance = allowances
            .entry(token.id.to_owned())
            .or_insert_with(|| Allowance::full(limits, now));
        // not held while noting, which would have to copy the register then
        let devices = registry.devices.read();
        let decision = decide(&devices, key, token, (allowance, limits), now);
        drop(devices);
        let is_to_be_told = match decision {
            Decision::TooMany | Decision::TooFast => allowance.tell(now),
            _ => false,
        };
        if decision == Decision::Register {
            note(registry, key, token);
        }
        drop(allowances);
        match decision {
            Decision::Known(admission) => admission,
            Decision::Register => {
                self.registered.notify_one();
                say_registered(key, token);
                Admission::Registered
            }
            Decision::TooMany | Decision::TooFast => {
                if is_to_be_told {
                    say_limited(key, token, &decision, limits);
                }
                Admission::DumpOnly {
                    key: pool_key(&registry.devices.read(), key),
                    why: format!("Device {key} is not registered: fleet token limit reached"),
                }
            }
        }
    }

    /// Waits until a board was registered since the last wait.
    pub async fn registration(&self) {
        self.registered.notified().await;
    }
}

/// What `token` does for a board that is known. Does not block.
pub fn known(devices: &Devices, key: &DeviceKey, token: FleetToken<'_>) -> Option<Admission> {
    // its own dumps stay apart: somebody else may have the fleet's token
    let dump_only = |why| Admission::DumpOnly {
        key: fleet_key(devices, key),
        why,
    };
    if *key == shared_key() {
        let why = format!("Device key {key} stands for several boards on USB");
        return Some(dump_only(why));
    }
    let board = devices.devices.get(key)?;
    if has_own_token(board) {
        let why = format!("Device {key} has a token of its own");
        return Some(dump_only(why));
    }
    if board.model.is_some() && board.model.as_ref() != token.model {
        let why = format!("Device {key} has another model than this fleet token");
        return Some(dump_only(why));
    }
    board.registered.then_some(Admission::Registered)
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Decision {
    Known(Admission),
    Register,
    TooMany,
    TooFast,
}

fn decide(
    devices: &Devices,
    key: &DeviceKey,
    token: FleetToken<'_>,
    (allowance, limits): (&mut Allowance, Fleet),
    now: Instant,
) -> Decision {
    if let Some(known) = known(devices, key, token) {
        return Decision::Known(known);
    }
    let by_token = |device: &&Arc<Device>| device.fleet_token.as_deref() == Some(token.id);
    if devices.devices.values().filter(by_token).count() >= limits.max_devices {
        return Decision::TooMany;
    }
    match allowance.take(limits, now) {
        true => Decision::Register,
        false => Decision::TooFast,
    }
}

/// Whether the device ever used a token of its own, which, unlike the fleet token,
/// only the device has.
fn has_own_token(device: &Device) -> bool {
    let is_used = |token: &Credential| token.first_used_at.is_some();
    device.own_token_since.is_some() || device.tokens.iter().any(is_used)
}

fn note(registry: &Registry, key: &DeviceKey, token: FleetToken<'_>) {
    let now = iso8601(Moment::now().wall);
    let (key, id, model) = (key.clone(), token.id.to_owned(), token.model.cloned());
    registry.devices.note(move |devices| {
        let device = devices.ensure(&key, &now);
        device.registered = true;
        device.fleet_token = Some(id.clone());
        device.model.clone_from(&model);
    });
}

fn say_registered(key: &DeviceKey, token: FleetToken<'_>) {
    Event::DeviceFirstSeen
        .entry()
        .about(&token.id)
        .device(key)
        .maybe("MODEL_CODE", token.model)
        .at(log::Level::Info)
        .say(format_args!(
            "registered device {key} (fleet token {}); name it with `espgate devices set \
             {key} --name NAME`",
            token.name
        ));
}

fn say_limited(key: &DeviceKey, token: FleetToken<'_>, decision: &Decision, limits: Fleet) {
    let limit = match decision {
        Decision::TooMany => format!("{} boards registered", limits.max_devices),
        _ => format!(
            "{} boards registered in a short time, now {} an hour",
            limits.burst, limits.per_hour
        ),
    };
    Event::FleetTokenLimited
        .entry()
        .device(key)
        .maybe("MODEL_CODE", token.model)
        .say(format_args!(
            "fleet token {} ({}) limit reached: {limit}; for other new boards, such as \
             {key}, only dumps are kept; run `espgate devices add` for them or `espgate \
             tokens revoke {}`",
            token.name, token.id, token.name
        ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> DeviceKey {
        text.parse().unwrap()
    }

    fn lamp() -> ModelCode {
        "lamp".parse().unwrap()
    }

    fn fleet(model: &ModelCode) -> FleetToken<'_> {
        FleetToken {
            id: "id",
            name: "field",
            model: Some(model),
        }
    }

    #[test]
    fn what_a_fleet_token_does_for_a_board_depends_on_what_the_board_is() {
        let model = lamp();
        let now = Instant::now();
        let board = |change: fn(&mut Device)| {
            let mut devices = Devices::default();
            change(devices.ensure(&key("k1"), "t"));
            devices
        };
        let dump_only = |why: &str| Admission::DumpOnly {
            key: fleet_key(&Devices::default(), &key("k1")),
            why: String::from(why),
        };
        for (devices, expected) in [
            (Devices::default(), None),
            // only seen so far
            (board(|_| ()), None),
            (board(|d| d.registered = true), Some(Admission::Registered)),
            (
                board(|d| {
                    d.registered = true;
                    d.model = Some("lamp".parse().unwrap());
                }),
                Some(Admission::Registered),
            ),
            (
                board(|d| {
                    d.registered = true;
                    d.model = Some("pump".parse().unwrap());
                }),
                Some(dump_only(
                    "Device k1 has another model than this fleet token",
                )),
            ),
            // by its port's settings
            (
                board(|d| d.model = Some("pump".parse().unwrap())),
                Some(dump_only(
                    "Device k1 has another model than this fleet token",
                )),
            ),
            (board(|d| d.model = Some("lamp".parse().unwrap())), None),
            (
                board(|d| {
                    d.registered = true;
                    d.own_token_since = Some(String::from("t"));
                }),
                Some(dump_only("Device k1 has a token of its own")),
            ),
        ] {
            let limits = Fleet::default();
            let mut full = Allowance::full(limits, now);
            let decision = decide(
                &devices,
                &key("k1"),
                fleet(&model),
                (&mut full, limits),
                now,
            );
            let expected = expected.map_or(Decision::Register, Decision::Known);
            assert_eq!(decision, expected, "{devices:?}");
        }
    }

    #[test]
    fn what_is_known_on_usb_is_not_mixed_with_the_dumps_of_a_token_that_may_not_register_it() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        registry.devices.note(|devices| {
            devices.ensure(&key("84f703000001"), "t");
        });
        let tokens = FleetTokens::default();
        let model = lamp();
        let none = Fleet {
            max_devices: 0,
            ..Fleet::default()
        };
        for (name, is_kept) in [
            ("new", true),
            ("84f703000001", false),
            ("000000000000", false),
        ] {
            let admission = tokens.admit(&registry, &key(name), fleet(&model), none);
            let Admission::DumpOnly { key: kept, .. } = admission else {
                panic!("{name} is admitted");
            };
            assert_eq!(kept == key(name), is_kept, "{name}");
        }
        let any = Fleet::default();
        let shared = tokens.admit(&registry, &shared_key(), fleet(&model), any);
        assert!(matches!(shared, Admission::DumpOnly { .. }));
    }

    #[test]
    fn a_fleet_token_registers_so_many_boards_that_no_person_registered() {
        let model = lamp();
        let now = Instant::now();
        let mut devices = Devices::default();
        for n in 0..Fleet::default().max_devices {
            let device = devices.ensure(&key(&format!("b{n}")), "t");
            device.registered = true;
            device.fleet_token = Some(String::from("id"));
        }
        let new = |devices: &Devices| {
            let limits = Fleet::default();
            let mut full = Allowance::full(limits, now);
            decide(devices, &key("k1"), fleet(&model), (&mut full, limits), now)
        };
        assert_eq!(new(&devices), Decision::TooMany);
        devices.ensure(&key("b7"), "t").fleet_token = None;
        assert_eq!(new(&devices), Decision::Register);
        devices.ensure(&key("b7"), "t").fleet_token = Some(String::from("other"));
        assert_eq!(new(&devices), Decision::Register);
    }

    #[test]
    fn beyond_the_burst_boards_are_not_registered_and_one_write_has_all_that_are() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let tokens = FleetTokens::default();
        let model = lamp();
        let limits = Fleet::default();
        let admit = |n| tokens.admit(&registry, &key(&format!("b{n}")), fleet(&model), limits);
        for n in 0..limits.burst {
            assert_eq!(admit(n), Admission::Registered, "{n}");
        }
        assert!(
            matches!(admit(limits.burst), Admission::DumpOnly { key: k, .. } if k == key("b500")),
            "its dump is kept under its own key"
        );
        assert_eq!(admit(0), Admission::Registered);
        let registered = registry.devices.read();
        assert_eq!(registered.devices.len(), 500);
        assert_eq!(registered.devices[&key("b0")].model, Some(lamp()));
        assert!(!folder.path().join("devices.json").exists());
        registry.devices.flush().unwrap();
        let written = Registry::open(folder.path()).unwrap().devices.read();
        assert_eq!(written, registered);
    }

    #[test]
    fn the_dump_of_a_board_with_a_token_of_its_own_is_not_put_with_that_boards() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        registry.devices.note(|devices| {
            let device = devices.ensure(&key("k1"), "t");
            device.registered = true;
            device.own_token_since = Some(String::from("t"));
        });
        let model = lamp();
        let tokens = FleetTokens::default();
        let admission = tokens.admit(&registry, &key("k1"), fleet(&model), Fleet::default());
        assert!(matches!(admission, Admission::DumpOnly { key: k, .. } if k != key("k1")));
    }
}
