//! What a device gets if it asks now, and why, for people.

use super::offer::{FromRollout, Withheld, offer};
use crate::build_id::BuildId;
use crate::device::ModelCode;
use crate::rollouts::serve::{Gets, Served};
use crate::store::registry::{Device, Model};
use crate::store::rollouts::Rollout;

/// What a device gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explained {
    pub build: Option<BuildId>,
    /// The reasons, one each; the one that decides comes first.
    pub why: Vec<String>,
}

/// Explains what a device of `model` gets. `name` tells what people call a build.
pub fn explain(
    code: &ModelCode,
    model: &Model,
    device: &Device,
    rollout: Option<(&Rollout, &Served)>,
    name: impl Fn(BuildId) -> String,
) -> Explained {
    let from_rollout = rollout.map(|(rollout, served)| FromRollout {
        gets: served.gets,
        target: rollout.target.build_id,
    });
    let offered = offer(model, Some(device), None, from_rollout);
    let mut why = Vec::new();
    match offered {
        Err(Withheld::Blocked) => {
            let meant = device.pin.as_ref().or(model.active.as_ref());
            let meant = meant.and_then(|meant| meant.id());
            let reason = meant.and_then(|meant| model.block_of(meant)?.why.clone());
            let name = meant.map(&name).unwrap_or_default();
            why.push(match reason {
                Some(reason) => format!("{name} is blocked: {reason}"),
                None => format!("{name} is blocked"),
            });
        }
        Err(Withheld::Held) => why.push(format!("model {code} is held")),
        Err(Withheld::NothingActive) => why.push(format!("no firmware of {code} is active")),
        Err(Withheld::Rollout) | Ok(_) => {}
    }
    if device.pin.is_some() {
        why.push(String::from("pinned"));
    } else if let Some((rollout, served)) = rollout {
        let gets = match served.gets {
            Gets::Target => "the target",
            Gets::Base => "the base",
            Gets::Nothing => "nothing",
        };
        why.push(format!(
            "rollout {} of {} gives it {gets}: {}",
            rollout.id, rollout.target.name, served.why
        ));
    } else if offered.is_ok() {
        why.push(format!("active for {code}"));
    }
    Explained {
        build: offered.ok(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    fn build(number: u8) -> BuildId {
        Sha256::of(&[number]).into()
    }

    #[test]
    fn what_decides_comes_first() {
        let code: ModelCode = "lamp".parse().unwrap();
        let active = Model {
            active: Some(build(1).into()),
            ..Model::default()
        };
        let held = Model {
            held: true,
            ..active.clone()
        };
        let mut blocked = active.clone();
        blocked.set_blocked(build(1), "1.0", true);
        blocked.explain_block(build(1), "x", "t", Some("boot loop"));
        let pinned = Device {
            pin: Some(build(2).into()),
            ..Device::default()
        };
        let plain = Device::default();
        for (model, device, expected, why) in [
            (&active, &plain, Some(build(1)), "active for lamp"),
            (&active, &pinned, Some(build(2)), "pinned"),
            (&held, &plain, None, "model lamp is held"),
            (&held, &pinned, Some(build(2)), "pinned"),
            (&blocked, &plain, None, "1.0 is blocked: boot loop"),
            (
                &Model::default(),
                &plain,
                None,
                "no firmware of lamp is active",
            ),
        ] {
            let found = explain(&code, model, device, None, |_| String::from("1.0"));
            assert_eq!(found.build, expected, "{why}");
            assert_eq!(found.why.first().map(String::as_str), Some(why));
        }
    }
}
