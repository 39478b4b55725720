//! What the register of devices knows, as events: what changed since it was last looked at.

use std::sync::Arc;

use super::{Ask, Rollouts, event};
use crate::clock;
use crate::device::DeviceKey;
use crate::fleet::contacts::{self, State};
use crate::fleet::evidence::Kind;
use crate::rollouts::evaluate::{Event, What};
use crate::store::registry::Device;
use crate::store::registry::activity::Contacts;
use crate::store::registry::devices::Running;
use crate::store::rollouts::{Member, MemberState, Rollout};

/// A sign of life that repeats within this time is not noted again, seconds.
const NOTED_EVERY: u64 = 10;

impl Rollouts {
    /// Whether a request changes anything of a member.
    pub(super) fn is_news(&self, rollout: &Rollout, device: &DeviceKey, gets: Option<Ask>) -> bool {
        let Some(member) = rollout.member(device) else {
            return false;
        };
        let is_old = |s| self.is_old(rollout, s);
        match (gets, member.state) {
            (Some(_), MemberState::Eligible | MemberState::Offered) => true,
            (Some(Ask::HasIt), MemberState::Held | MemberState::Downloading) => true,
            (Some(Ask::Image), MemberState::Downloading) => is_old(member.progress_s),
            // it may run the target after all
            (_, MemberState::Lost) => true,
            _ => is_old(member.asked_s) || self.runs_another(rollout, member),
        }
    }

    /// Whether a sign of life was noted so long ago that the next is noted again.
    fn is_old(&self, rollout: &Rollout, noted_s: Option<u64>) -> bool {
        let now = self.clock_s(rollout);
        noted_s.is_none_or(|noted| now.saturating_sub(noted) >= NOTED_EVERY)
    }

    /// Whether a device is known to have booted, or to run another build, since the last look,
    /// or was seen since then to run the target, which its state does not tell.
    fn runs_another(&self, rollout: &Rollout, member: &Member) -> bool {
        use MemberState::{Downloading, Eligible, Held, Incompatible, Offered, Refused};
        let devices = self.store.registry.devices.read();
        let memory = self.memory();
        let was = memory.seen.get(&member.device);
        let is = devices.devices.get(&member.device);
        let build = |device: &Arc<Device>| Some(device.running.as_ref()?.build_id);
        let booted = |device: &Arc<Device>| device.contacts.live.booted;
        if was.map(booted) != is.map(booted) {
            return true;
        }
        let at = |device: &Arc<Device>| Some(device.running.as_ref()?.at.clone());
        let is_open = matches!(
            member.state,
            Held | Eligible | Offered | Downloading | Refused | Incompatible
        );
        let target = Some(Some(rollout.target.build_id));
        was.map(build) != is.map(build)
            || (is_open && is.and_then(build) == target && was.map(at) != is.map(at))
    }

    /// Events of one member, or of all.
    pub(super) fn observe(&self, rollout: &Rollout, only: Option<&DeviceKey>) -> Vec<Event> {
        let devices = self.store.registry.devices.read();
        let mut events = Vec::new();
        for member in &rollout.members {
            if only.is_some_and(|only| *only != member.device) {
                continue;
            }
            let device = devices.devices.get(&member.device);
            let is_ours = |device: &&Arc<Device>| device.model.as_ref() == Some(&rollout.model);
            let Some(device) = device.filter(is_ours) else {
                // it was removed, or is of another model now
                if member.state != MemberState::Retired {
                    events.push(event(&member.device, What::Retired(true)));
                }
                continue;
            };
            let key = &member.device;
            let before = self.memory().seen.get(key).map(Arc::clone);
            let is_same = before
                .as_ref()
                .is_some_and(|before| Arc::ptr_eq(before, device));
            let mut is_awaited = member.got_it() && self.uploads.has(key);
            if self.may_have_dumps(rollout, member, is_same) {
                let dumps = self.dumps_of(rollout, member);
                let is_pending = |event: &Event| matches!(event.what, What::DumpCame { .. });
                is_awaited |= dumps.iter().any(is_pending);
                events.extend(dumps);
            }
            if is_awaited {
                // what else it says is taken over when its dump is judged
                continue;
            }
            if !is_same {
                let seen = Arc::clone(device);
                self.memory().seen.insert(key.clone(), seen);
                let changes = changes(rollout, member, before.as_deref(), device);
                events.extend(changes.into_iter().map(|what| event(&member.device, what)));
            }
            // an image sent in one response keeps its place until its end
            let target = rollout.target.build_id;
            if self.is_old(rollout, member.progress_s) && self.downloads.has(target, &member.device)
            {
                events.push(event(&member.device, What::Progress));
            }
            if self.is_looping(rollout, member, device) {
                events.push(event(key, What::Loops));
            }
        }
        events
    }

    /// Whether a device boots again and again since it has the target; what it did before
    /// was not the target's doing.
    fn is_looping(&self, rollout: &Rollout, member: &Member, device: &Device) -> bool {
        let Some(delivered_s) = member.delivered_s else {
            return false;
        };
        if !loops(&device.contacts) {
            return false;
        }
        let now = clock::monotonic_us() / 1_000_000;
        let since = now.saturating_sub(self.clock_s(rollout).saturating_sub(delivered_s));
        let mut contacts = device.contacts.clone();
        contacts.live.recent.retain(|boot| boot.at >= since);
        loops(&contacts)
    }
}

fn loops(contacts: &Contacts) -> bool {
    let now = clock::monotonic_us() / 1_000_000;
    let today = clock::iso8601(clock::wall());
    let today = today.get(..10).unwrap_or_default();
    // short of the register's own times of contact a device that loops is heard
    contacts::state_of(contacts, None, now, today) == Some(State::Looping)
}

/// What changed of a device; `before` is absent at the first look.
fn changes(
    rollout: &Rollout,
    member: &Member,
    before: Option<&Device>,
    device: &Device,
) -> Vec<What> {
    let mut changes = Vec::new();
    let (is_retired, is_pinned) = (device.is_retired(), device.pin.is_some());
    if is_retired && member.state != MemberState::Retired {
        changes.push(What::Retired(true));
    }
    if is_pinned && member.state != MemberState::Pinned {
        changes.push(What::Pinned(true));
    }
    if member.votes && loses_vote(rollout, before, device) {
        changes.push(What::LosesVote);
    }
    let usual = contacts::usual_interval(&device.contacts);
    if usual != member.usual_s {
        changes.push(What::Usual(usual));
    }
    let booted = |device: &Device| device.contacts.live.booted;
    if let Some((Some(was), Some(is))) = before.map(|before| (booted(before), booted(device)))
        && is > was
    {
        changes.push(What::Booted);
    }
    if let Some(running) = &device.running
        && is_news(
            member,
            before.and_then(|before| before.running.as_ref()),
            running,
        )
    {
        changes.extend(runs(rollout, device, running));
    }
    if !member.got_it() && has_since(device, rollout) != before.and_then(|b| has_since(b, rollout))
    {
        let evidence = String::from("has the image (ETag)");
        changes.push(What::HasIt { evidence });
    }
    // what it ran until then is from the time in which it took no part
    let returns = !is_retired && member.state == MemberState::Retired;
    let is_free = !is_pinned && (member.state == MemberState::Pinned || member.pinned);
    if (returns || is_free)
        && let Some(build) = got_another(rollout, member, device)
    {
        // one that says nothing runs it all the same, or soon
        let evidence = String::from("got it while it took no part");
        changes.push(What::Booted);
        changes.push(What::RunsOther { build, evidence });
    }
    if returns {
        changes.push(What::Retired(false));
    }
    if is_free {
        changes.push(What::Pinned(false));
    }
    let contact = |device: &Device| device.contacts.live.last_contact;
    if contact(device).is_some() && before.map(contact) != Some(contact(device)) {
        changes.push(What::Heard);
    }
    changes
}

/// Whether somebody else may be behind the key by now: a fleet token registered it again, or
/// in place of a credential of its own.
fn loses_vote(rollout: &Rollout, before: Option<&Device>, device: &Device) -> bool {
    let had_its_own = before.is_some_and(|before| before.fleet_token.is_none());
    let is_new = device.created_at > rollout.started_at;
    device.fleet_token.is_some() && (is_new || had_its_own)
}

/// Whether a device was seen to run something since the last look, or, at the first look,
/// since its state in the rollout changed.
fn is_news(member: &Member, before: Option<&Running>, running: &Running) -> bool {
    match before {
        Some(before) => before != running,
        None => running.at > member.at,
    }
}

/// What follows from the build that a device runs.
fn runs(rollout: &Rollout, device: &Device, running: &Running) -> Option<What> {
    let evidence = in_words(&running.from);
    if running.build_id == Some(rollout.target.build_id) {
        return Some(What::RunsTarget { evidence });
    }
    let base = &rollout.base;
    let is_base = running.build_id == Some(base.build_id);
    let build = match (running.build_id, &running.version, &running.app_elf_sha256) {
        (Some(_), ..) if is_base => base.name.clone(),
        (Some(id), None, _) => id.short(),
        // a version that several builds have: it may be the target
        (None, Some(version), _) if *version == rollout.target_version => return None,
        (_, Some(version), _) => version.clone(),
        (None, None, Some(hash)) => format!("a build with ELF {hash}"),
        (None, None, None) => return None,
    };
    let had_it = is_base || ran_before(rollout, device, running);
    Some(match (had_it, running.from == Kind::Upload.as_str()) {
        (true, false) => What::RunsOther { build, evidence },
        (true, true) => What::NamesOther { build, evidence },
        (false, false) => What::RunsUnknown {
            build,
            is_stored: running.build_id.is_some(),
            evidence,
        },
        // of a dump from long ago
        (false, true) => return None,
    })
}

/// Whether a device was seen to run the same before it got the target.
fn ran_before(rollout: &Rollout, device: &Device, running: &Running) -> bool {
    let target = Some(rollout.target.build_id);
    let mut builds = device.builds.iter();
    let got_at = builds
        .find(|seen| seen.build_id == target)
        .and_then(|seen| seen.delivered_at.as_deref())
        .unwrap_or(&rollout.started_at);
    device.builds.iter().any(|seen| {
        let is_it = match running.build_id {
            Some(_) => seen.build_id == running.build_id,
            None => {
                seen.build_id.is_none()
                    && seen.version == running.version
                    && seen.app_elf_sha256 == running.app_elf_sha256
            }
        };
        is_it && seen.certainty.is_some() && seen.first.as_str() < got_at
    })
}

/// Evidence of the register, as people read it after "running: ".
fn in_words(kind: &str) -> String {
    let words = match kind {
        "banner" => "boot messages on its console",
        "running" => "it says so (running=)",
        "update-client" => "headers of its update client",
        "upload" => "version of its upload",
        "hang-up" => "did not fetch it again",
        other => other,
    };
    words.to_owned()
}

/// Digits of another build that was delivered to a device since it takes no part, if it did
/// not get the target, or was seen to run it, after that.
fn got_another(rollout: &Rollout, member: &Member, device: &Device) -> Option<String> {
    let delivered = device.builds.iter().filter_map(|seen| {
        let at = seen
            .delivered_at
            .as_deref()
            .filter(|at| *at > &*member.at)?;
        Some((at, seen.build_id?))
    });
    let (at, last) = delivered.max_by_key(|(at, _)| *at)?;
    let target = rollout.target.build_id;
    let mut running = device.running.iter();
    let refused_it = running.any(|seen| seen.build_id == Some(target) && *seen.at > *at);
    (last != target && !refused_it).then(|| last.short())
}

fn has_since<'a>(device: &'a Device, rollout: &Rollout) -> Option<&'a str> {
    let target = Some(rollout.target.build_id);
    let mut builds = device.builds.iter();
    let seen = builds.find(|seen| seen.build_id == target)?;
    // what this rollout delivered is known otherwise
    seen.has_since
        .as_deref()
        .filter(|_| seen.delivered_at.is_none())
}
