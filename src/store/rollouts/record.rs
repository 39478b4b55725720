//! A rollout as it is stored: `rollouts/<id>.json`. The rules are in the module `rollouts`.
//!
//! Times named `.._s` are seconds on the rollout's own clock ([`Rollout::clock_s`]): it
//! runs while the daemon runs, so that a time without a daemon is never taken for a time
//! in which nothing went wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::member::Member;
use crate::build_id::BuildId;
use crate::config::{OnStop, Window};
use crate::device::{DeviceKey, ModelCode};

/// The schema this program writes.
pub const SCHEMA: u32 = 1;

/// A build, and what people called it when the rollout started.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NamedBuild {
    pub build_id: BuildId,
    pub name: String,
}

/// What a person asked for. Durations are seconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spec {
    /// Cumulative shares of the members, percent, rising.
    pub waves: Vec<f64>,
    pub canary_soak: u64,
    pub soak: u64,
    pub watch: u64,
    pub return_within: u64,
    /// Downloads at once.
    pub parallel: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Each wave waits for a person.
    pub gate: bool,
    /// Waves need devices that were heard again after their soak.
    pub confirmed: bool,
    pub on_stop: OnStop,
}

/// Where a rollout is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The canaries are updated.
    Canary,
    /// All canaries run it.
    Soaking,
    /// A later wave is updated; which one is the number of those released.
    Wave,
    /// All waves are over; the rules still hold.
    Watching,
    Done,
    Stopped,
    Cancelled,
}

/// A pause.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pause {
    pub why: String,
    /// Who paused it, or which rule.
    pub by: String,
    /// ISO 8601, UTC.
    pub at: String,
}

/// A wave.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Wave {
    /// Percent of the members; of the canaries as it comes out.
    pub share: f64,
    /// Members up to this one are in it or an earlier wave.
    pub members: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_s: Option<u64>,
    /// When its last device was soaked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_at: Option<String>,
    /// When the rollout was paused because too few of its devices run the target. Who
    /// resumes goes on without the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_few_at: Option<String>,
}

/// A decision, or what led to one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LogEntry {
    /// ISO 8601, UTC.
    pub at: String,
    /// Who: a person, or `rules`.
    pub by: String,
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceKey>,
}

/// A dump that is not judged yet.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Waiting {
    pub device: DeviceKey,
    pub since_s: u64,
}

/// A rollout.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rollout {
    pub schema: u32,
    /// `r` and a number.
    pub id: String,
    pub model: ModelCode,
    pub target: NamedBuild,
    /// The target's version, which other builds may have too.
    pub target_version: String,
    pub base: NamedBuild,
    /// Whether the target has symbols. Without, new crashes cannot be told for sure.
    pub has_symbols: bool,
    pub spec: Spec,
    pub started_at: String,
    pub started_by: String,
    pub phase: Phase,
    pub phase_s: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// A person asked for all waves at once; so many had been released before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finishing_from: Option<usize>,
    /// Why it was stopped or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What its end asks for (a block, another active build) is not done yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub effect_due: bool,
    /// After this nothing about it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Seconds that the daemon ran since the start.
    pub clock_s: u64,
    /// Nothing is offered before: the wall clock jumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_unsure_until_s: Option<u64>,
    /// When half of the other devices were last not heard: then it is the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_out_s: Option<u64>,
    /// In the order in which they are updated; canaries first.
    pub members: Vec<Member>,
    pub waves: Vec<Wave>,
    /// Dumps of the target that are not judged yet, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting: BTreeMap<String, Waiting>,
    pub log: Vec<LogEntry>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Rollout {
    /// One that nothing has happened in yet, of a target with symbols whose name is its
    /// version. Without an id, and by nobody.
    pub fn planned(
        model: ModelCode,
        target: NamedBuild,
        base: NamedBuild,
        spec: Spec,
        members: Vec<Member>,
        waves: Vec<Wave>,
        at: &str,
    ) -> Self {
        Self {
            schema: SCHEMA,
            id: String::new(),
            model,
            target_version: target.name.clone(),
            target,
            base,
            has_symbols: true,
            spec,
            started_at: at.to_owned(),
            started_by: String::new(),
            phase: Phase::Canary,
            phase_s: 0,
            paused: None,
            finishing_from: None,
            why: None,
            effect_due: false,
            ended_at: None,
            clock_s: 0,
            clock_unsure_until_s: None,
            network_out_s: None,
            members,
            waves,
            waiting: BTreeMap::new(),
            log: Vec::new(),
            extra: Map::new(),
        }
    }

    /// Waves that were released.
    pub fn released(&self) -> usize {
        let released = |wave: &&Wave| wave.released_s.is_some();
        self.waves.iter().filter(released).count()
    }

    /// Members in released waves.
    pub fn released_members(&self) -> usize {
        let last = self.released().checked_sub(1);
        let last = last.and_then(|last| self.waves.get(last));
        last.map_or(0, |wave| wave.members.min(self.members.len()))
    }

    /// Members of the wave that was released last, without those of earlier waves.
    pub fn latest_wave(&self) -> &[Member] {
        let before = self.released().checked_sub(2);
        let before = before.and_then(|before| self.waves.get(before));
        let from = before.map_or(0, |wave| wave.members);
        let members = self.members.get(from..self.released_members());
        members.unwrap_or_default()
    }

    /// Whether the one released wave is that of the canaries.
    pub fn is_canary_wave(&self) -> bool {
        self.released() <= 1
    }

    /// The member with this key.
    pub fn member(&self, device: &DeviceKey) -> Option<&Member> {
        self.members.iter().find(|member| member.device == *device)
    }

    /// Whether something may still happen.
    pub fn is_live(&self) -> bool {
        self.ended_at.is_none()
    }

    /// Whether the files of a build are needed: it is the target or the base.
    pub fn needs(&self, build: BuildId) -> bool {
        self.target.build_id == build || self.base.build_id == build
    }

    /// Whether the target may be given to somebody: neither stopped nor ended.
    pub fn is_offering(&self) -> bool {
        self.is_live() && !matches!(self.phase, Phase::Stopped | Phase::Cancelled)
    }
}
