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

/// What of an image a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// Its head alone, or all of it by a plain `GET`.
    Whole,
    /// A range from the first byte on.
    First,
    /// Any other range.
    Later,
}

/// Which build each device that fetches ranges began with.
#[derive(Debug, Default)]
pub struct Sequences(Mutex<HashMap<DeviceKey, Begun>>);

#[derive(Debug)]
struct Begun {
    build: BuildId,
    last: Instant,
    /// It was sent the first range.
    has_first: bool,
}

impl Begun {
    /// Whether a request goes on with it. Clients that resume poll by a range from the first
    /// byte on: that one begins anew, unless it is the first after a `HEAD`.
    fn goes_on(&self, part: Part, now: Instant) -> bool {
        let is_next = match part {
            Part::Whole => false,
            Part::First => !self.has_first,
            Part::Later => true,
        };
        is_next && now.duration_since(self.last) < LONGEST_PAUSE
    }
}

impl Sequences {
    /// The build that a request of `device` goes on with.
    pub fn begun(&self, device: &DeviceKey, part: Part, now: Instant) -> Option<BuildId> {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = begun.get(device)?;
        entry.goes_on(part, now).then_some(entry.build)
    }

    /// The build for a request of `device`, where `current` is the one to be
    /// served now.
    pub(super) fn build_for(
        &self,
        device: &DeviceKey,
        part: Part,
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
            has_first: false,
        });
        if !entry.goes_on(part, now) {
            (entry.build, entry.has_first) = (current, false);
        }
        entry.has_first |= part == Part::First;
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
        let ask = |part, current: u8, seconds| {
            let now = start + Duration::from_secs(seconds);
            sequences.build_for(&device, part, build(current), now)
        };
        use Part::{First, Later, Whole};
        assert_eq!(ask(Whole, 1, 0), build(1));
        assert_eq!(ask(First, 2, 10), build(1), "of what the HEAD said");
        assert_eq!(ask(Later, 2, 20), build(1), "in the middle");
        assert_eq!(
            ask(Later, 2, 610),
            build(1),
            "ten minutes are counted from the last range"
        );
        assert_eq!(ask(Later, 2, 1210), build(2), "too long ago");
        assert_eq!(ask(Later, 3, 1211), build(2));
        assert_eq!(ask(First, 3, 1212), build(2), "the first one");
        assert_eq!(ask(First, 3, 1213), build(3), "it begins anew");
        assert_eq!(ask(Later, 4, 1214), build(3));
        assert_eq!(ask(Whole, 4, 1215), build(4), "a plain request begins anew");
    }
}
