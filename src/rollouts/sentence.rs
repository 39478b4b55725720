//! What a technician reads first: one or two sentences that say how a rollout is and what
//! to do.

use super::evaluate::Now;
use super::serve::{Why, waits_for};
use super::spec::shown;
use crate::config::OnStop;
use crate::store::rollouts::{Member, MemberState, Phase, Rollout};

/// Names that are listed.
const NAMED: usize = 3;

/// The word for where a rollout is: `canary`, `wave 2`, `paused`.
pub(super) fn state(rollout: &Rollout, now: Now<'_>) -> String {
    let word = match rollout.phase {
        Phase::Done => "done",
        Phase::Stopped => "stopped",
        Phase::Cancelled => "cancelled",
        _ if rollout.paused.is_some() => "paused",
        _ if waits_for(rollout, now).is_some() => "waiting",
        Phase::Canary => "canary",
        Phase::Soaking => "soaking",
        Phase::Watching => "watching",
        Phase::Wave => return format!("wave {}", rollout.released()),
    };
    word.to_owned()
}

/// Why it is paused, waiting, stopped or cancelled.
pub(super) fn why(rollout: &Rollout, now: Now<'_>) -> Option<String> {
    match rollout.phase {
        Phase::Stopped | Phase::Cancelled => rollout.why.clone(),
        Phase::Done => None,
        _ => match &rollout.paused {
            Some(pause) => Some(pause.why.clone()),
            None => waits_for(rollout, now).map(|why| why.to_string()),
        },
    }
}

/// How sure it is that a build is good: the highest rate of bad devices, percent, that no
/// failure among `devices` leaves possible at 95 %.
pub(super) fn true_rate_up_to(devices: usize) -> f64 {
    let devices = f64::from(u32::try_from(devices).unwrap_or(u32::MAX));
    match devices > 0.0 {
        true => (1.0 - 0.05_f64.powf(devices.recip())) * 100.0,
        false => 100.0,
    }
}

/// The sentences. `local` shows a time (ISO 8601) as people at the site read it.
pub(super) fn sentence(rollout: &Rollout, now: Now<'_>, local: impl Fn(&str) -> String) -> String {
    let target = &rollout.target.name;
    match rollout.phase {
        Phase::Stopped => stopped(rollout, now, &local),
        Phase::Cancelled => format!(
            "Cancelled {}: no device was offered {target}.",
            local(rollout.ended_at.as_deref().unwrap_or(&rollout.started_at))
        ),
        Phase::Done => format!(
            "Done {}: {target} is active for {}; {}.{}",
            local(rollout.ended_at.as_deref().unwrap_or(&rollout.started_at)),
            rollout.model,
            progress(rollout, &rollout.members),
            kept(rollout)
        ),
        _ => match &rollout.paused {
            Some(pause) => format!(
                "Paused {}: {}. Devices that run {target} keep it, no other gets it; then \
                 \"espgate rollouts resume {id}\" or \"espgate rollouts stop {id} --why TEXT\".",
                local(&pause.at),
                pause.why,
                id = rollout.id
            ),
            None => going(rollout, now),
        },
    }
}

fn released(rollout: &Rollout) -> &[Member] {
    let count = rollout.released_members();
    rollout.members.get(..count).unwrap_or_default()
}

fn going(rollout: &Rollout, now: Now<'_>) -> String {
    let members = released(rollout);
    let (done, of) = (progress(rollout, members), rollout.waves.len());
    let mut text = match rollout.phase {
        Phase::Canary => format!("Canaries: {done}"),
        Phase::Soaking => format!("Canaries: {done}"),
        Phase::Watching => format!("All waves are out: {done}"),
        _ => format!("Wave {} of {of}: {done}", rollout.released()),
    };
    if let Some(left) = time_left(rollout, now) {
        text.push_str(&left);
    }
    text.push('.');
    let within = rollout.spec.return_within;
    let is_silent = |member: &&Member| {
        let is_due = now.s.saturating_sub(member.since_s) >= within;
        let not_asked = member.asked_s.is_none_or(|at| at < member.since_s);
        member.state == MemberState::Eligible && is_due && not_asked
    };
    let silent: Vec<&Member> = members.iter().filter(is_silent).collect();
    if !silent.is_empty() {
        let (it, them) = match silent.len() {
            1 => ("it", "it"),
            _ => ("they", "them"),
        };
        text.push_str(&format!(
            " {} not asked since the release: if {it} should have by now, power-cycle {them}.",
            has(&silent)
        ));
    }
    if let Some(why) = waits_for(rollout, now) {
        let why = match why {
            Why::OutsideWindow(window) => format!("downloads begin within {window} only"),
            why => why.to_string(),
        };
        text.push_str(&format!(" Waits now: {why}."));
    } else if is_gated(rollout) {
        text.push_str(&format!(
            " The next wave waits for \"espgate rollouts release {}\".",
            rollout.id
        ));
    }
    text
}

fn is_gated(rollout: &Rollout) -> bool {
    let last = rollout.released().checked_sub(1);
    let is_over = last
        .and_then(|last| rollout.waves.get(last))
        .is_some_and(|wave| wave.over_at.is_some());
    rollout.spec.gate && is_over && rollout.released() < rollout.waves.len()
}

/// `; 23h left of the soak`
fn time_left(rollout: &Rollout, now: Now<'_>) -> Option<String> {
    let passed = |since: u64| now.s.saturating_sub(since);
    if rollout.phase == Phase::Watching {
        let left = rollout.spec.watch.saturating_sub(passed(rollout.phase_s));
        return Some(format!("; done in {} if nothing happens", shown(left)));
    }
    let running = released(rollout)
        .iter()
        .filter(|member| member.state == MemberState::Running);
    let left = running.filter_map(|member| {
        let soak = match member.canary {
            true => rollout.spec.canary_soak,
            false => rollout.spec.soak,
        };
        Some(soak.saturating_sub(passed(member.ran_s?)))
    });
    let left = left.max().filter(|left| *left > 0)?;
    Some(format!("; {} left of the soak", shown(left)))
}

/// `3 of 10 run 1.5.0 (2 of them soaked), 1 failed`
fn progress(rollout: &Rollout, members: &[Member]) -> String {
    use MemberState as S;
    let count = |states: &[S]| {
        let members = members.iter();
        members
            .filter(|member| states.contains(&member.state))
            .count()
    };
    let soaked = count(&[S::Soaked]);
    let runs = soaked + count(&[S::Running, S::HasIt]);
    let mut text = format!("{runs} of {} run {}", members.len(), rollout.target.name);
    if soaked > 0 && soaked < runs {
        text.push_str(&format!(" ({soaked} of them soaked)"));
    } else if soaked > 0 {
        text.push_str(" and are soaked");
    }
    let others = [
        (count(&[S::Downloading]), "downloading"),
        (count(&[S::Downloaded]), "downloaded, not seen running"),
        (
            count(&[S::Crashed, S::Looping, S::Reverted, S::Lost]),
            "failed",
        ),
        (count(&[S::Refused, S::Incompatible]), "do not take it"),
        (count(&[S::Pinned, S::Retired]), "take no part"),
    ];
    for (count, what) in others {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

fn stopped(rollout: &Rollout, now: Now<'_>, local: &impl Fn(&str) -> String) -> String {
    let since = rollout
        .log
        .iter()
        .rev()
        .find(|entry| entry.what.starts_with("stopped"));
    let since = since.map_or(rollout.started_at.as_str(), |entry| entry.at.as_str());
    let why = rollout.why.as_deref().unwrap_or_default();
    let mut text = format!("Stopped {}: {why}.", local(since));
    let got: Vec<&Member> = rollout
        .members
        .iter()
        .filter(|member| member.got_it())
        .collect();
    let base = &rollout.base.name;
    if got.is_empty() {
        text.push_str(" No device got it.");
        return text;
    }
    if rollout.spec.on_stop == OnStop::Stay {
        let keep = if got.len() == 1 { "keeps" } else { "keep" };
        text.push_str(&format!(" {} got it and {keep} it.", counted(got.len())));
        return text;
    }
    let in_state = |state: MemberState| {
        let members = got.iter().filter(move |member| member.state == state);
        members.copied().collect::<Vec<_>>()
    };
    let back = in_state(MemberState::Back);
    let stranded = in_state(MemberState::Stranded);
    let coming: Vec<&Member> = got
        .iter()
        .filter(|member| !matches!(member.state, MemberState::Back | MemberState::Stranded))
        .copied()
        .collect();
    if back.len() == got.len() {
        text.push_str(&format!(
            " All that got it ({}) run another build again.",
            names(&back)
        ));
        text.push_str(&next_step(rollout));
        return text;
    }
    let go = if got.len() == 1 { "goes" } else { "go" };
    text.push_str(&format!(
        " {} got it and {go} back to {base}",
        counted(got.len())
    ));
    if !back.is_empty() {
        text.push_str(&format!("; {} back", is_are(&back)));
    }
    if !coming.is_empty() {
        text.push_str(&format!("; {} not seen on it yet", is_are(&coming)));
    }
    text.push('.');
    if !stranded.is_empty() {
        let quiet = stranded.iter().filter_map(|member| member.heard_s).max();
        let quiet = quiet.map_or_else(
            || String::from("since the stop"),
            |heard| format!("for {}", shown(now.s.saturating_sub(heard))),
        );
        text.push_str(&format!(
            " {} not heard {quiet}: power-cycle; if that does not help, write {base} over USB.",
            was_were(&stranded)
        ));
    }
    text
}

/// What a person does about a build that was stopped.
fn next_step(rollout: &Rollout) -> String {
    format!(
        " {} is blocked: upload another version, or \"espgate firmware unblock {} {}\".",
        rollout.target.name, rollout.model, rollout.target.name
    )
}

/// The devices that failed and are pinned to the base at the end.
fn kept(rollout: &Rollout) -> String {
    use MemberState as S;
    let failed = [
        S::Crashed,
        S::Looping,
        S::Reverted,
        S::Refused,
        S::Incompatible,
    ];
    let members = rollout.members.iter();
    let kept: Vec<&Member> = members
        .filter(|member| failed.contains(&member.state))
        .collect();
    match kept.is_empty() {
        true => String::new(),
        false => format!(
            " Pinned to {} since they failed: {}.",
            rollout.base.name,
            names(&kept)
        ),
    }
}

fn counted(count: usize) -> String {
    match count {
        1 => String::from("1 device"),
        _ => format!("{count} devices"),
    }
}

/// `kitchen1, kitchen2 and 4 more`
fn names(members: &[&Member]) -> String {
    let first = members
        .iter()
        .take(NAMED)
        .map(|member| member.device.as_str());
    let first: Vec<&str> = first.collect();
    match members.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn has(members: &[&Member]) -> String {
    let verb = if members.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", names(members))
}

fn is_are(members: &[&Member]) -> String {
    let verb = if members.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names(members))
}

fn was_were(members: &[&Member]) -> String {
    let verb = if members.len() == 1 { "was" } else { "were" };
    format!("{} {verb}", names(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_among_few_devices_proves_little() {
        for (devices, percent) in [(2, 78), (5, 45), (10, 26), (20, 14), (50, 6), (0, 100)] {
            let found = true_rate_up_to(devices);
            assert!(
                (found - f64::from(percent)).abs() < 0.5,
                "{devices}: {found}"
            );
        }
    }
}
