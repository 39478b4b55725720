//! A device that fetches an image in ranges gets all of them from one build,
//! also if another one becomes active meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::device::DeviceKey;

/// A sequence that was silent for longer begins anew.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Devices remembered at once.
const MAX_DEVICES: usize = 10_000;

/// Which build each device that fetches ranges began with.
#[derive(Debug, Default)]
pub struct Sequences(Mutex<HashMap<DeviceKey, Begun>>);

#[derive(Debug)]
struct Begun {
    build: String,
    last: Instant,
}

impl Sequences {
    /// The build for a request of `device`, where `current` is the one to be
    /// served now. A range continues; a `HEAD` or a plain `GET` begins anew.
    pub fn build_for(
        &self,
        device: &DeviceKey,
        is_range: bool,
        current: &str,
        now: Instant,
    ) -> String {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.len() >= MAX_DEVICES {
            begun.retain(|_, begun| now.duration_since(begun.last) < LONGEST_PAUSE);
            if begun.len() >= MAX_DEVICES {
                begun.clear();
            }
        }
        let entry = begun.entry(device.clone()).or_insert_with(|| Begun {
            build: current.to_owned(),
            last: now,
        });
        if !is_range || now.duration_since(entry.last) >= LONGEST_PAUSE {
            current.clone_into(&mut entry.build);
        }
        entry.last = now;
        entry.build.clone()
    }

    /// Follows a build whose name changed.
    pub fn rename(&self, from: &str, to: &str) {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for begun in begun.values_mut().filter(|begun| begun.build == from) {
            to.clone_into(&mut begun.build);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_with_the_build_they_began_with() {
        let sequences = Sequences::default();
        let device: DeviceKey = "k1".parse().unwrap();
        let start = Instant::now();
        let ask = |is_range, current: &str, seconds| {
            let now = start + Duration::from_secs(seconds);
            sequences.build_for(&device, is_range, current, now)
        };
        assert_eq!(ask(false, "1", 0), "1");
        assert_eq!(ask(true, "2", 10), "1", "in the middle");
        assert_eq!(
            ask(true, "2", 600),
            "1",
            "ten minutes are counted from the last range"
        );
        assert_eq!(ask(true, "2", 1200), "2", "too long ago");
        assert_eq!(ask(true, "3", 1201), "2");
        assert_eq!(ask(false, "3", 1202), "3", "a plain request begins anew");
    }
}
