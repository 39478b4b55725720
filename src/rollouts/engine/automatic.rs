//! Rollouts that an upload starts.

use super::{Error, Request, Rollouts};
use crate::device::ModelCode;
use crate::rollouts::order::Canaries;
use crate::store::firmware::Build;
use crate::store::rollouts::{Phase, Spec};

/// What became of an upload that was to go out in a rollout.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Automatic {
    /// Its id, and how many devices are in it.
    Started { id: String, devices: usize },
    /// Why it was not started, in words.
    NotStarted(String),
}

impl Rollouts {
    /// Starts a rollout of a build that was uploaded by `by`, as `[rollouts]` says. None is
    /// started after one of the model was stopped, until a person starts one.
    pub fn start_automatically(&self, model: &ModelCode, target: Build, by: &str) -> Automatic {
        let last = self.store.rollouts.of_model(model);
        if let Some(last) = last.filter(|last| last.phase == Phase::Stopped) {
            return Automatic::NotStarted(format!(
                "rollout {} of {model} was stopped: none starts by itself until you start one",
                last.id
            ));
        }
        let request = {
            let config = self.config.borrow();
            Request {
                model: model.clone(),
                target,
                canaries: Canaries::Count(config.rollouts.canary as usize),
                spec: Spec::from(&config.rollouts),
                no_way_back: false,
                by: by.to_owned(),
            }
        };
        match self.start(&request) {
            Ok((rollout, _)) => Automatic::Started {
                id: rollout.id.clone(),
                devices: rollout.members.len(),
            },
            Err(error @ Error::Store(_)) => Automatic::NotStarted(crate::journal::chain(&error)),
            Err(error) => Automatic::NotStarted(error.to_string()),
        }
    }
}
