//! Which groups people are told of: each once when it is new, and once when it is
//! back after it was resolved.

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
    /// Writes the event.
    pub fn say(&self) {
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
            .say(format_args!(
                "{what} {}: {} (model {}, device {}, build {})",
                self.group,
                self.signature,
                self.model.as_deref().unwrap_or("unknown"),
                self.device.as_deref().unwrap_or("unknown"),
                self.build.as_deref().map_or("unknown", short),
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
    /// What is due now, taken as told from now on. A group is new when a dump of it
    /// was decoded, or cannot be, or `is_overdue`.
    pub fn news(&mut self, is_overdue: impl Fn(&str) -> bool) -> Vec<News> {
        let mut due: Vec<(String, Option<News>)> = Vec::new();
        for group in self.groups.values() {
            if !group.announced && group.occurrences > 0 {
                let is_judged = group.fingerprints.values().any(|member| member.decoded);
                if is_judged || is_overdue(&group.id) {
                    let news = (!self.is_known_crash(group)).then(|| new(group));
                    due.push((group.id.clone(), news));
                }
            }
            if group
                .regression
                .as_ref()
                .is_some_and(|regression| !regression.announced)
            {
                due.push((group.id.clone(), regressed(group)));
            }
        }
        let mut news = Vec::new();
        for (id, event) in due {
            if let Some(group) = self.get_mut(&id) {
                let is_back = event.as_ref().is_some_and(|news| news.is_back);
                match &mut group.regression {
                    Some(regression) if is_back => regression.announced = true,
                    _ => group.announced = true,
                }
            }
            news.extend(event);
        }
        news
    }

    /// Without symbols every crash of a new build looks new. It is not if the model
    /// had a crash with the same words in the same task in another build before.
    fn is_known_crash(&self, group: &Group) -> bool {
        let members = || group.fingerprints.values();
        if members().any(|member| member.signature.is_some()) {
            return false;
        }
        let is_like = |other: &Member| {
            members().any(|member| {
                let words = |member: &Member| member.panic_reason.as_deref().map(rough);
                words(member) == words(other)
                    && member.task == other.task
                    && member.app_elf_sha256 != other.app_elf_sha256
                    && other.at < member.at
            })
        };
        let mut others = self
            .groups
            .values()
            .filter(|other| other.id != group.id && other.model == group.model);
        others.any(|other| other.fingerprints.values().any(is_like))
    }
}

fn new(group: &Group) -> News {
    let first = group.fingerprints.values().min_by_key(|member| member.at);
    let device = first.and_then(|member| member.devices.keys().next());
    News {
        is_back: false,
        event_id: event_id(&group.id, "new"),
        group: group.id.clone(),
        signature: group.signature.clone(),
        model: group.model.clone(),
        device: device.or(group.first_device.as_ref()).cloned(),
        build: first
            .and_then(|member| member.builds.first().or(member.version.as_ref()))
            .cloned(),
        fingerprint: first.map(|member| member.fingerprint.clone()),
    }
}

fn regressed(group: &Group) -> Option<News> {
    let regression = group.regression.as_ref()?;
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
