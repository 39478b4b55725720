//! When a device should ask again whether there is firmware for it.

use std::time::Duration;

use crate::device::DeviceKey;
use crate::store::rollouts::{MemberState, Rollout};

/// While nothing is going on.
const USUALLY: Duration = Duration::from_secs(3600);
/// While a rollout waits for the device: it is updated soon, and seen to run what it got.
const IN_A_ROLLOUT: Duration = Duration::from_secs(600);

/// The time until a device's next question. It is a proposal: a device may ask whenever
/// it likes.
pub fn poll_after(rollout: Option<&Rollout>, device: &DeviceKey) -> Duration {
    let Some(rollout) = rollout.filter(|rollout| rollout.is_live()) else {
        return USUALLY;
    };
    let Some(member) = rollout.member(device) else {
        return USUALLY;
    };
    let is_waited_for = match member.state {
        MemberState::Soaked => !member.confirmed,
        MemberState::Back => false,
        _ => !member.is_neutral(),
    };
    match is_waited_for {
        // a short soak wants shorter answers
        true => Duration::from_secs(rollout.spec.soak / 4).clamp(SHORTEST, IN_A_ROLLOUT),
        false => USUALLY,
    }
}

/// No device is asked to come more often.
const SHORTEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_rollout_devices_ask_every_hour() {
        assert_eq!(poll_after(None, &"k1".parse().unwrap()).as_secs(), 3600);
    }
}
