//! Tells udev which places in the USB tree are listened to, by an empty file
//! for each: the rules must know before a daemon runs, when ModemManager looks
//! at what is plugged in.

use std::fs;
use std::path::{Path, PathBuf};

use crate::journal::{Event, chain};
use crate::store;
use crate::store::publish::{SECRET_FOLDER_MODE, SECRET_MODE, make_folder, replace};

use super::policy::{Plan, Why};

/// The folder of marks; `udev/60-espgate.rules` names it as well.
pub(super) struct Marks(PathBuf);

impl Marks {
    /// Marks in a folder of their own below `state`.
    pub(super) fn below(state: &Path) -> Self {
        Self(state.join("listened"))
    }

    /// Makes the marks say what the plans say of ports that are plugged in;
    /// those of places where nothing is stay as they are.
    pub(super) fn follow(&self, plans: &[Plan]) {
        for plan in plans.iter().filter(|plan| plan.usb.is_some()) {
            if let Err(error) = self.set(&plan.id, plan.why != Why::Seen) {
                Event::PortTrouble.entry().port(&plan.id).say(format_args!(
                    "cannot tell udev about {}: {}",
                    plan.id,
                    chain(&error)
                ));
            }
        }
    }

    fn set(&self, place: &str, listened: bool) -> store::Result<()> {
        let path = self.0.join(place);
        if path.exists() == listened {
            return Ok(());
        }
        if listened {
            make_folder(&self.0, SECRET_FOLDER_MODE)?;
            return replace(&self.0, place, b"", SECRET_MODE);
        }
        fs::remove_file(&path).map_err(|source| store::Error::io("remove", &path, source))
    }
}
