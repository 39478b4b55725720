//! Removes builds by the retention rule: list, decide ([`super::retention`]), act.

use std::time::Duration;

use super::build::Build;
use super::retention::{StoredBuild, plan};
use super::{Firmware, Result};
use crate::clock::{Moment, parse};
use crate::device::ModelCode;
use crate::journal::Event;

/// What others know of a build.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Use {
    /// It is active or pinned.
    pub served: bool,
    /// How long ago a device was known to run it.
    pub last_run: Option<Duration>,
    /// A stored dump needs it.
    pub needed: bool,
}

/// A removed build.
#[derive(Clone, Debug)]
pub struct Removed {
    pub model: ModelCode,
    pub build: Build,
}

impl Firmware {
    /// Removes what is beyond `keep` builds a model and not in use; `is_served_now` is asked
    /// again right before.
    ///
    /// # Errors
    /// [`crate::store::Error::Io`]; what was removed until then stays removed.
    pub fn sweep(
        &self,
        keep: usize,
        now: &Moment,
        in_use: impl Fn(&ModelCode, &Build) -> Use,
        is_served_now: impl Fn(&ModelCode, &Build) -> bool,
    ) -> Result<Vec<Removed>> {
        let mut listed = Vec::new();
        let mut held = Vec::new();
        for (number, model) in self.models()?.into_iter().enumerate() {
            for build in self.builds(&model)? {
                let Use {
                    served,
                    last_run,
                    needed,
                } = in_use(&model, &build);
                held.push(StoredBuild {
                    model: number,
                    sequence: build.sequence,
                    age: age(&build, now),
                    served,
                    last_run,
                    needed,
                });
                listed.push((model.clone(), build));
            }
        }
        let mut removed = Vec::new();
        for at in plan(&held, keep) {
            let Some((model, build)) = listed.get(at) else {
                continue;
            };
            let decision = self.decision();
            if is_served_now(model, build) || self.delete(model, build.id())?.is_none() {
                continue;
            }
            drop(decision);
            let name = &build.name;
            Event::BundleRemoved
                .entry()
                .model(model)
                .version(name)
                .say(format_args!(
                    "removed firmware {name} of {model} (rule keep_versions)"
                ));
            removed.push(Removed {
                model: model.clone(),
                build: build.clone(),
            });
        }
        Ok(removed)
    }
}

/// How long a build has been here; nothing is known while the clock is not synced.
fn age(build: &Build, now: &Moment) -> Option<Duration> {
    let since = parse(&build.uploaded_at)?;
    now.synced
        .then(|| Duration::try_from(now.wall - since).ok())
        .flatten()
}
