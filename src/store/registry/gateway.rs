//! The gateway itself: its id, and the machine it was last on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::clock::Moment;

/// `gateway.json`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Gateway {
    pub schema: u32,
    /// A UUID, made at the first start.
    pub gateway_id: String,
    /// `/etc/machine-id` of the machine; another one with the same gateway id
    /// is a cloned card or a restored backup.
    pub machine_id: String,
    pub created_at: String,
    /// The machine that this data was on before it came to `machine_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    /// What the wall clock showed at the beginning of a boot, microseconds
    /// since 1970, by boot id; noted once the clock was synchronised.
    pub boots: BTreeMap<String, i64>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Boots that are remembered; dumps of older ones keep the time they have.
const MAX_BOOTS: usize = 100;

impl Gateway {
    /// Notes when a boot began, as a synchronised clock tells now. Whether
    /// that is news: corrections of less than a second are not.
    pub fn note_boot(&mut self, now: &Moment) -> bool {
        let Some(began) = boot_began(now) else {
            return false;
        };
        let known = self.boots.get(&now.boot_id);
        if known.is_some_and(|known| (known - began).abs() < 1_000_000) {
            return false;
        }
        self.boots.insert(now.boot_id.clone(), began);
        while self.boots.len() > MAX_BOOTS {
            let oldest = self.boots.iter().min_by_key(|(_, began)| **began);
            let Some(oldest) = oldest.map(|(boot, _)| boot.clone()) else {
                break;
            };
            self.boots.remove(&oldest);
        }
        true
    }

    /// The time of something that happened `monotonic_us` after the beginning
    /// of a boot, if the clock was synchronised later in that boot.
    pub fn time_of(&self, boot_id: &str, monotonic_us: u64) -> Option<OffsetDateTime> {
        let since = i64::try_from(monotonic_us).ok()?;
        let at = self.boots.get(boot_id)?.checked_add(since)?;
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000).ok()
    }
}

fn boot_began(now: &Moment) -> Option<i64> {
    let wall = i64::try_from(now.wall.unix_timestamp_nanos() / 1000).ok()?;
    wall.checked_sub(i64::try_from(now.monotonic_us).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse;

    #[test]
    fn what_happened_before_the_clock_was_right_gets_its_time_later() {
        let mut gateway = Gateway::default();
        assert_eq!(gateway.time_of("b", 60_000_000), None);
        let synced = Moment {
            wall: parse("2026-01-01T00:10:00Z").unwrap(),
            monotonic_us: 600_000_000,
            boot_id: String::from("b"),
            synced: true,
        };
        assert!(gateway.note_boot(&synced));
        assert!(!gateway.note_boot(&synced));
        assert_eq!(
            gateway.time_of("b", 60_000_000),
            parse("2026-01-01T00:01:00Z")
        );
        assert_eq!(gateway.time_of("c", 60_000_000), None);
    }

    #[test]
    fn boots_are_bounded_and_the_oldest_go() {
        let mut gateway = Gateway::default();
        for n in 0..150u32 {
            gateway.note_boot(&Moment {
                wall: parse("2026-01-01T00:00:00Z").unwrap() + time::Duration::hours(n.into()),
                monotonic_us: 0,
                boot_id: format!("{n}"),
                synced: true,
            });
        }
        assert_eq!(gateway.boots.len(), MAX_BOOTS);
        assert!(gateway.boots.contains_key("149") && !gateway.boots.contains_key("0"));
    }
}
