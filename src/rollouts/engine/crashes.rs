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
            let what = match is_of(&target, &entry) {
                false => What::Judged {
                    sequence: entry.sequence,
                },
                true if entry.decode() == Some(DecodeState::Pending) => {
                    let dump = entry.id.to_string();
                    events.push(event(&member.device, What::DumpCame { dump }));
                    // the next ones are judged after it
                    break;
                }
                true => What::Crashed {
                    dump: entry.id.to_string(),
                    sequence: entry.sequence,
                    crash: self.judge(rollout, &entry),
                },
            };
            events.push(event(&member.device, what));
        }
        events
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

/// Whether a dump is of a build.
fn is_of(build: &Build, entry: &Entry) -> bool {
    match entry.app_elf_sha256().filter(|hash| !hash.is_empty()) {
        Some(hash) => build.made(hash),
        None => entry.firmware_version() == Some(build.version.as_str()),
    }
}
