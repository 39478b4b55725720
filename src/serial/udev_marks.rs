//! Marks for udev which places in the USB tree are listened to, as an empty file
//! for each: the rules need them before the daemon runs, when ModemManager probes
//! new ports.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::journal::{Event, chain};
use crate::store;
use crate::store::publish::{SECRET_FOLDER_MODE, SECRET_MODE, make_folder, replace};

/// The folder of marks; `udev/60-espgate.rules` names it as well.
pub(super) struct UdevMarks(PathBuf);

impl UdevMarks {
    /// Marks in a folder of their own below `state`.
    pub(super) fn below(state: &Path) -> Self {
        Self(state.join("listened"))
    }

    /// Makes the marks say which of these places are listened to; those of
    /// other places stay as they are. Blocks on the disk.
    pub(super) fn follow(&self, listened: &BTreeMap<String, bool>) {
        for (place, listened) in listened {
            if let Err(error) = self.set(place, *listened) {
                Event::PortTrouble.entry().port(place).say(format_args!(
                    "cannot update udev mark of {place}: {}",
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
