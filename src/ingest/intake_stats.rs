//! Counts received dumps since the start.

use tokio::time::Instant;

use super::Origin;
use crate::clock::{Moment, iso8601};
use crate::store::coredumps::Source;

/// Dumps received since the start.
#[derive(Clone, Debug, Default)]
pub struct IntakeStats {
    /// Dumps that were stored.
    pub stored: u64,
    /// When the last one came, stored or counted, from whom, and how.
    pub last: Option<(String, String, Source)>,
    last_at: Option<Instant>,
}

impl IntakeStats {
    /// When the last one arrived, by the monotonic clock.
    pub fn last_at(&self) -> Option<Instant> {
        self.last_at
    }

    /// Notes one that came from `origin`; `kept` if it was stored, not only counted.
    pub fn note(&mut self, kept: bool, origin: &Origin) {
        let at = iso8601(Moment::now().wall);
        self.stored += u64::from(kept);
        self.last = Some((at, origin.device.to_string(), origin.source));
        self.last_at = Some(Instant::now());
    }
}
