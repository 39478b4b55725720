//! What people do with rollouts, and what follows for them from other things that people do.

use std::sync::Arc;

use super::{Error, Refusal, Rollouts};
use crate::build_id::BuildId;
use crate::device::ModelCode;
use crate::journal::{Event, chain};
use crate::rollouts::by_person::{self, Command, Impossible};
use crate::store::rollouts::{Rollout, Save};

/// The name of a restore in logs.
const RESTORE: &str = "restore";

impl Rollouts {
    /// A person's command.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn command(&self, id: &str, command: &Command, by: &str) -> Result<Arc<Rollout>, Error> {
        let not_found = || Error::NotFound(id.to_owned());
        let rollout = self.store.rollouts.get(id)?.ok_or_else(not_found)?;
        let model = rollout.model.clone();
        if *command == Command::Resume && self.is_held(&model) {
            return Err(Refusal::Held(model).into());
        }
        let changed = self.store.rollouts.change(&model, |last| {
            let outcome = match last.id == rollout.id {
                true => self.at(last, |now| by_person::apply(last, command, by, now)),
                // an older one of the model
                false => Err(Impossible::Ended(rollout.id.clone())),
            };
            Some(match outcome {
                Ok(outcome) => {
                    // what people hold back is held back, whatever the disk says
                    let save = match command {
                        Command::Pause { .. } | Command::Stop { .. } => Save::Try,
                        _ => Save::Must,
                    };
                    let after = outcome.rollout;
                    (after.clone(), save, Ok((after, outcome.actions)))
                }
                Err(error) => (last.clone(), Save::Later, Err(error)),
            })
        })?;
        let (after, actions) = changed.ok_or_else(not_found)??;
        say(&after, command, by);
        self.follow(&after, &actions);
        self.store.rollouts.get(id)?.ok_or_else(not_found)
    }

    /// A person blocked a build: its downloads end, and a rollout of it is stopped.
    pub fn was_blocked(&self, model: &ModelCode, build: BuildId, why: Option<&str>, by: &str) {
        self.downloads.cut(build);
        let live = self.store.rollouts.live(model);
        let Some(rollout) = live.filter(|live| live.is_offering()) else {
            return;
        };
        if rollout.target.build_id == build {
            let why = match why {
                Some(why) => format!("{by} blocked it: {why}"),
                None => format!("{by} blocked it"),
            };
            self.command_or_log(&rollout, &Command::Stop { why }, by);
        }
    }

    /// A person held a model: its rollout is paused.
    pub fn was_held(&self, model: &ModelCode, by: &str) {
        let live = self.store.rollouts.live(model);
        if let Some(rollout) = live.filter(|live| live.is_offering() && live.paused.is_none()) {
            let why = format!("{by} held model {model} (espgate models unhold {model})");
            self.command_or_log(&rollout, &Command::Pause { why: Some(why) }, by);
        }
    }

    fn is_held(&self, model: &ModelCode) -> bool {
        let models = self.store.registry.models.read();
        models.models.get(model).is_some_and(|model| model.held)
    }

    fn command_or_log(&self, rollout: &Rollout, command: &Command, by: &str) {
        if let Err(error) = self.command(&rollout.id, command, by) {
            log::error!("rollout {}: {}", rollout.id, chain(&error));
        }
    }

    /// After a restore everything waits for a person: what happened since the backup is not
    /// known here.
    pub fn pause_all(&self, why: &str) {
        for rollout in self.store.rollouts.all_latest() {
            // what was stopped gives nothing away
            if rollout.is_offering() {
                let why = Some(why.to_owned());
                self.command_or_log(&rollout, &Command::Pause { why }, RESTORE);
            }
        }
    }
}

/// Who did what; what follows from it has events of its own.
fn say(rollout: &Rollout, command: &Command, by: &str) {
    let what = match command {
        Command::Pause { .. } => "paused",
        Command::Resume => "resumed",
        Command::Release => "released the next wave of",
        Command::Stop { .. } => "stopped",
        Command::Finish => "released all waves of",
        Command::Cancel => "cancelled",
    };
    Event::RolloutChanged
        .entry()
        .model(&rollout.model)
        .version(&rollout.target.name)
        .actor(&by)
        .maybe("ROLLOUT", Some(&rollout.id))
        .say(format_args!(
            "{by} {what} rollout {} of {} {}",
            rollout.id, rollout.model, rollout.target.name
        ));
}
