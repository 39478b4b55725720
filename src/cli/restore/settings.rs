//! The settings that a backup's gateway ran with, and those of this machine.

use std::fs;
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::cli::args::Global;
use crate::cli::places;
use crate::config::{Config, DEFAULT_PATH, DEFAULT_TEXT, parse};
use crate::store::publish::{SECRET_MODE, make_folder, replace};

/// The settings in a backup, where a data directory keeps them too.
pub(super) const ENTRY: &str = "state/espgate.toml.last";
/// Largest configuration that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// Modes of a configuration file that was not there, and of its folder.
const MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// What becomes of a backup's settings.
#[derive(Debug)]
pub(super) struct Settings {
    text: String,
    /// What the backup's gateway ran with.
    theirs: Config,
    /// What the daemon here will run with.
    pub(super) in_force: Config,
    fate: Fate,
    /// A data directory was named, whatever either says.
    is_told: bool,
}

#[derive(Debug)]
enum Fate {
    /// There are none, or this machine has the same.
    Nothing,
    /// They become this machine's.
    Place(PathBuf),
    /// This machine has its own.
    Beside(PathBuf),
    /// A data directory was named, but no configuration: this is not about how
    /// the machine is set up.
    Leave,
}

impl Settings {
    /// Decides, and writes nothing yet.
    pub(super) fn of<R: Read + Seek>(
        archive: &mut ZipArchive<R>,
        global: &Global,
    ) -> anyhow::Result<Self> {
        let text = match archive.by_name(ENTRY) {
            Ok(entry) => {
                let mut text = String::new();
                let read = entry.take(MAX_BYTES).read_to_string(&mut text);
                read.with_context(|| format!("cannot read {ENTRY} in it"))?;
                Some(text)
            }
            Err(ZipError::FileNotFound) => None,
            Err(error) => return Err(error.into()),
        };
        let ours = places::configuration(global);
        let theirs = text.as_deref().map(parse).map(Result::ok);
        let (fate, in_force, theirs) = match theirs {
            // None came, or none that this version can read.
            None => (Fate::Nothing, ours.clone(), ours),
            Some(None) => (beside(global), ours.clone(), ours),
            Some(Some(loaded)) => {
                let theirs = loaded.config;
                let fate = fate(global, &theirs);
                let in_force = match fate {
                    Fate::Place(_) => theirs.clone(),
                    _ => ours,
                };
                (fate, in_force, theirs)
            }
        };
        Ok(Self {
            text: text.unwrap_or_default(),
            theirs,
            in_force,
            fate,
            is_told: global.data_dir.is_some(),
        })
    }

    /// Puts them where they belong, and tells of it. `data` is where the data is.
    ///
    /// # Errors
    /// If they have to be put there by hand.
    pub(super) fn settle(&self, data: &Path) -> anyhow::Result<Vec<String>> {
        let kept = data.join(ENTRY);
        let kept = kept.display();
        let mut lines = Vec::new();
        match &self.fate {
            Fate::Nothing => {}
            Fate::Place(path) => {
                write(path, &self.text, None).with_context(|| {
                    format!(
                        "the data is restored, but not the settings; copy {kept} to {} before \
                         the daemon starts",
                        path.display()
                    )
                })?;
                lines.push(format!("its settings are now {}", path.display()));
            }
            Fate::Beside(path) => {
                let mut beside = path.clone().into_os_string();
                beside.push(".restored");
                let beside = PathBuf::from(beside);
                write(&beside, &self.text, Some(SECRET_MODE)).with_context(|| {
                    format!(
                        "the data is restored; compare its settings, {kept}, with {} before the \
                         daemon starts",
                        path.display()
                    )
                })?;
                lines.push(format!(
                    "{} was there already and is left as it is; its settings are {}: compare \
                     the two",
                    path.display(),
                    beside.display()
                ));
            }
            Fate::Leave => lines.push(format!(
                "its settings are {kept}; the daemon's first start replaces that file, so copy \
                 it if they are wanted"
            )),
        }
        lines.extend(self.moved());
        Ok(lines)
    }

    /// The folders that were elsewhere on its machine.
    fn moved(&self) -> Vec<String> {
        let (theirs, ours) = (&self.theirs, &self.in_force);
        [
            ("data_dir", &theirs.data_dir, &ours.data_dir),
            (
                "[coredumps] dir",
                &theirs.coredumps.dir,
                &ours.coredumps.dir,
            ),
            ("[firmware] dir", &theirs.firmware.dir, &ours.firmware.dir),
        ]
        .into_iter()
        .filter(|(_, theirs, ours)| theirs != ours)
        .filter(|(key, ..)| !self.is_told || *key != "data_dir")
        .map(|(key, theirs, ours)| {
            format!(
                "its {key} was {}, here it is {}: what belongs there is where the settings of \
                 this machine say",
                shown(theirs.as_deref()),
                shown(ours.as_deref())
            )
        })
        .collect()
    }
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(
        || String::from("not set"),
        |path| path.display().to_string(),
    )
}

/// The file that the daemon here reads or would read; `None` if a data
/// directory was named without one.
fn ours(global: &Global) -> Option<PathBuf> {
    let usual = || global.data_dir.is_none().then(|| DEFAULT_PATH.into());
    global.config.clone().or_else(usual)
}

fn fate(global: &Global, theirs: &Config) -> Fate {
    let Some(path) = ours(global) else {
        return match places::configuration(global) == *theirs {
            true => Fate::Nothing,
            false => Fate::Leave,
        };
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // Somebody's, whatever it says.
        Err(_) => return Fate::Beside(path),
    };
    let current = parse(text.as_deref().unwrap_or_default());
    if current.is_ok_and(|loaded| loaded.config == *theirs) {
        return Fate::Nothing;
    }
    match text.as_deref() {
        // The package puts this one there on every machine.
        None | Some("" | DEFAULT_TEXT) => Fate::Place(path),
        Some(_) => Fate::Beside(path),
    }
}

fn beside(global: &Global) -> Fate {
    ours(global).map_or(Fate::Leave, Fate::Beside)
}

/// Writes a configuration with `mode`, or with that of the file it replaces.
fn write(path: &Path, text: &str, mode: Option<u32>) -> anyhow::Result<()> {
    // The file itself, if a link leads to it.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    };
    if !folder.exists() {
        make_folder(folder, FOLDER_MODE)?;
    }
    let present = || Some(fs::metadata(&path).ok()?.permissions().mode() & 0o777);
    let mode = mode.or_else(present).unwrap_or(MODE);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(replace(folder, &name, text.as_bytes(), mode)?)
}
