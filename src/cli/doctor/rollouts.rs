//! Rollouts that wait for a person, and models that a restore held.

use super::finding::Finding;
use crate::api::models::Model;
use crate::api::rollouts::Summary;

/// How live rollouts are, and which could not be written.
pub(super) fn waiting(rollouts: &[Summary]) -> Vec<Finding> {
    let unsaved = rollouts.iter().filter(|one| one.unsaved).map(unsaved);
    live(rollouts).into_iter().chain(unsaved).collect()
}

fn unsaved(one: &Summary) -> Finding {
    let (id, model, build) = (&one.id, &one.model, &one.target_name);
    let what = format!(
        "rollout {id} of {model} {build} is {}, which cannot be written: a restart undoes it",
        one.state
    );
    let advice = "make room, or the folder rollouts of the data directory writable: the journal \
                  has the error";
    Finding::warning("rollouts", what, advice)
}

fn live(rollouts: &[Summary]) -> Vec<Finding> {
    let live = rollouts.iter().filter(|one| one.ended_at.is_none());
    let findings = live.filter_map(|one| {
        let (id, model, build) = (&one.id, &one.model, &one.target_name);
        let why = one.why.as_deref().unwrap_or("no reason given");
        let what = format!("rollout {id} of {model} {build} is {}: {why}", one.state);
        let show = format!("see `espgate rollouts show {id}`");
        match one.state.as_str() {
            "paused" => {
                let advice = format!(
                    "{show}, then `espgate rollouts resume {id}` or `espgate rollouts stop {id} \
                     --why TEXT`"
                );
                Some(Finding::warning("rollouts", what, &advice))
            }
            "stopped" => Some(Finding::warning("rollouts", what, &show)),
            "waiting" => Some(Finding::note("rollouts", what)),
            _ => None,
        }
    });
    findings.collect()
}

/// Nothing is served until a person looked.
pub(super) fn held(model: &Model) -> Option<Finding> {
    let why = model.held_why.as_ref().filter(|_| model.held)?;
    let code = &model.code;
    let what = format!("model {code} is held ({why}): its devices get no firmware");
    let advice = format!(
        "check that {} is what they should run, then `espgate models unhold {code}`",
        model.active.as_deref().unwrap_or("nothing")
    );
    Some(Finding::warning("firmware", what, &advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Severity;

    #[test]
    fn only_a_rollout_that_needs_a_person_is_a_problem() {
        let one = |state: &str, ended: bool| Summary {
            state: state.to_owned(),
            ended_at: ended.then(|| String::from("t")),
            ..Summary::default()
        };
        for (state, ended, expected) in [
            ("paused", false, Some(Severity::Warning)),
            ("stopped", false, Some(Severity::Warning)),
            ("stopped", true, None),
            ("waiting", false, Some(Severity::Note)),
            ("wave 2", false, None),
            ("done", true, None),
        ] {
            let found = waiting(&[one(state, ended)]);
            let found = found.first().map(|finding| finding.severity);
            assert_eq!(found, expected, "{state}");
        }
        let unsaved = Summary {
            unsaved: true,
            ..one("stopped", true)
        };
        let found = waiting(&[unsaved]);
        let found = found.first().map(|finding| finding.severity);
        assert_eq!(found, Some(Severity::Warning));
    }

    #[test]
    fn a_model_that_a_person_holds_is_no_problem() {
        let model = |held, why: Option<&str>| Model {
            held,
            held_why: why.map(str::to_owned),
            ..Model::default()
        };
        assert!(held(&model(true, Some("restored"))).is_some());
        assert!(held(&model(true, None)).is_none());
        assert!(held(&model(false, None)).is_none());
    }
}
