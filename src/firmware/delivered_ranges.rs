//! Which devices that fetch an image in ranges have got all of it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::build_id::BuildId;
use crate::device::DeviceKey;

/// A device that fetches nothing for so long is forgotten.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// Devices remembered at once.
const MAX_DEVICES: usize = 10_000;

/// How much of a build each device has got, from its beginning.
#[derive(Debug, Default)]
pub struct DeliveredRanges(Mutex<HashMap<DeviceKey, Got>>);

#[derive(Debug)]
struct Got {
    build: BuildId,
    bytes: u64,
    last: Instant,
}

impl DeliveredRanges {
    /// Bytes from `first` to `last` were delivered; whether the device has all of the
    /// image's `size` bytes by that.
    pub fn note(
        &self,
        device: &DeviceKey,
        build: BuildId,
        (first, last): (u64, u64),
        size: u64,
        now: Instant,
    ) -> bool {
        let mut got = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if got.len() >= MAX_DEVICES {
            got.retain(|_, got| now.duration_since(got.last) < LONGEST_PAUSE);
            if got.len() >= MAX_DEVICES {
                got.clear();
            }
        }
        let entry = got.entry(device.clone()).or_insert_with(|| Got {
            build,
            bytes: 0,
            last: now,
        });
        if entry.build != build || first == 0 {
            (entry.build, entry.bytes) = (build, 0);
        }
        entry.last = now;
        if first <= entry.bytes {
            entry.bytes = entry.bytes.max(last.saturating_add(1));
        }
        let is_whole = entry.bytes >= size;
        if is_whole {
            got.remove(device);
        }
        is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn an_image_is_delivered_once_its_ranges_are_without_a_gap() {
        let device: DeviceKey = "k1".parse().unwrap();
        let build = |number: u8| BuildId::from(Sha256::of(&[number]));
        for (ranges, expected) in [
            (vec![(1, 0, 49), (1, 50, 99)], vec![false, true]),
            (vec![(1, 0, 49), (1, 40, 99)], vec![false, true]),
            (vec![(1, 0, 99), (1, 0, 99)], vec![true, true]),
            (vec![(1, 50, 99)], vec![false]),
            (vec![(1, 0, 48), (1, 50, 99)], vec![false, false]),
            (vec![(1, 0, 49), (2, 50, 99)], vec![false, false]),
            (
                vec![(1, 0, 49), (1, 0, 9), (1, 50, 99)],
                vec![false, false, false],
            ),
        ] {
            let delivered = DeliveredRanges::default();
            let now = Instant::now();
            let found: Vec<bool> = ranges
                .iter()
                .map(|(number, first, last)| {
                    delivered.note(&device, build(*number), (*first, *last), 100, now)
                })
                .collect();
            assert_eq!(found, expected, "{ranges:?}");
        }
    }
}
