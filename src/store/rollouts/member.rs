//! A device of a rollout, as it is stored.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::device::DeviceKey;

/// Where a device is in the rollout.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// Its wave is not released.
    Held,
    /// It gets the target when it asks.
    Eligible,
    /// It was told of the target.
    Offered,
    Downloading,
    /// The whole image was delivered.
    Downloaded,
    Running,
    /// It ran the target for the soak.
    Soaked,
    Crashed,
    Looping,
    /// It runs another build again.
    Reverted,
    /// It was not heard after the delivery.
    Lost,
    /// It does not install the target.
    Refused,
    /// It is pinned to a build.
    Pinned,
    /// The target does not fit.
    Incompatible,
    /// It had the target before.
    HasIt,
    Retired,
    /// After a stop: it runs the base again.
    Back,
    /// After a stop: it did not come back.
    Stranded,
}

/// Which rule a device failed by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    NewCrash,
    Looping,
    Reverted,
    Lost,
    /// Nothing tells that it works.
    NoData,
}

impl Rule {
    /// Whether it counts towards a stop. The others only pause.
    pub fn stops(self) -> bool {
        matches!(self, Self::NewCrash | Self::Looping | Self::Reverted)
    }
}

/// Why a device failed, or is not counted as a success.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Failure {
    pub rule: Rule,
    /// In words.
    pub why: String,
    /// Id of the crash group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<String>,
    pub at: String,
    /// A person resumed the rollout knowing of it.
    #[serde(default)]
    pub accepted: bool,
}

/// A device of the rollout.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Member {
    pub device: DeviceKey,
    pub state: MemberState,
    /// Since when, ISO 8601, UTC.
    pub at: String,
    pub since_s: u64,
    /// What the state is concluded from, in words.
    pub evidence: String,
    #[serde(default)]
    pub canary: bool,
    /// Whether what happens to it decides anything: not for a board that is known by a
    /// fleet token alone, which anybody who has the token can invent.
    pub votes: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hw: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_s: Option<u64>,
    /// The last sign of a download of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_s: Option<u64>,
    /// The last whole delivery of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_s: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deliveries: u32,
    /// A download was under way when the daemon ended: all of it may have arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub maybe_delivered: bool,
    /// Since the last delivery, or while it runs the target: it was heard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heard_since: bool,
    /// Since the last delivery: it booted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub booted_since: bool,
    /// Since the last delivery: another build that it was seen to run, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_build: Option<String>,
    /// When it was first known to run the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_s: Option<u64>,
    /// It booted while it ran the target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebooted: bool,
    /// Its usual time between contacts, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_s: Option<u64>,
    /// Crashes of the target by known bugs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub known_crashes: u32,
    /// Where downloads of the target broke off, bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broke_off: Vec<u64>,
    /// Dumps up to this sequence number were judged.
    #[serde(default)]
    pub judged_to: u64,
    /// Of a soaked device: it was heard after the soak.
    #[serde(default)]
    pub confirmed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it was first told of the target, or began to download it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_s: Option<u64>,
    /// After a stop: all of the base was delivered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub took_base: bool,
    /// How often it did not fetch what it was told of, or a download came to nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_tries: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
    /// Of a pinned or retired device: its state apart from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<MemberState>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Member {
    /// A device of which nothing is known yet.
    pub fn new(
        device: DeviceKey,
        state: MemberState,
        evidence: &str,
        at: &str,
        canary: bool,
        votes: bool,
        hw: Option<String>,
    ) -> Self {
        Self {
            device,
            state,
            at: at.to_owned(),
            since_s: 0,
            evidence: evidence.to_owned(),
            canary,
            votes,
            hw,
            heard_s: None,
            asked_s: None,
            progress_s: None,
            delivered_s: None,
            deliveries: 0,
            maybe_delivered: false,
            heard_since: false,
            booted_since: false,
            other_build: None,
            ran_s: None,
            rebooted: false,
            usual_s: None,
            known_crashes: 0,
            broke_off: Vec::new(),
            judged_to: 0,
            confirmed: false,
            failure: None,
            tried_s: None,
            took_base: false,
            failed_tries: 0,
            pinned: state == MemberState::Pinned,
            retired: state == MemberState::Retired,
            before: None,
            extra: Map::new(),
        }
    }

    /// Its state apart from being pinned or retired.
    pub fn own_state(&self) -> MemberState {
        match self.state {
            MemberState::Pinned | MemberState::Retired => self.before.unwrap_or(self.state),
            state => state,
        }
    }

    /// It is known to run the target since `now`: it works after all.
    pub fn begins_to_run(&mut self, now: u64) {
        self.delivered_s.get_or_insert(now);
        self.progress_s = None;
        self.ran_s = Some(now);
        self.rebooted = false;
        self.other_build = None;
        self.failure = None;
    }

    /// Whether the device has the target from this gateway, as far as is known.
    pub fn got_it(&self) -> bool {
        self.delivered_s.is_some() || self.maybe_delivered
    }

    /// Whether it failed.
    pub fn is_failed(&self) -> bool {
        use MemberState::{Crashed, Looping, Lost, Reverted};
        matches!(self.own_state(), Crashed | Looping | Reverted | Lost)
    }

    /// Whether it takes no part.
    pub fn is_neutral(&self) -> bool {
        use MemberState::{HasIt, Incompatible, Pinned, Retired};
        matches!(self.state, Pinned | Incompatible | HasIt | Retired)
    }
}
