//! Rollouts as answers show them, by the gateway's clock.

use super::{Error, Request, Rollouts};
use crate::api::rollouts as api;
use crate::clock;
use crate::rollouts::evaluate::Now;
use crate::rollouts::{sentence, view};
use crate::store::rollouts::Rollout;

impl Rollouts {
    /// All of them, newest first. Reads their files.
    pub fn summaries(&self) -> Vec<api::Summary> {
        let all = self.store.rollouts.all();
        let shown = all.iter().map(|rollout| self.summary(rollout));
        shown.collect()
    }

    /// One in a list.
    pub fn summary(&self, rollout: &Rollout) -> api::Summary {
        let summary = |now: Now<'_>| view::summary(rollout, now, clock::local_short);
        let mut summary = self.at(rollout, summary);
        self.say_unsaved(rollout, &mut summary);
        summary
    }

    fn is_unsaved(&self, rollout: &Rollout) -> bool {
        let last = self.store.rollouts.of_model(&rollout.model);
        let is_last = last.is_some_and(|last| last.id == rollout.id);
        is_last && self.store.rollouts.is_behind(&rollout.model)
    }

    fn say_unsaved(&self, rollout: &Rollout, summary: &mut api::Summary) {
        if self.is_unsaved(rollout) {
            summary.unsaved = true;
            summary.summary.push_str(
                " NOT SAVED: it cannot be written, and a restart undoes what was decided last; \
                 see \"espgate doctor\".",
            );
        }
    }

    /// One as it is shown.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub fn detail(&self, id: &str) -> Result<api::Rollout, Error> {
        let rollout = self.store.rollouts.get(id)?;
        let rollout = rollout.ok_or_else(|| Error::NotFound(id.to_owned()))?;
        Ok(self.shown(&rollout))
    }

    fn shown(&self, rollout: &Rollout) -> api::Rollout {
        let detail = |now: Now<'_>| view::detail(rollout, now, clock::local_short);
        let mut detail = self.at(rollout, detail);
        self.say_unsaved(rollout, &mut detail.summary);
        detail
    }

    /// What a start would do, and what it would warn of.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn dry_run(&self, request: &Request) -> Result<(api::Rollout, Vec<String>), Error> {
        let plan = self.plan(request)?;
        Ok((self.shown(&plan.rollout), plan.warnings))
    }

    /// Starts one.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_and_show(&self, request: &Request) -> Result<(api::Rollout, Vec<String>), Error> {
        let (rollout, warnings) = self.start(request)?;
        Ok((self.shown(&rollout), warnings))
    }

    /// Ids of the rollouts in which a device failed by a crash group, newest first; the group
    /// may have had other ids before. Reads their files.
    pub fn failed_by(&self, group: &str, before: &[String]) -> Vec<String> {
        let is_it = |crash: &String| crash == group || before.contains(crash);
        let failed = |rollout: &Rollout| {
            let mut failures = rollout
                .members
                .iter()
                .filter_map(|one| one.failure.as_ref());
            failures.any(|failure| failure.crash.as_ref().is_some_and(is_it))
        };
        let all = self.store.rollouts.all().into_iter();
        let failed = all.filter(|rollout| failed(rollout));
        failed.map(|rollout| rollout.id.clone()).collect()
    }

    /// Rollouts that are live or not saved, in a line each, for the status:
    /// `r7 of lamp 1.5.0: wave 2`.
    pub fn lines(&self) -> Vec<String> {
        let live = self.store.rollouts.all_latest().into_iter();
        let live = live.filter(|rollout| rollout.is_live() || self.is_unsaved(rollout));
        let lines = live.map(|rollout| {
            let state = self.at(&rollout, |now| sentence::state(&rollout, now));
            let (id, model, target) = (&rollout.id, &rollout.model, &rollout.target.name);
            let unsaved = match self.is_unsaved(&rollout) {
                true => ", NOT SAVED",
                false => "",
            };
            format!("{id} of {model} {target}: {state}{unsaved}")
        });
        lines.collect()
    }
}
