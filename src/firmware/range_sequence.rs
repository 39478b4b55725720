//! A device that fetches an image in ranges gets all of them from one build,
//! also if another one becomes active meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::build_id::BuildId;
use crate::device::DeviceKey;

/// A sequence ends after this idle time.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Devices remembered at once.
const MAX_DEVICES: usize = 10_000;

/// Which build each device that fetches ranges began with.
#[derive(Debug, Default)]
pub struct Sequences(Mutex<HashMap<DeviceKey, Begun>>);

#[derive(Debug)]
struct Begun {
    build: BuildId,
    last: Instant,
}

impl Sequences {
    /// The build that a device is in the middle of.
    pub fn begun(&self, device: &DeviceKey, now: Instant) -> Option<BuildId> {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = begun.get(device)?;
        (now.duration_since(entry.last) < LONGEST_PAUSE).then_some(entry.build)
    }

    /// The build for a request of `device`, where `current` is the one to be
    /// served now. A range continues; a `HEAD` or a plain `GET` begins anew.
    pub(super) fn build_for(
        &self,
        device: &DeviceKey,
        is_range: bool,
        current: BuildId,
        now: Instant,
    ) -> BuildId {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.len() >= MAX_DEVICES {
            begun.retain(|_, begun| now.duration_since(begun.last) < LONGEST_PAUSE);
            if begun.len() >= MAX_DEVICES {
                begun.clear();
            }
        }
        let entry = begun.entry(device.clone()).or_insert_with(|| Begun {
            build: current,
            last: now,
        });
        if !is_range || now.duration_since(entry.last) >= LONGEST_PAUSE {
            entry.build = current;
        }
        entry.last = now;
        entry.build
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn ranges_stay_with_the_build_they_began_with() {
        let sequences = Sequences::default();
        let device: DeviceKey = "k1".parse().unwrap();
        let start = Instant::now();
        let build = |number: u8| BuildId::from(Sha256::of(&[number]));
        let ask = |is_range, current: u8, seconds| {
            let now = start + Duration::from_secs(seconds);
            sequences.build_for(&device, is_range, build(current), now)
        };
        assert_eq!(ask(false, 1, 0), build(1));
        assert_eq!(ask(true, 2, 10), build(1), "in the middle");
        assert_eq!(
            ask(true, 2, 600),
            build(1),
            "ten minutes are counted from the last range"
        );
        assert_eq!(ask(true, 2, 1200), build(2), "too long ago");
        assert_eq!(ask(true, 3, 1201), build(2));
        assert_eq!(ask(false, 3, 1202), build(3), "a plain request begins anew");
    }
}
