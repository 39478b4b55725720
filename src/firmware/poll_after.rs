//! When a device should ask again whether there is firmware for it.

use std::time::Duration;

/// While nothing is going on.
const USUALLY: Duration = Duration::from_secs(3600);

/// The time until a device's next question. It is a proposal: a device may ask whenever
/// it likes.
pub fn poll_after() -> Duration {
    USUALLY
}
