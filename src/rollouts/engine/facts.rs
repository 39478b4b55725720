//! What the rules need to know beside events: the other boards, and the rates of known bugs.

use super::Rollouts;
use crate::clock;
use crate::fleet::{build_use, contacts};
use crate::rollouts::evaluate::{Facts, GroupRate, Rates};
use crate::store::rollouts::{Member, MemberState, Rollout};

impl Rollouts {
    /// Collects them, as far as they are needed.
    pub(super) fn facts(&self, rollout: &Rollout, with_rates: bool) -> Facts {
        let mut facts = Facts {
            rates: with_rates.then(|| self.rates(rollout)),
            others_known: true,
            ..Facts::default()
        };
        let is_awaited =
            |member: &Member| member.state == MemberState::Downloaded || member.maybe_delivered;
        if rollout.members.iter().any(is_awaited) {
            self.others(rollout, &mut facts);
        }
        facts
    }

    /// Boards outside of the wave that is being updated that should have been heard by now.
    fn others(&self, rollout: &Rollout, facts: &mut Facts) {
        let wave = rollout.latest_wave();
        let now = clock::monotonic_us() / 1_000_000;
        let within = rollout.spec.return_within;
        for (key, device) in &self.store.registry.devices.read().devices {
            if wave.iter().any(|member| member.device == *key) {
                continue;
            }
            let Some(usual) = contacts::usual_interval(&device.contacts) else {
                continue;
            };
            if usual > within {
                continue;
            }
            facts.others_expected += 1;
            let heard = device.contacts.live.last_contact;
            if heard.is_none_or(|heard| now.saturating_sub(heard) > within) {
                facts.others_missed += 1;
            }
        }
    }

    fn rates(&self, rollout: &Rollout) -> Rates {
        let devices = self.store.registry.devices.read();
        let of = |build| {
            let used = build_use::of(devices.of_model(&rollout.model), build);
            let minutes = u32::try_from(used.seconds / 60).unwrap_or(u32::MAX);
            f64::from(minutes) / 60.0
        };
        let (target, base) = (rollout.target.build_id, rollout.base.build_id);
        let groups = self.crashes.compare(&target.to_string(), &base.to_string());
        Rates {
            target_hours: of(target),
            base_hours: of(base),
            groups: groups
                .into_iter()
                .map(|group| GroupRate {
                    group: group.id,
                    signature: group.signature,
                    target: group.now,
                    base: group.before,
                })
                .collect(),
        }
    }
}
