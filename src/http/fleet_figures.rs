//! What the metrics tell of models, builds and devices: the numbers of `builds list`,
//! `crashes list` and `devices list`, counted in one pass.

use std::collections::{HashMap, HashSet};

use time::Duration;

use super::app_state::AppState;
use super::registry::Hearing;
use crate::build_id::BuildId;
use crate::crashes::{BuildCrashes, state_of};
use crate::device::{DeviceKey, ModelCode};
use crate::fleet::build_use;
use crate::fleet::contacts::State;
use crate::metrics::fleet::{BuildFigures, ModelFigures, OTHER, UNKNOWN};
use crate::store;
use crate::store::crashes::{At, Group, State as GroupState};
use crate::store::registry::Device;

/// Builds of a model that are named one by one: the newest, and the active one.
const NAMED: usize = 5;
/// A group is new for this time.
const NEW: Duration = Duration::DAY;

/// Counts again, and shows that. Blocks.
///
/// # Errors
/// What reading a model's folder says; then what was counted before stays.
pub fn update(app: &AppState) -> store::Result<()> {
    let registered = app.store.registry.models.read();
    let mut models = Vec::new();
    for (code, model) in &registered.models {
        let stored = app.store.firmware.builds(code)?.into_iter();
        let stored = stored.map(|build| (build.id(), build.version.to_string()));
        models.push((code, named(stored, model.active_id())));
    }
    let ids = models.iter().flat_map(|(_, builds)| builds);
    let ids: HashSet<String> = ids.map(|build| build.id.to_string()).collect();
    let crashes = app.ingest.crashes();
    let mut groups = crashes.with(|register| {
        let is_registered = |model: &str| {
            let code = model.parse::<ModelCode>();
            code.is_ok_and(|code| registered.models.contains_key(&code))
        };
        let now = At::of(crate::clock::wall());
        tally(register.groups(), is_registered, &ids, now)
    });

    let hearing = Hearing::now(app);
    let devices = app.store.registry.devices.read();
    let mut by_model: HashMap<Option<&ModelCode>, Vec<Known<'_>>> = HashMap::new();
    for (key, device) in &devices.devices {
        let code = device.model.as_ref();
        let code = code.filter(|code| registered.models.contains_key(*code));
        by_model.entry(code).or_default().push((key, device));
    }
    let mut figures = Vec::new();
    for (code, builds) in &models {
        let devices = by_model.remove(&Some(*code)).unwrap_or_default();
        let groups = groups.remove(code.as_str()).unwrap_or_default();
        let of_build = |build: &Named| crashes.of_build(&build.id.to_string());
        let state = |device: &Device| hearing.state(device);
        let shown = figures_of(code.as_str(), builds, of_build, &devices, &groups, state);
        figures.push(shown);
    }
    let devices = by_model.remove(&None).unwrap_or_default();
    let groups = groups.remove("").unwrap_or_default();
    if !devices.is_empty() || groups != Groups::default() {
        let none = |_: &Named| BuildCrashes::default();
        let state = |device: &Device| hearing.state(device);
        figures.push(figures_of("", &[], none, &devices, &groups, state));
    }
    app.metrics.set_fleet(figures);
    Ok(())
}

type Known<'a> = (&'a DeviceKey, &'a Device);

/// A build that has figures of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Named {
    id: BuildId,
    version: String,
    is_active: bool,
}

/// Of a model's stored builds, newest first, those with figures of their own. Two that
/// the shown digits do not tell apart are never both among them.
fn named(stored: impl Iterator<Item = (BuildId, String)>, active: Option<BuildId>) -> Vec<Named> {
    let builds = stored.enumerate().map(|(age, (id, version))| {
        let is_active = active == Some(id);
        let build = Named {
            id,
            version,
            is_active,
        };
        (age < NAMED || is_active, build)
    });
    let mut shown = HashSet::new();
    let chosen = builds.filter(|(is_chosen, build)| *is_chosen && shown.insert(build.id.short()));
    chosen.map(|(_, build)| build).collect()
}

/// The crash groups of one model.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Groups {
    open: u64,
    regressed: u64,
    new: u64,
    /// Crashes with none of the builds that have figures of their own.
    other: u64,
}

/// The groups by model; those without a registered one below an empty name.
fn tally<'a>(
    groups: impl Iterator<Item = &'a Group>,
    is_registered: impl Fn(&str) -> bool,
    named: &HashSet<String>,
    now: At,
) -> HashMap<String, Groups> {
    let mut found: HashMap<String, Groups> = HashMap::new();
    for group in groups.filter(|group| group.occurrences > 0) {
        let model = group.model.as_deref().filter(|model| is_registered(model));
        let of_model = found
            .entry(model.unwrap_or_default().to_owned())
            .or_default();
        let state = state_of(group, now);
        of_model.open += u64::from(state == GroupState::Open);
        of_model.regressed += u64::from(state == GroupState::Regressed);
        let is_new = now.time() - group.created_at.time() < NEW;
        of_model.new += u64::from(state == GroupState::Open && is_new);
        let members = group.fingerprints.values();
        let named = members.filter(|member| member.builds.iter().any(|id| named.contains(&**id)));
        let named = named.flat_map(|member| member.devices.values());
        let named: u64 = named.map(|seen| seen.occurrences).sum();
        of_model.other += group.occurrences.saturating_sub(named);
    }
    found
}

/// The figures of one model; `devices` are its devices.
fn figures_of(
    model: &str,
    builds: &[Named],
    crashes_of: impl Fn(&Named) -> BuildCrashes,
    devices: &[Known<'_>],
    groups: &Groups,
    state: impl Fn(&Device) -> Option<State>,
) -> ModelFigures {
    let mut shown: Vec<BuildFigures> = builds
        .iter()
        .map(|build| of_build(build, &crashes_of(build), devices))
        .collect();
    let runs: u64 = shown.iter().filter_map(|build| build.devices).sum();
    let in_service = || {
        devices
            .iter()
            .filter(|(_, device)| device.retired.is_none())
    };
    let known = in_service().filter(|(_, device)| runs_known(device));
    let known = known.count() as u64;
    shown.push(BuildFigures {
        build: OTHER.to_owned(),
        devices: Some(known.saturating_sub(runs)),
        crashes: Some(groups.other),
        ..BuildFigures::default()
    });
    shown.push(BuildFigures {
        build: UNKNOWN.to_owned(),
        devices: Some((in_service().count() as u64).saturating_sub(known)),
        ..BuildFigures::default()
    });
    let in_state = |wanted| {
        let found = devices
            .iter()
            .filter(|(_, device)| state(device) == Some(wanted));
        found.count() as u64
    };
    ModelFigures {
        model: model.to_owned(),
        open: groups.open,
        regressed: groups.regressed,
        new: groups.new,
        silent: in_state(State::Silent),
        looping: in_state(State::Looping),
        builds: shown,
    }
}

fn of_build(build: &Named, crashes: &BuildCrashes, devices: &[Known<'_>]) -> BuildFigures {
    let in_use = build_use::of(devices.iter().copied(), build.id);
    let free = build_use::crash_free(&in_use.ran, &crashes.devices);
    BuildFigures {
        build: build.id.short(),
        version: build.version.clone(),
        is_active: build.is_active,
        devices: Some(in_use.exact + in_use.likely),
        crashes: Some(crashes.occurrences),
        seconds: Some(in_use.seconds),
        crash_free: free.map(|free| (free.share, free.devices)),
    }
}

/// Whether it is known which build a device runs, as [`build_use::of`] takes it.
fn runs_known(device: &Device) -> bool {
    let running = device.running.as_ref();
    running.is_some_and(|running| running.build_id.is_some() && running.certainty.is_some())
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::crashes::{Decoded, Occurrence, Register};
    use crate::digest::Sha256;
    use crate::store::registry::activity::{BuildSeen, Certainty};
    use crate::store::registry::devices::Running;

    fn id(number: u8) -> BuildId {
        Sha256::of(&[number]).into()
    }

    fn stored(numbers: std::ops::RangeInclusive<u8>) -> impl Iterator<Item = (BuildId, String)> {
        numbers.rev().map(|number| (id(number), number.to_string()))
    }

    #[test]
    fn the_newest_builds_and_the_active_one_have_figures_of_their_own() {
        for (stored, active, expected) in [
            (stored(1..=3), Some(2), vec!["3", "2", "1"]),
            (stored(1..=9), Some(9), vec!["9", "8", "7", "6", "5"]),
            (stored(1..=9), Some(2), vec!["9", "8", "7", "6", "5", "2"]),
            (stored(1..=9), None, vec!["9", "8", "7", "6", "5"]),
        ] {
            let named = named(stored, active.map(id));
            let versions: Vec<&str> = named.iter().map(|build| &*build.version).collect();
            assert_eq!(versions, expected);
            let active_one = named.iter().find(|build| build.is_active);
            assert_eq!(active_one.map(|build| build.id), active.map(id));
        }
    }

    #[test]
    fn of_builds_with_the_same_digits_one_is_named() {
        let same = |last| {
            let mut bytes = [7; 32];
            bytes[31] = last;
            (Sha256::from_bytes(bytes).into(), last.to_string())
        };
        let named = named([same(2), same(1)].into_iter(), None);
        assert_eq!(named.len(), 1);
        assert_eq!(named[0].version, "2");
    }

    fn running(number: u8, certainty: Option<Certainty>) -> Device {
        let certainty = certainty.map(Into::into);
        Device {
            running: Some(Running {
                build_id: Some(id(number)),
                version: None,
                app_elf_sha256: None,
                at: String::new(),
                from: String::new(),
                certainty: certainty.clone(),
            }),
            builds: vec![BuildSeen {
                build_id: Some(id(number)),
                certainty,
                seconds: 100,
                ..BuildSeen::default()
            }],
            ..Device::default()
        }
    }

    #[test]
    fn every_device_is_counted_once_by_what_it_runs() {
        let devices: Vec<(DeviceKey, Device)> = [
            ("k1", running(9, Some(Certainty::Exact))),
            ("k2", running(9, Some(Certainty::Likely))),
            ("k3", running(1, Some(Certainty::Exact))),
            // it only fetched the build
            ("k4", running(9, None)),
            ("k5", Device::default()),
        ]
        .into_iter()
        .map(|(key, device)| (key.parse().unwrap(), device))
        .collect();
        let devices: Vec<Known<'_>> = devices.iter().map(|(key, device)| (key, device)).collect();
        let builds = named(stored(2..=9), Some(id(9)));
        let groups = Groups {
            open: 1,
            other: 4,
            ..Groups::default()
        };
        let crashes_of = |build: &Named| match build.is_active {
            true => BuildCrashes {
                occurrences: 3,
                devices: [String::from("k1")].into(),
                ..BuildCrashes::default()
            },
            false => BuildCrashes::default(),
        };
        let state = |device: &Device| match device.running {
            Some(_) => Some(State::Silent),
            None => Some(State::Looping),
        };
        let figures = figures_of("lamp", &builds, crashes_of, &devices, &groups, state);
        assert_eq!((figures.silent, figures.looping), (4, 1));
        assert_eq!((figures.open, figures.regressed), (1, 0));
        let runs = figures.builds.iter().map(|build| build.devices);
        let expected = [2, 0, 0, 0, 0, 1, 2].map(Some);
        assert_eq!(runs.collect::<Vec<_>>(), expected, "{figures:#?}");
        let newest = &figures.builds[0];
        assert_eq!((newest.crashes, newest.seconds), (Some(3), Some(200)));
        assert_eq!(newest.crash_free, Some((0.5, 2)));
        assert_eq!(figures.builds[1].crash_free, None, "nobody runs it");
        assert_eq!(figures.builds[5].crashes, Some(4));
    }

    #[test]
    fn groups_are_counted_by_model_and_crashes_by_build() {
        let mut register = Register::default();
        let day = |day: i64| At::of(OffsetDateTime::UNIX_EPOCH + Duration::days(day));
        for (fingerprint, model, at, build) in [
            ("f1", Some("lamp"), 1, Some(id(1))),
            ("f1", Some("lamp"), 2, Some(id(1))),
            ("f2", Some("lamp"), 10, Some(id(2))),
            ("f3", Some("lamp"), 10, None),
            ("f4", Some("gone"), 1, None),
            ("f5", None, 1, None),
        ] {
            let crash = Occurrence {
                fingerprint: fingerprint.to_owned(),
                algorithm: Some(2),
                device: String::from("k1"),
                model: model.map(str::to_owned),
                app_elf_sha256: None,
                version: None,
                panic_reason: None,
                task: None,
                at: day(at),
                during_outage: false,
            };
            register.count(&crash);
            let builds = build.iter().map(ToString::to_string).collect();
            let decoded = Decoded {
                builds,
                ..Decoded::default()
            };
            register.decoded(&crash, decoded);
        }
        let is_lamp = |model: &str| model == "lamp";
        let named = HashSet::from([id(1).to_string()]);
        let found = tally(register.groups(), is_lamp, &named, day(10));
        let lamp = Groups {
            open: 3,
            new: 2,
            other: 2,
            ..Groups::default()
        };
        let nobodys = Groups {
            open: 2,
            other: 2,
            ..Groups::default()
        };
        let expected = [(String::from("lamp"), lamp), (String::new(), nobodys)];
        assert_eq!(found, HashMap::from(expected));
    }
}
