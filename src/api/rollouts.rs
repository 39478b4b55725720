//! Rollouts: a build goes out in waves, and is taken back by itself.

use serde::{Deserialize, Serialize};

/// The start of a rollout. What is absent is as `[rollouts]` of the configuration says.
/// Durations are text: `90s`, `30m`, `24h`, `7d`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    pub model: String,
    /// A version, `version~hash8`, or 8 and more digits of a build's id.
    pub build: String,
    /// How many canaries, or the keys of devices, separated by commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Rising shares of the devices: `10%,50%,100%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waves: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_soak: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_within: Option<String>,
    /// Downloads at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// When downloads may begin: `01:00-05:00`, the gateway's local time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Each wave after the canaries waits for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<bool>,
    /// Waves need devices that were heard after their soak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<bool>,
    /// `back` or `stay`: whether devices that got a stopped build go back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_stop: Option<String>,
    /// A build that the active one cannot replace again is wanted.
    pub no_way_back: bool,
    /// Only says what would happen.
    pub dry_run: bool,
}

/// A number, or keys of devices.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Canary {
    Count(u32),
    Keys(Vec<String>),
    Text(String),
}

/// Body of `stop`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Command {
    /// Why it is stopped; the block says it too.
    pub why: Option<String>,
}

/// What was started, or would be.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Started {
    /// One sentence each.
    pub warnings: Vec<String>,
    pub dry_run: bool,
    #[serde(flatten)]
    pub rollout: Rollout,
}

/// Rollouts, newest first.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct List {
    pub rollouts: Vec<Summary>,
    /// Always `null`: the list is complete.
    pub next_cursor: Option<String>,
}

/// A rollout in a list.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Summary {
    /// Such as `r7`.
    pub id: String,
    pub model: String,
    /// Id of the build that goes out.
    pub target: String,
    /// What people call it.
    pub target_name: String,
    /// Id of the build that was active at the start.
    pub base: String,
    pub base_name: String,
    /// `canary`, `soaking`, `wave 2`, `watching`, `done`, `waiting`, `paused`, `stopped`, `cancelled`.
    pub state: String,
    /// Why it is paused, waiting, stopped or cancelled.
    pub why: Option<String>,
    /// How it is and what to do, in sentences.
    pub summary: String,
    /// ISO 8601, UTC.
    pub started_at: String,
    pub started_by: String,
    pub ended_at: Option<String>,
    /// What was decided last is in force, but could not be written: a restart undoes it.
    pub unsaved: bool,
    /// Number of devices in it.
    pub devices: u64,
    /// Of these, in released waves.
    pub released: u64,
    /// Heard again after their soak without a failure.
    pub confirmed: u64,
    /// Seen on the build once, and no crash and no boot since.
    pub presumed: u64,
    pub failed: u64,
    /// What no failure among these devices leaves possible: the rate of bad devices is at
    /// most so many percent, at 95 %.
    pub true_rate_up_to: f64,
}

/// A rollout.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Rollout {
    #[serde(flatten)]
    pub summary: Summary,
    pub settings: Settings,
    pub waves: Vec<Wave>,
    /// In the order in which they are updated.
    pub members: Vec<Member>,
    /// Oldest first.
    pub log: Vec<LogEntry>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    pub canary_soak: String,
    pub soak: String,
    pub watch: String,
    pub return_within: String,
    pub parallel: u32,
    pub window: Option<String>,
    pub gate: bool,
    pub confirmed: bool,
    pub on_stop: String,
}

/// A wave; the first one is that of the canaries.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Wave {
    /// Percent of all devices, those of earlier waves included.
    pub share: f64,
    pub released_at: Option<String>,
    pub over_at: Option<String>,
    /// Number of devices in it and earlier waves.
    pub members: u64,
}

/// A device of the rollout.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Member {
    pub device: String,
    /// `held`, `eligible`, `offered`, `downloading`, `downloaded`, `running`, `soaked`;
    /// `crashed`, `looping`, `reverted`, `lost`, `refused`; `pinned`, `incompatible`,
    /// `has-it`, `retired`; after a stop `back`, `stranded`.
    pub state: String,
    /// What the state is concluded from.
    pub evidence: String,
    /// Since when, ISO 8601, UTC.
    pub at: String,
    /// Its wave, counted from 1.
    pub wave: u64,
    pub canary: bool,
    /// Whether what happens to it decides anything.
    pub votes: bool,
    /// Of a soaked device: whether it was heard after the soak.
    pub confirmed: bool,
    /// Id of the crash group that it failed by.
    pub crash: Option<String>,
    /// What a person can do for a device that does not come back.
    pub advice: Option<String>,
}

/// A decision, or what led to one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LogEntry {
    /// ISO 8601, UTC.
    pub at: String,
    /// A person, or `rules`.
    pub by: String,
    pub what: String,
    pub device: Option<String>,
}
