//! Which groups people are told of: each once when it is new, and once when it is
//! back after it was resolved.

use std::collections::HashMap;

use super::counting::rough;
use super::register::Register;
use crate::digest::Sha256;
use crate::journal::Event;
use crate::store::crashes::{Group, Member};

/// An event that is due.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct News {
    /// It was resolved, and is seen in a newer build; otherwise it is new.
    pub is_back: bool,
    /// The same each time the event of this group is written.
    pub event_id: String,
    pub group: String,
    pub signature: String,
    pub model: Option<String>,
    pub device: Option<String>,
    /// A build's id, else its version.
    pub build: Option<String>,
    pub fingerprint: Option<String>,
}

impl News {
    /// Writes the event. `rollout` is the id of the rollout that gives its build out.
    pub fn say(&self, rollout: Option<&str>) {
        let (entry, what) = match self.is_back {
            false => (Event::CrashNew.entry(), "new crash"),
            true => (Event::CrashRegressed.entry(), "resolved crash is back"),
        };
        entry
            .maybe("CRASH", Some(&self.group))
            .maybe("SIGNATURE", Some(&self.signature))
            .maybe("EVENT_ID", Some(&self.event_id))
            .maybe("MODEL_CODE", self.model.as_ref())
            .maybe("DEVICE_KEY", self.device.as_ref())
            .maybe("BUILD", self.build.as_ref())
            .maybe("FINGERPRINT", self.fingerprint.as_ref())
            .maybe("ROLLOUT", rollout)
            .say(format_args!(
                "{what} {}: {} (model {}, device {}, build {}{})",
                self.group,
                self.signature,
                self.model.as_deref().unwrap_or("unknown"),
                self.device.as_deref().unwrap_or("unknown"),
                self.build.as_deref().map_or("unknown", short),
                rollout.map_or(String::new(), |id| format!(", rollout {id}")),
            ));
    }
}

/// As much of a build's id as screens show; a version as it is.
fn short(build: &str) -> &str {
    match build.len() {
        64 => build.get(..8).unwrap_or(build),
        _ => build,
    }
}

impl Register {
    /// What is due now. A group is new when a dump of it was decoded, or cannot be, or
    /// `is_overdue`; what is not to be told is noted as told.
    pub fn news(&mut self, is_overdue: impl Fn(&str) -> bool) -> Vec<News> {
        let is_due = |group: &&Group| {
            let mut members = group.fingerprints.values();
            let is_judged = members.any(|member| member.decoded) || is_overdue(&group.id);
            !group.announced && group.occurrences > 0 && is_judged
        };
        let due: Vec<&Group> = self.groups().filter(is_due).collect();
        let mut silent = Vec::new();
        let mut news = Vec::new();
        if !due.is_empty() {
            let earlier = Earlier::of(self.groups());
            for group in due {
                match earlier.had(group) {
                    true => silent.push(group.id.clone()),
                    false => news.push(new(group)),
                }
            }
        }
        news.extend(self.groups().filter_map(regressed));
        for id in silent {
            if let Some(group) = self.get_mut(&id) {
                group.announced = true;
            }
        }
        news
    }

    /// The event was written.
    pub fn told(&mut self, news: &News) {
        if let Some(group) = self.get_mut(&news.group) {
            match &mut group.regression {
                Some(regression) if news.is_back => regression.announced = true,
                _ => group.announced = true,
            }
        }
    }
}

/// Model, panic's words and task of a crash.
type Words<'a> = (Option<&'a str>, String, Option<&'a str>);

/// Without symbols every crash of a new build looks new. It is not if the model had a
/// crash with the same words in the same task in another build before.
pub(super) struct Earlier<'a>(HashMap<Words<'a>, Vec<&'a Member>>);

impl<'a> Earlier<'a> {
    pub(super) fn of(groups: impl Iterator<Item = &'a Group>) -> Self {
        let mut all: HashMap<Words<'a>, Vec<&Member>> = HashMap::new();
        for group in groups {
            for member in group.fingerprints.values() {
                all.entry(words(group, member)).or_default().push(member);
            }
        }
        Self(all)
    }

    pub(super) fn had(&self, group: &'a Group) -> bool {
        let members = || group.fingerprints.values();
        if members().any(|member| member.signature.is_some()) {
            return false;
        }
        members().any(|member| {
            let like = self.0.get(&words(group, member)).into_iter().flatten();
            like.take(MAX_LIKE).any(|other| {
                let is_mine = group.fingerprints.contains(&other.fingerprint);
                !is_mine && other.app_elf_sha256 != member.app_elf_sha256 && other.at < member.at
            })
        })
    }
}

/// Crashes with the same words that are looked at.
const MAX_LIKE: usize = 1000;

fn words<'a>(group: &'a Group, member: &'a Member) -> Words<'a> {
    let reason = member.panic_reason.as_deref().map(rough);
    (
        group.model.as_deref(),
        reason.unwrap_or_default(),
        member.task.as_deref(),
    )
}

fn new(group: &Group) -> News {
    let first = group.fingerprints.values().min_by_key(|member| member.at);
    let device = first
        .and_then(|member| member.devices.keys().next())
        .map(|key| &**key);
    News {
        is_back: false,
        event_id: event_id(&group.id, "new"),
        group: group.id.clone(),
        signature: group.signature.clone(),
        model: group.model.clone(),
        device: device.or(group.first_device.as_deref()).map(str::to_owned),
        build: first
            .and_then(|member| member.builds.first().or(member.version.as_ref()))
            .map(|build| build.to_string()),
        fingerprint: first.map(|member| member.fingerprint.to_string()),
    }
}

fn regressed(group: &Group) -> Option<News> {
    let regression = group
        .regression
        .as_ref()
        .filter(|regression| !regression.announced)?;
    let since = group.decided.as_ref().map_or(0, |decided| decided.number);
    Some(News {
        is_back: true,
        event_id: event_id(&group.id, &format!("regressed {since}")),
        device: Some(regression.device.clone()),
        build: Some(regression.build_id.clone()),
        fingerprint: None,
        ..new(group)
    })
}

/// Readers tell a repeated event by it.
fn event_id(group: &str, what: &str) -> String {
    Sha256::of_parts(&[group.as_bytes(), &[0], what.as_bytes()]).short(32)
}
