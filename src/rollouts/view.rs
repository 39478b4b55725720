//! A rollout as answers show it.

use super::evaluate::Now;
use super::sentence;
use super::serve::wave_of;
use super::spec::shown;
use crate::api::rollouts as api;
use crate::config::OnStop;
use crate::store::rollouts::{Member, MemberState, Rollout, Rule, Spec};

/// Its line in a list. `local` shows a time as people at the site read it.
pub(super) fn summary(
    rollout: &Rollout,
    now: Now<'_>,
    local: impl Fn(&str) -> String,
) -> api::Summary {
    let count = |is_it: &dyn Fn(&Member) -> bool| {
        rollout
            .members
            .iter()
            .filter(|member| is_it(member))
            .count() as u64
    };
    let soaked = |member: &Member| member.state == MemberState::Soaked;
    let good = rollout
        .members
        .iter()
        .filter(|member| soaked(member) && member.votes);
    let good = good.count();
    api::Summary {
        id: rollout.id.clone(),
        model: rollout.model.to_string(),
        target: rollout.target.build_id.to_string(),
        target_name: rollout.target.name.clone(),
        base: rollout.base.build_id.to_string(),
        base_name: rollout.base.name.clone(),
        state: sentence::state(rollout, now),
        why: sentence::why(rollout, now),
        summary: sentence::sentence(rollout, now, local),
        started_at: rollout.started_at.clone(),
        started_by: rollout.started_by.clone(),
        ended_at: rollout.ended_at.clone(),
        unsaved: false,
        devices: rollout.members.len() as u64,
        released: rollout.released_members() as u64,
        confirmed: count(&|member| soaked(member) && member.confirmed),
        presumed: count(&|member| soaked(member) && !member.confirmed),
        failed: count(&has_failed),
        true_rate_up_to: (sentence::true_rate_up_to(good) * 10.0).round() / 10.0,
    }
}

/// Whether it failed; also of one that is back since, or not.
fn has_failed(member: &Member) -> bool {
    let failure = member.failure.as_ref();
    let by_rule = failure.is_some_and(|failure| failure.rule != Rule::NoData);
    let is_after_stop = matches!(member.state, MemberState::Back | MemberState::Stranded);
    member.is_failed() || (is_after_stop && by_rule)
}

/// All of it.
pub(super) fn detail(
    rollout: &Rollout,
    now: Now<'_>,
    local: impl Fn(&str) -> String,
) -> api::Rollout {
    let waves = rollout.waves.iter().map(|wave| api::Wave {
        share: wave.share,
        released_at: wave.released_at.clone(),
        over_at: wave.over_at.clone(),
        members: wave.members as u64,
    });
    let members = rollout.members.iter().map(|one| member(rollout, one));
    let log = rollout.log.iter().map(|entry| api::LogEntry {
        at: entry.at.clone(),
        by: entry.by.clone(),
        what: entry.what.clone(),
        device: entry.device.as_ref().map(ToString::to_string),
    });
    api::Rollout {
        settings: settings(&rollout.spec),
        waves: waves.collect(),
        members: members.collect(),
        log: log.collect(),
        summary: summary(rollout, now, local),
    }
}

fn settings(spec: &Spec) -> api::Settings {
    api::Settings {
        canary_soak: shown(spec.canary_soak),
        soak: shown(spec.soak),
        watch: shown(spec.watch),
        return_within: shown(spec.return_within),
        parallel: spec.parallel,
        window: spec.window.map(|window| window.to_string()),
        gate: spec.gate,
        confirmed: spec.confirmed,
        on_stop: String::from(match spec.on_stop {
            OnStop::Back => "back",
            OnStop::Stay => "stay",
        }),
    }
}

fn member(rollout: &Rollout, member: &Member) -> api::Member {
    let failure = member.failure.as_ref();
    api::Member {
        device: member.device.to_string(),
        state: member.state.as_str().to_owned(),
        evidence: member.evidence.clone(),
        at: member.at.clone(),
        wave: wave_of(rollout, member) as u64,
        canary: member.canary,
        votes: member.votes,
        confirmed: member.confirmed,
        crash: failure.and_then(|failure| failure.crash.clone()),
        advice: None,
    }
}
