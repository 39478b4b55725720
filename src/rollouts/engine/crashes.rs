//! Dumps of the target by its members, judged by the crash groups.

use super::{Rollouts, event};
use crate::crashes::Newness;
use crate::rollouts::evaluate::{Crash, Event, What};
use crate::store::coredumps::{DecodeState, Entry};
use crate::store::firmware::Build;
use crate::store::rollouts::{Member, Rollout};

/// A dump is stored within this time after its device was heard, seconds.
const ON_ITS_WAY: u64 = 120;

impl Rollouts {
    /// Whether dumps of a member may have come, or been decoded, since the last look.
    pub(super) fn may_have_dumps(&self, rollout: &Rollout, member: &Member, is_same: bool) -> bool {
        if !member.got_it() {
            return false;
        }
        let now = self.clock_s(rollout);
        let is_recent = member
            .heard_s
            .is_some_and(|heard| now.saturating_sub(heard) < ON_ITS_WAY);
        let mut waiting = rollout.waiting.values();
        !is_same || is_recent || waiting.any(|dump| dump.device == member.device)
    }

    /// What follows from the dumps of a member that are not judged yet, in their order.
    pub(super) fn dumps_of(&self, rollout: &Rollout, member: &Member) -> Vec<Event> {
        let target = self
            .store
            .firmware
            .description(&rollout.model, rollout.target.build_id);
        let Ok(Some(target)) = target else {
            return Vec::new();
        };
        let is_new = |entry: &&Entry| entry.sequence > member.judged_to;
        let dumps = self.store.coredumps.with(&member.device, |folder| {
            let new = folder.entries().iter().filter(is_new);
            Ok(new.cloned().collect::<Vec<Entry>>())
        });
        let mut events = Vec::new();
        for entry in dumps.unwrap_or_default() {
            let others = || self.builds_beside(rollout);
            let owner = owner(&target, others, &entry);
            let what = match owner {
                Owner::Another => What::Judged {
                    sequence: entry.sequence,
                },
                _ if entry.decode() == Some(DecodeState::Pending) => {
                    let dump = entry.id.to_string();
                    events.push(event(&member.device, What::DumpCame { dump }));
                    // the next ones are judged after it
                    break;
                }
                Owner::Target | Owner::Unclear => What::Crashed {
                    dump: entry.id.to_string(),
                    sequence: entry.sequence,
                    crash: match (owner, self.judge(rollout, &entry)) {
                        (Owner::Unclear, Crash::New { group, .. }) => Crash::Unsure {
                            why: format!("crash {group} of a program that other builds have too"),
                            group: Some(group),
                        },
                        (_, crash) => crash,
                    },
                },
            };
            events.push(event(&member.device, what));
        }
        events
    }

    /// The model's builds apart from the target.
    fn builds_beside(&self, rollout: &Rollout) -> Vec<Build> {
        let builds = self.store.firmware.builds(&rollout.model);
        let mut builds = builds.unwrap_or_default();
        builds.retain(|build| build.id() != rollout.target.build_id);
        builds
    }

    fn judge(&self, rollout: &Rollout, entry: &Entry) -> Crash {
        let unreadable = || Crash::Unsure {
            group: None,
            why: String::from("a coredump that cannot be read"),
        };
        let Some(fingerprint) = &entry.fingerprint else {
            return unreadable();
        };
        let target = rollout.target.build_id.to_string();
        let Some((group, signature, newness)) = self.crashes.newness(fingerprint, &target) else {
            return unreadable();
        };
        if entry.during_outage && self.crashes.has_gateway_client(fingerprint) {
            return Crash::Unsure {
                why: format!("crash {group} while the gateway was not reachable"),
                group: Some(group),
            };
        }
        match newness {
            Newness::Known => Crash::Known { group },
            Newness::New | Newness::Regressed => Crash::New { group, signature },
            Newness::LooksNew => Crash::Unsure {
                why: format!("crash {group} \"{signature}\" that looks new (no symbols)"),
                group: Some(group),
            },
        }
    }
}

/// Whose a dump is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owner {
    Target,
    Another,
    /// Of a program that was signed again: the target's or another build's.
    Unclear,
}

fn owner(target: &Build, others: impl FnOnce() -> Vec<Build>, entry: &Entry) -> Owner {
    let version = entry.firmware_version();
    let is_version_of = |build: &Build| version == Some(build.version.as_str());
    let Some(hash) = entry.app_elf_sha256().filter(|hash| !hash.is_empty()) else {
        return match is_version_of(target) {
            true => Owner::Target,
            false => Owner::Another,
        };
    };
    if !target.made(hash) {
        return Owner::Another;
    }
    let others: Vec<Build> = others().into_iter().filter(|one| one.made(hash)).collect();
    match others.iter().any(is_version_of) {
        _ if others.is_empty() || is_version_of(target) => Owner::Target,
        true => Owner::Another,
        false => Owner::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::coredumps::sample_sidecar;

    fn build(version: &str, image: char, elf: char) -> Build {
        let digest = |digit: char| digit.to_string().repeat(64);
        let build = json!({
            "schema": 1, "name": version, "version": version, "kind": "bin", "size": 1000,
            "sha256": digest(image), "bin_size": 1000, "bin_sha256": digest(image),
            "bin_appended_sha256": null, "app_elf_sha256": digest(elf), "elf_sha256": null,
            "chip": null, "project": null, "idf_version": null, "git_commit": null,
            "built_at": null, "secure_version": 0, "warnings": [], "uploaded_at": "",
            "sequence": 1,
        });
        serde_json::from_value(build).unwrap()
    }

    fn dump(version: Option<&str>, elf: &str) -> Entry {
        let mut sidecar = sample_sidecar("7b262063f782", 0);
        sidecar.firmware_version = version.map(str::to_owned);
        sidecar.app_elf_sha256 = (!elf.is_empty()).then(|| elf.to_owned());
        Entry::of("coredump_7b262063f782", &sidecar, 1)
    }

    #[test]
    fn a_program_that_several_builds_have_is_told_apart_by_its_version() {
        let target = build("2.0", '1', 'a');
        let signed_again = vec![build("1.0", '2', 'a'), build("0.9", '3', 'b')];
        let only_one = vec![build("1.0", '2', 'c')];
        let hash = "aaaaaaaaa";
        for (others, version, elf, expected) in [
            (&only_one, Some("1.0"), hash, Owner::Target),
            (&only_one, Some("2.0"), "ccccccccc", Owner::Another),
            (&only_one, Some("2.0"), "", Owner::Target),
            (&only_one, None, "", Owner::Another),
            (&signed_again, Some("2.0"), hash, Owner::Target),
            (&signed_again, Some("1.0"), hash, Owner::Another),
            (&signed_again, Some("0.9"), hash, Owner::Unclear),
            (&signed_again, None, hash, Owner::Unclear),
        ] {
            let dump = dump(version, elf);
            let owner = owner(&target, || others.clone(), &dump);
            assert_eq!(owner, expected, "{version:?} {elf:?} of {}", others.len());
        }
    }
}
