//! What is kept of a device's builds, contacts and boots. The rules are
//! in `fleet`; what is skipped here is known while the daemon runs only.

use serde::{Deserialize, Serialize};

use crate::build_id::BuildId;
use crate::store::open_enum::OpenEnum;

/// How sure it is which build a device runs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// It follows from what the device did, or from a name that others may share.
    Likely,
    /// The device named the image itself.
    Exact,
}

/// A build that a device ran, has or crashed with.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct BuildSeen {
    /// `None`: no stored build fits, or more than one.
    pub build_id: Option<BuildId>,
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_elf_sha256: Option<String>,
    /// When it was first and last known to run; of one that never ran, when it was
    /// first and last heard of.
    pub first: String,
    pub last: String,
    /// `None`: it is not known to have run.
    pub certainty: Option<OpenEnum<Certainty>>,
    /// The evidence behind the certainty.
    pub evidence: String,
    /// Seconds that it ran, as far as contacts show.
    #[serde(skip_serializing_if = "is_zero")]
    pub seconds: u64,
    /// When the device had all of its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_since: Option<String>,
    /// When all of it was delivered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crashed_at: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Boots on one day.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct DayBoots {
    /// `2026-02-11`
    pub day: String,
    pub boots: u32,
}

/// When a device is heard, and how often it boots.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Contacts {
    /// Seconds between the last contacts, newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<u32>,
    /// Days with a contact; not counted beyond what the rules need.
    pub days: u32,
    /// The last days with a contact, newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boots: Vec<DayBoots>,
    /// As the device reported it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_count: Option<u64>,
    #[serde(skip)]
    pub live: Live,
}

impl Contacts {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.days == 0
    }
}

/// Of the time since the daemon started, in seconds of the machine's own clock.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Live {
    pub last_contact: Option<u64>,
    /// The contact from which the next gap counts.
    pub gap_from: Option<u64>,
    /// When the device booted last, as far as it is known; before this machine did,
    /// it is negative.
    pub booted: Option<i64>,
    /// As it was reported last, and when.
    pub uptime: Option<u64>,
    pub counted_at: Option<u64>,
    /// Boots seen otherwise since the device reported its own count.
    pub boots_since_count: u64,
    /// The last boots that may be part of a boot loop.
    pub recent: Vec<RecentBoot>,
}

/// A boot that may be part of a boot loop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecentBoot {
    pub at: u64,
    /// Whether the reset's reason is known; then it was no wake from deep sleep.
    pub has_reason: bool,
}
