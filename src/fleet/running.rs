//! The build that a device runs and those that it ran, has or crashed with: what a new
//! piece of evidence changes of what is known.

use super::evidence::{Finding, Kind, Says};
use crate::build_id::BuildId;
use crate::store::open_enum::OpenEnum;
use crate::store::registry::Device;
use crate::store::registry::activity::{BuildSeen, Certainty};
use crate::store::registry::devices::Running;

/// Builds that are remembered of a device.
const MAX_BUILDS: usize = 10;

/// Takes a finding over. Whether it changed what the device is known to run, have or
/// have crashed with, and not only when.
pub(super) fn apply(device: &mut Device, finding: &Finding, now: &str) -> bool {
    match finding.says {
        Says::Runs => runs(device, finding, now),
        Says::Has => note(device, finding, now, |seen| {
            let is_first = seen.has_since.is_none();
            seen.has_since.get_or_insert_with(|| now.to_owned());
            let is_delivery = finding.kind == Kind::Delivery;
            if is_delivery {
                seen.delivered_at = Some(now.to_owned());
            }
            is_first || is_delivery
        }),
        Says::Crashed => note(device, finding, now, |seen| {
            seen.crashed_at = Some(now.to_owned());
            true
        }),
    }
}

/// Whether a build was delivered whole: hanging up at the next offer of it proves
/// nothing then, since a build that failed to boot is refused the same way.
pub(super) fn was_delivered(device: &Device, build: BuildId) -> bool {
    let mut builds = device.builds.iter();
    builds.any(|seen| seen.build_id == Some(build) && seen.delivered_at.is_some())
}

/// Whether a device that sends a dump of `build` may run it still: nothing better than its
/// uploads tells what it runs, or all of it was delivered since.
pub fn may_run(device: &Device, build: BuildId) -> bool {
    let Some(running) = &device.running else {
        return true;
    };
    let mut builds = device.builds.iter();
    let delivered_at = builds
        .find(|seen| seen.build_id == Some(build))
        .and_then(|seen| seen.delivered_at.as_deref());
    running.build_id == Some(build)
        || running.from == Kind::Upload.as_str()
        || delivered_at.is_some_and(|delivered| delivered > running.at.as_str())
}

fn runs(device: &mut Device, finding: &Finding, now: &str) -> bool {
    let is_hang_up = finding.kind == Kind::HangUp;
    let delivered = finding.build_id.map(|build| was_delivered(device, build));
    if is_hang_up && delivered == Some(true) {
        return false;
    }
    let before = device.running.take();
    let same = before.as_ref().filter(|before| is_same(before, finding));
    let is_settled = finding.certainty == Certainty::Likely
        && before
            .as_ref()
            .is_some_and(|before| is_exact(before.certainty.as_ref()));
    if is_settled && (same.is_some() || is_hang_up) {
        let is_heard = same.is_some();
        device.running = before;
        if is_heard {
            still_runs(device, now);
        }
        return false;
    }
    let running = Running {
        build_id: finding.build_id,
        version: finding
            .version
            .clone()
            // of the hash alone: what the same program said before
            .or_else(|| same.and_then(|before| before.version.clone())),
        app_elf_sha256: finding.app_elf_sha256.clone(),
        at: now.to_owned(),
        from: finding.kind.as_str().to_owned(),
        certainty: Some(finding.certainty.into()),
    };
    let is_change = before.is_none_or(|before| {
        before.build_id != running.build_id
            || before.version != running.version
            || before.certainty != running.certainty
    });
    device.running = Some(running);
    note(device, finding, now, |seen| {
        if seen.certainty.is_none() {
            now.clone_into(&mut seen.first);
        }
        if !is_exact(seen.certainty.as_ref()) || finding.certainty == Certainty::Exact {
            seen.certainty = Some(finding.certainty.into());
            finding.kind.as_str().clone_into(&mut seen.evidence);
        }
    });
    is_change
}

/// Vaguer evidence confirmed what was known.
fn still_runs(device: &mut Device, now: &str) {
    let Some(running) = &mut device.running else {
        return;
    };
    now.clone_into(&mut running.at);
    let build = running.build_id;
    let mut builds = device.builds.iter_mut();
    if let Some(seen) = builds.find(|seen| build.is_some() && seen.build_id == build) {
        now.clone_into(&mut seen.last);
    }
}

/// Whether the finding may mean what is running already: the same build, or its
/// version where that names no single build.
fn is_same(current: &Running, finding: &Finding) -> bool {
    match (current.build_id, finding.build_id) {
        (Some(current), Some(found)) => current == found,
        _ => match (&current.app_elf_sha256, &finding.app_elf_sha256) {
            (Some(current), Some(found)) => {
                current.starts_with(found) || found.starts_with(current)
            }
            _ => current.version.is_some() && current.version == finding.version,
        },
    }
}

fn known(device: &Device, finding: &Finding) -> Option<usize> {
    device
        .builds
        .iter()
        .position(|seen| match finding.build_id {
            Some(build) => seen.build_id == Some(build),
            None => {
                seen.build_id.is_none()
                    && seen.app_elf_sha256 == finding.app_elf_sha256
                    && seen.version == finding.version
            }
        })
}

/// Changes what is known of the finding's build, which is added if it is new; the one
/// that was heard of longest ago goes then, but not the running one.
fn note<R>(
    device: &mut Device,
    finding: &Finding,
    now: &str,
    change: impl FnOnce(&mut BuildSeen) -> R,
) -> R {
    let mut seen = match known(device, finding) {
        Some(at) => device.builds.remove(at),
        None => {
            make_room(device);
            BuildSeen {
                build_id: finding.build_id,
                version: finding.version.clone(),
                app_elf_sha256: finding.app_elf_sha256.clone(),
                first: now.to_owned(),
                evidence: finding.kind.as_str().to_owned(),
                ..BuildSeen::default()
            }
        }
    };
    if seen.certainty.is_none() || finding.says == Says::Runs {
        now.clone_into(&mut seen.last);
    }
    let outcome = change(&mut seen);
    device.builds.push(seen);
    outcome
}

fn make_room(device: &mut Device) {
    if device.builds.len() < MAX_BUILDS {
        return;
    }
    let running = device.running.as_ref().and_then(|running| running.build_id);
    let others = device.builds.iter().enumerate();
    let others = others.filter(|(_, seen)| running.is_none() || seen.build_id != running);
    let oldest = others.min_by(|(_, a), (_, b)| a.last.cmp(&b.last));
    device.builds.remove(oldest.map_or(0, |(at, _)| at));
}

fn is_exact(certainty: Option<&OpenEnum<Certainty>>) -> bool {
    certainty.is_some_and(|certainty| *certainty == Certainty::Exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::evidence::tests::{build, elf};
    use crate::fleet::evidence::{Names, conclude};

    /// `(kind, what it names, expected version, expected certainty)` in order of arrival.
    fn heard(steps: &[(Kind, Names<'_>, &str, Certainty)]) -> Device {
        let builds = [
            build('3', "1.1", 'c'),
            build('2', "1.0", 'b'),
            build('1', "1.0", 'a'),
        ];
        let mut device = Device::default();
        for (at, (kind, names, version, certainty)) in steps.iter().enumerate() {
            let finding = conclude(*kind, *names, &builds).unwrap();
            apply(&mut device, &finding, &at.to_string());
            let running = device.running.as_ref();
            let found = running.and_then(|running| running.version.as_deref());
            assert_eq!(
                found.unwrap_or_default(),
                *version,
                "{at}: {kind:?} {names:?}"
            );
            if let Some(running) = running {
                assert_eq!(running.certainty, Some((*certainty).into()), "{at}");
            }
        }
        device
    }

    #[test]
    fn what_is_exact_stays_until_the_device_says_otherwise() {
        use Certainty::{Exact, Likely};
        let new = build('3', "1.1", 'c').id();
        heard(&[
            (Kind::Upload, Names::Version("1.1"), "1.1", Likely),
            (Kind::Running, Names::Any("aaaaaaaa"), "1.0", Exact),
            (Kind::HangUp, Names::Build(new), "1.0", Exact),
            (Kind::Upload, Names::Version("1.0"), "1.0", Exact),
            (Kind::Dump, elf("cccccccc"), "1.0", Exact),
            (Kind::Delivery, Names::Build(new), "1.0", Exact),
            (Kind::Upload, Names::Version("1.1"), "1.1", Likely),
            (Kind::Banner, elf("cccccccc"), "1.1", Exact),
        ]);
    }

    #[test]
    fn who_hangs_up_after_the_description_runs_the_offer_unless_it_was_delivered_whole() {
        use Certainty::Likely;
        let new = Names::Build(build('3', "1.1", 'c').id());
        heard(&[
            (Kind::Etag, new, "", Likely),
            (Kind::HangUp, new, "1.1", Likely),
        ]);
        heard(&[
            (Kind::Upload, Names::Version("9"), "9", Likely),
            (Kind::Delivery, new, "9", Likely),
            (Kind::HangUp, new, "9", Likely),
        ]);
    }

    #[test]
    fn a_dump_of_another_build_is_no_run_of_it_unless_it_was_delivered_since() {
        let (old, new) = (build('1', "1.0", 'a').id(), build('3', "1.1", 'c').id());
        let likely = Certainty::Likely;
        let upload = (Kind::Upload, Names::Version("1.1"), "1.1", likely);
        let says = (Kind::Running, Names::Any("1.1"), "1.1", likely);
        let delivery = (Kind::Delivery, Names::Build(old), "1.1", likely);
        for (steps, expected) in [
            (&[][..], true),
            (&[upload][..], true),
            (&[says][..], false),
            (&[delivery, says], false),
            (&[says, delivery], true),
        ] {
            // the delivery alone tells nothing of what runs
            let steps = steps.iter().enumerate().map(|(at, step)| match step.0 {
                Kind::Delivery if at == 0 => (step.0, step.1, "", step.3),
                _ => *step,
            });
            let device = heard(&steps.collect::<Vec<_>>());
            assert_eq!(may_run(&device, old), expected, "{:?}", device.builds);
            assert!(may_run(&device, new));
        }
    }

    #[test]
    fn each_build_keeps_what_is_known_of_it() {
        use Certainty::{Exact, Likely};
        let new = build('3', "1.1", 'c').id();
        let device = heard(&[
            (Kind::Running, Names::Any("aaaaaaaa"), "1.0", Exact),
            (Kind::Delivery, Names::Build(new), "1.0", Exact),
            (Kind::Upload, Names::Version("1.1"), "1.1", Likely),
            (Kind::Upload, Names::Version("1.1"), "1.1", Likely),
            (Kind::Dump, elf("aaaaaaaa"), "1.1", Likely),
        ]);
        let seen = |version: &str| {
            let mut builds = device.builds.iter();
            builds
                .find(|seen| seen.version.as_deref() == Some(version))
                .unwrap()
        };
        let (old, new) = (seen("1.0"), seen("1.1"));
        assert_eq!((old.first.as_str(), old.last.as_str()), ("0", "0"));
        assert_eq!(old.certainty, Some(Exact.into()));
        assert_eq!(old.crashed_at.as_deref(), Some("4"));
        assert_eq!((new.first.as_str(), new.last.as_str()), ("2", "3"));
        assert_eq!(new.certainty, Some(Likely.into()));
        assert_eq!(new.delivered_at.as_deref(), Some("1"));
        assert_eq!(new.evidence, "upload");
    }

    #[test]
    fn the_last_ten_builds_are_kept_and_the_running_one_always() {
        let mut device = Device::default();
        let builds: Vec<_> = "123456789abc"
            .chars()
            .map(|id| build(id, "1.0", id))
            .collect();
        let hear = |device: &mut Device, kind, at: usize| {
            let id = builds[at].id();
            let finding = conclude(kind, Names::Build(id), &builds).unwrap();
            apply(device, &finding, &format!("{at:02}"));
        };
        hear(&mut device, Kind::HangUp, 0);
        for at in 1..builds.len() {
            hear(&mut device, Kind::Etag, at);
        }
        assert_eq!(device.builds.len(), 10);
        let has = |at: usize| {
            device
                .builds
                .iter()
                .any(|seen| seen.build_id == Some(builds[at].id()))
        };
        assert!(has(0) && !has(1) && !has(2) && has(3));
    }
}
