//! `state/ports.json`: claimed and released ports, boards on them, and what has
//! to be finished after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::discover::Usb;
use super::port_plan::PortPlan;
use crate::clock::{self, Moment};
use crate::device::MacAddress;

/// The register of ports, by port id.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct PortsState {
    pub schema: u32,
    pub ports: BTreeMap<String, PortRecord>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The record of one port.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct PortRecord {
    /// Claimed by a person.
    pub claimed: bool,
    pub released: Option<Release>,
    /// Its board was reset into its bootloader and not yet back.
    pub in_bootloader: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<KnownBoard>,
    #[serde(
        rename = "unasked_reads",
        skip_serializing_if = "AutomaticReads::is_empty"
    )]
    pub automatic_reads: AutomaticReads,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The board on a port, as read from its bootloader.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KnownBoard {
    /// Twelve hex digits.
    pub mac: String,
    /// The adapter, as [`Usb::identity`]; another adapter means another board.
    /// Empty if the port is not on USB.
    pub adapter: String,
    /// The boot of the gateway for which this is valid, if adapters cannot be told
    /// apart: boards may be exchanged while the power is off.
    pub boot_id: Option<String>,
}

/// Crashes for which the flash was read automatically.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct AutomaticReads {
    /// Fingerprints, the oldest first.
    pub crashes: Vec<String>,
    pub last: Option<StoredMoment>,
}

impl AutomaticReads {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A moment as it is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StoredMoment {
    pub at: String,
    pub boot_id: String,
    pub monotonic_us: u64,
}

impl StoredMoment {
    /// This moment.
    pub fn of(now: &Moment) -> Self {
        Self {
            at: clock::iso8601(now.wall),
            boot_id: now.boot_id.clone(),
            monotonic_us: now.monotonic_us,
        }
    }

    /// The time since then; zero if the clock was set back.
    pub fn elapsed(&self, now: &Moment) -> Duration {
        let then = Moment {
            wall: clock::parse(&self.at).unwrap_or(now.wall),
            monotonic_us: self.monotonic_us,
            boot_id: self.boot_id.clone(),
            synced: false,
        };
        Duration::from_secs(now.seconds_since(&then).unwrap_or(0))
    }
}

/// A released port.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Release {
    /// For so long; `None`: until it is claimed.
    pub seconds: Option<u64>,
    /// Lent to one program; ends with it, or at the deadline.
    #[serde(default)]
    pub lent: bool,
    #[serde(flatten)]
    pub began: StoredMoment,
}

impl Release {
    /// A release that begins `now`.
    pub fn new(duration: Option<Duration>, lent: bool, now: &Moment) -> Self {
        Self {
            seconds: duration.map(|duration| duration.as_secs()),
            lent,
            began: StoredMoment::of(now),
        }
    }

    /// The time left: `None` without end, zero if it is over. Never longer than
    /// the release, also if the clock was set back.
    pub fn remaining(&self, now: &Moment) -> Option<Duration> {
        let whole = Duration::from_secs(self.seconds?);
        Some(whole.saturating_sub(self.began.elapsed(now)))
    }
}

impl PortsState {
    /// The port's record, made if it is new.
    pub fn ensure(&mut self, id: &str) -> &mut PortRecord {
        self.schema = 1;
        self.ports.entry(id.to_owned()).or_default()
    }

    /// A copy of the port's record.
    pub fn of(&self, id: &str) -> PortRecord {
        self.ports.get(id).cloned().unwrap_or_default()
    }

    /// The MAC address of the board on the port, if it was read once and no other
    /// board can be there unnoticed.
    pub fn mac(&self, plan: &PortPlan, boot_id: &str) -> Option<MacAddress> {
        let board = self.ports.get(&plan.id)?.board.as_ref()?;
        let counts = board.boot_id.as_ref().is_none_or(|boot| boot == boot_id);
        (counts && board.adapter == adapter(plan)).then(|| board.mac.parse().ok())?
    }

    /// Records which board is on the port; `None`: unknown.
    pub fn note_board(&mut self, plan: &PortPlan, mac: Option<MacAddress>) {
        let boot_id = (!plan.has_unique_adapter()).then(|| clock::boot_id().to_owned());
        self.ensure(&plan.id).board = mac.map(|mac| KnownBoard {
            mac: mac.to_string(),
            adapter: adapter(plan),
            boot_id,
        });
    }

    /// Removes ended releases and empty records.
    pub fn tidy(&mut self, now: &Moment) {
        for port in self.ports.values_mut() {
            if port
                .released
                .as_ref()
                .and_then(|release| release.remaining(now))
                == Some(Duration::ZERO)
            {
                port.released = None;
            }
        }
        self.ports.retain(|_, port| *port != PortRecord::default());
    }
}

fn adapter(plan: &PortPlan) -> String {
    plan.usb.as_ref().map(Usb::identity).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: &str, boot_id: &str, seconds: u64) -> Moment {
        Moment {
            wall: clock::parse(wall).unwrap(),
            monotonic_us: seconds * 1_000_000,
            boot_id: boot_id.to_owned(),
            synced: true,
        }
    }

    #[test]
    fn a_release_ends_at_its_deadline_over_restarts_and_wrong_clocks() {
        let began = moment("2126-02-11T14:00:00Z", "a", 100);
        let release = Release::new(Some(Duration::from_secs(600)), false, &began);
        for (now, remaining) in [
            (moment("2126-02-11T14:00:00Z", "a", 160), 540),
            (moment("1970-01-01T00:00:00Z", "a", 160), 540),
            (moment("2126-02-11T14:08:00Z", "b", 5), 120),
            (moment("2126-02-11T15:08:00Z", "b", 5), 0),
            (moment("1970-01-01T00:00:00Z", "b", 5), 600),
        ] {
            let left = release.remaining(&now);
            assert_eq!(left, Some(Duration::from_secs(remaining)), "{now:?}");
        }
        assert_eq!(Release::new(None, false, &began).remaining(&began), None);
    }

    #[test]
    fn what_is_over_is_forgotten_and_unknown_fields_survive() {
        let text = r#"{"schema":1,"ports":{"1-1":{"claimed":true,"later":7,"unasked_reads":{"crashes":["a"]}},"1-2":{"claimed":false}},"more":1}"#;
        let mut state: PortsState = serde_json::from_str(text).unwrap();
        let began = moment("2026-02-11T14:00:00Z", "a", 100);
        state.ensure("1-3").released =
            Some(Release::new(Some(Duration::from_secs(5)), true, &began));
        state.ensure("1-4").released = Some(Release::new(None, false, &began));
        state.tidy(&moment("2026-02-11T14:00:09Z", "a", 109));
        assert_eq!(state.ports.keys().collect::<Vec<_>>(), ["1-1", "1-4"]);
        let again = serde_json::to_value(&state).unwrap();
        assert_eq!(
            (&again["more"], &again["ports"]["1-1"]["later"]),
            (&1.into(), &7.into())
        );
        assert_eq!(state.of("1-1").automatic_reads.crashes, ["a"]);
    }

    #[test]
    fn a_board_is_known_as_long_as_another_would_be_noticed() {
        let plan = |id: &str, serial: &str| PortPlan {
            usb: Some(Usb {
                vid: 0x10c4,
                pid: 0xea60,
                serial: Some(serial.to_owned()),
                ..Usb::default()
            }),
            ..PortPlan::configured(id)
        };
        let (own, shared) = (plan("1-2", "A6008isP"), plan("1-3", "0001"));
        let mac = "30:AE:A4:4B:41:7C".parse().ok();
        let mut state = PortsState::default();
        for plan in [&own, &shared] {
            state.note_board(plan, mac);
        }
        let text = serde_json::to_value(state).unwrap();
        let state: PortsState = serde_json::from_value(text).unwrap();
        let here = clock::boot_id();
        for (plan, boot_id, known) in [
            (&own, here, mac),
            (&own, "another", mac),
            (&plan("1-2", "A6008isQ"), here, None),
            (&plan("1-3", "A6008isP"), here, None),
            (&shared, here, mac),
            (&shared, "another", None),
        ] {
            assert_eq!(state.mac(plan, boot_id), known, "{plan:?}");
        }
    }
}
