//! Boots whose clock became right: what was stored before that gets its true
//! time from them.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use super::Registry;
use crate::clock::{Moment, iso8601, parse};
use crate::store::Result;

/// `clocks.json`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Clocks {
    pub schema: u32,
    /// When each boot began, RFC 3339, by the kernel's boot id.
    pub boots: BTreeMap<String, String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Clocks {
    /// Whether `now` would teach anything: its clock is right, and its boot is
    /// not known.
    pub fn is_news(&self, now: &Moment) -> bool {
        now.synced && !self.boots.contains_key(&now.boot_id)
    }

    /// Remembers when the boot of a moment with a right clock began.
    pub fn learn(&mut self, now: &Moment) {
        let Some(began) = moved(now.wall, now.monotonic_us, false) else {
            return;
        };
        self.schema = 1;
        self.boots.insert(now.boot_id.clone(), iso8601(began));
        while self.boots.len() > MOST_BOOTS {
            let oldest = self.boots.iter().min_by_key(|(_, began)| *began);
            let Some(oldest) = oldest.map(|(boot, _)| boot.clone()) else {
                return;
            };
            self.boots.remove(&oldest);
        }
    }

    /// The true time, RFC 3339, of a moment of which only the boot and the
    /// microseconds since then can be believed; `None` while that boot's clock
    /// was never right.
    pub fn corrected(&self, boot_id: &str, monotonic_us: u64) -> Option<String> {
        let began = parse(self.boots.get(boot_id)?)?;
        Some(iso8601(moved(began, monotonic_us, true)?))
    }
}

impl Registry {
    /// Notes when this boot began, as soon as its clock is right.
    ///
    /// # Errors
    /// What writing says.
    pub fn learn_clock(&self, now: &Moment) -> Result<()> {
        if !self.clocks.read().is_news(now) {
            return Ok(());
        }
        let learnt = self.clocks.change(|clocks| {
            clocks.learn(now);
            Ok::<_, Infallible>(())
        });
        learnt.map(drop)
    }
}

fn moved(at: OffsetDateTime, microseconds: u64, later: bool) -> Option<OffsetDateTime> {
    let duration = Duration::microseconds(i64::try_from(microseconds).ok()?);
    match later {
        true => at.checked_add(duration),
        false => at.checked_sub(duration),
    }
}

/// Boots that are remembered; a Pi that is switched off every night has one a day.
const MOST_BOOTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: &str, boot: &str, monotonic_us: u64) -> Moment {
        Moment {
            wall: parse(wall).unwrap(),
            monotonic_us,
            boot_id: boot.to_owned(),
            synced: true,
        }
    }

    #[test]
    fn a_moment_before_the_sync_gets_its_time_from_the_boot_it_belongs_to() {
        let mut clocks = Clocks::default();
        let now = moment("2026-02-11T14:00:00Z", "a", 600_000_000);
        assert!(clocks.is_news(&now));
        clocks.learn(&now);
        assert!(!clocks.is_news(&now));
        assert_eq!(
            clocks.corrected("a", 60_000_000).as_deref(),
            Some("2026-02-11T13:51:00.000000Z")
        );
        assert_eq!(clocks.corrected("b", 60_000_000), None);
        assert_eq!(clocks.corrected("a", u64::MAX), None);
    }

    #[test]
    fn a_clock_that_is_not_right_teaches_nothing() {
        let mut now = moment("1970-01-01T00:01:00Z", "a", 60_000_000);
        now.synced = false;
        assert!(!Clocks::default().is_news(&now));
    }

    #[test]
    fn the_oldest_boots_are_forgotten() {
        let mut clocks = Clocks::default();
        for boot in 0..MOST_BOOTS as u64 + 1 {
            let wall = format!("2026-02-11T14:{:02}:00Z", boot % 60);
            clocks.learn(&moment(&wall, &format!("{boot}"), 1_000_000_000 - boot));
        }
        assert_eq!(clocks.boots.len(), MOST_BOOTS);
    }
}
