//! Devices that take no part for a while: pinned ones, retired ones, and those that are of
//! another model. What was known of them stays, and what is learned meanwhile is added.

use super::Work;
use crate::store::rollouts::{Member, MemberState, Phase};

fn is_out(member: &Member) -> bool {
    matches!(member.state, MemberState::Pinned | MemberState::Retired)
}

/// Whether a state says nothing but where its wave is: what it is by now follows from that.
fn is_of_its_wave(state: MemberState) -> bool {
    use MemberState::{Downloading, Eligible, Held, Offered, Pinned, Retired};
    // the last two: it took no part from the start
    matches!(
        state,
        Held | Eligible | Offered | Downloading | Pinned | Retired
    )
}

impl Work<'_> {
    /// Pins and retirements come and go; who takes part again is where it was.
    pub(super) fn takes_no_part(&mut self, at: usize, which: MemberState, yes: bool) {
        use MemberState::{Pinned, Retired};
        let (released, now) = (self.before_it(at), self.now.s);
        let Some(member) = self.member(at) else {
            return;
        };
        let was = (member.pinned, member.retired);
        member.pinned |= member.state == Pinned;
        member.retired |= member.state == Retired;
        match which {
            Retired => member.retired = yes,
            _ => member.pinned = yes,
        }
        let is_new = was != (member.pinned, member.retired);
        let was_out = is_out(member);
        let own = member.own_state();
        let (state, evidence) = match (member.retired, member.pinned) {
            (true, _) => (Retired, "retired"),
            (false, true) => (Pinned, "pinned"),
            (false, false) if !was_out => return,
            (false, false) if is_of_its_wave(own) => (released, "takes part again"),
            (false, false) => {
                // the time without it is neither soaked nor waited for
                let out = now.saturating_sub(member.since_s);
                for since in [&mut member.delivered_s, &mut member.ran_s] {
                    *since = since.map(|since| now.min(since.saturating_add(out)));
                }
                (own, "takes part again")
            }
        };
        member.before = match matches!(state, Pinned | Retired) {
            true if was_out => member.before,
            true => Some(own),
            false => None,
        };
        self.is_decision |= is_new;
        self.set(at, state, evidence);
    }

    /// A device that takes no part was seen to run the target, or another build. That is
    /// what its pin or its other model made of it: no success and no failure.
    pub(super) fn ran_meanwhile(&mut self, at: usize, is_target: bool) {
        use MemberState::{
            Back, Downloaded, HasIt, Held, Incompatible, Lost, Refused, Running, Soaked, Stranded,
        };
        let (took_it, now) = (self.took_it(at), self.now.s);
        let is_stopped = self.rollout.phase == Phase::Stopped;
        let Some(member) = self.member(at).filter(|member| is_out(member)) else {
            return;
        };
        let own = member.own_state();
        let (booted, ran) = (member.booted_since, member.ran_s.is_some());
        let next = match own {
            _ if is_stopped && !is_target => match member.got_it() && (booted || ran) {
                true => Back,
                false => own,
            },
            Downloaded | Lost | Refused | Back | Stranded if is_target => Running,
            own if is_target && (is_of_its_wave(own) || own == Incompatible) => match took_it {
                true => Running,
                false => HasIt,
            },
            Running | Soaked | HasIt if !is_target => Held,
            // until it boots it may wait for its night
            Downloaded | Lost if !is_target && booted => Held,
            own => own,
        };
        if next == own {
            return;
        }
        if next == Running {
            member.begins_to_run(now);
        }
        member.before = Some(next);
        self.is_decision = true;
    }

    /// A device that takes no part got all of the target.
    pub(super) fn delivered_meanwhile(&mut self, at: usize) {
        let is_untouched = |own| is_of_its_wave(own) || own == MemberState::HasIt;
        if let Some(member) = self.member(at)
            && is_out(member)
            && is_untouched(member.own_state())
        {
            member.before = Some(MemberState::Downloaded);
        }
    }
}
