//! Who runs a build and for how long, and the share of them that it did not crash on.

use std::collections::BTreeSet;

use crate::build_id::BuildId;
use crate::device::DeviceKey;
use crate::store::registry::Device;
use crate::store::registry::activity::Certainty;

/// The use of one build.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BuildUse {
    /// Devices that run it now.
    pub exact: u64,
    pub likely: u64,
    /// Seconds that devices ran it.
    pub seconds: u64,
    /// Devices that run it or ran it.
    pub ran: BTreeSet<String>,
}

/// The use of a build by devices.
pub fn of<'a>(
    devices: impl Iterator<Item = (&'a DeviceKey, &'a Device)>,
    build: BuildId,
) -> BuildUse {
    let mut found = BuildUse::default();
    for (key, device) in devices {
        let running = device.running.as_ref();
        // what it ran counts still
        let running = running.filter(|_| device.retired.is_none());
        if let Some(running) = running.filter(|running| running.build_id == Some(build)) {
            match running.certainty.as_ref() {
                Some(certainty) if *certainty == Certainty::Exact => found.exact += 1,
                // a download, as release 0.1 noted it, was no evidence
                None => continue,
                Some(_) => found.likely += 1,
            }
        }
        let mut builds = device.builds.iter();
        if let Some(seen) = builds.find(|seen| seen.build_id == Some(build)) {
            found.seconds += seen.seconds;
            if seen.certainty.is_some() {
                found.ran.insert(key.to_string());
            }
        }
    }
    found
}

/// A share of devices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    pub share: f64,
    /// The devices behind it.
    pub devices: u32,
}

/// Of the devices that ran a build, or crashed with it, those without a crash. `None` if
/// there are none.
pub fn crash_free(ran: &BTreeSet<String>, crashed: &BTreeSet<String>) -> Option<Share> {
    let devices = u32::try_from(ran.union(crashed).count()).unwrap_or(u32::MAX);
    let crashed = u32::try_from(crashed.len()).unwrap_or(u32::MAX);
    let free = devices.saturating_sub(crashed);
    (devices > 0).then(|| Share {
        share: f64::from(free) / f64::from(devices),
        devices,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use crate::store::registry::activity::BuildSeen;
    use crate::store::registry::devices::Running;

    fn build(number: u8) -> BuildId {
        Sha256::of(&[number]).into()
    }

    /// A device that runs `running` with a certainty, and ran `before`.
    fn device(running: u8, certainty: Option<Certainty>, before: u8) -> Device {
        let seen = |number, certainty: Option<Certainty>| BuildSeen {
            build_id: Some(build(number)),
            certainty: certainty.map(Into::into),
            seconds: 100,
            ..BuildSeen::default()
        };
        Device {
            running: Some(Running {
                build_id: Some(build(running)),
                version: None,
                app_elf_sha256: None,
                at: String::new(),
                from: String::new(),
                certainty: certainty.map(Into::into),
            }),
            builds: vec![
                seen(running, certainty),
                seen(before, Some(Certainty::Likely)),
                // only delivered
                seen(9, None),
            ],
            ..Device::default()
        }
    }

    #[test]
    fn who_runs_a_build_and_who_ran_it_are_two_numbers() {
        let devices: Vec<(DeviceKey, Device)> = [
            ("k1", device(2, Some(Certainty::Exact), 1)),
            ("k2", device(2, Some(Certainty::Likely), 1)),
            ("k3", device(1, Some(Certainty::Exact), 3)),
            ("k4", device(2, None, 3)),
        ]
        .into_iter()
        .map(|(key, device)| (key.parse().unwrap(), device))
        .collect();
        let devices = || devices.iter().map(|(key, device)| (key, device));
        let found = of(devices(), build(2));
        assert_eq!((found.exact, found.likely, found.seconds), (1, 1, 200));
        assert_eq!(found.ran.len(), 2);
        let found = of(devices(), build(1));
        assert_eq!((found.exact, found.likely, found.seconds), (1, 0, 300));
        assert_eq!(found.ran.len(), 3);
        assert!(of(devices(), build(9)).ran.is_empty());
    }

    #[test]
    fn the_share_is_of_all_that_ran_it_or_crashed_with_it() {
        let set = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
        for (ran, crashed, expected) in [
            (set(&["a", "b", "c", "d"]), set(&[]), Some((1.0, 4))),
            (set(&["a", "b", "c", "d"]), set(&["a"]), Some((0.75, 4))),
            (set(&["a"]), set(&["b"]), Some((0.5, 2))),
            (set(&[]), set(&["b"]), Some((0.0, 1))),
            (set(&[]), set(&[]), None),
        ] {
            let found = crash_free(&ran, &crashed);
            let found = found.map(|found| (found.share, found.devices));
            assert_eq!(found, expected, "{ran:?} {crashed:?}");
        }
    }
}
