//! The configuration file that a backup's gateway ran with, and this machine's.

use std::fs;
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::cli::args::Global;
use crate::cli::paths;
use crate::config::{Config, DEFAULT_PATH, DEFAULT_TEXT, parse};
use crate::store::publish::{SECRET_MODE, make_folder, replace};

/// The configuration in a backup, where a data directory keeps it too.
const ENTRY: &str = "state/espgate.toml.last";
/// Largest configuration that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// Modes of a configuration file that was not there, and of its folder.
const MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// What becomes of a backup's configuration.
#[derive(Debug)]
pub(super) struct Settings {
    text: String,
    /// What the daemon here will run with.
    pub(super) in_force: Config,
    target: Target,
}

/// Where a backup's configuration goes.
#[derive(Debug)]
enum Target {
    /// There is none, or this machine has the same.
    Nowhere,
    /// It becomes this machine's.
    File(PathBuf),
    /// This machine has its own.
    Beside(PathBuf),
    /// It stays in the data: a data directory was named, but no configuration
    /// file, so this is not about how the machine is set up.
    Data,
}

impl Settings {
    /// Decides, and writes nothing yet.
    pub(super) fn of<R: Read + Seek>(
        archive: &mut ZipArchive<R>,
        global: &Global,
    ) -> anyhow::Result<Self> {
        let mut text = String::new();
        let has_one = match archive.by_name(ENTRY) {
            Ok(entry) => entry
                .take(MAX_BYTES)
                .read_to_string(&mut text)
                .map(|_| true),
            Err(ZipError::FileNotFound) => Ok(false),
            Err(error) => return Err(error.into()),
        };
        let has_one = has_one.with_context(|| format!("cannot read {ENTRY} in it"))?;
        let ours = paths::configuration(global);
        let theirs = parse(&text).ok().filter(|_| has_one);
        let theirs = theirs.map(|loaded| loaded.config);
        let target = match &theirs {
            Some(theirs) => target(global, &ours, theirs),
            // One that this version cannot read.
            None if has_one => file(global).map_or(Target::Data, Target::Beside),
            None => Target::Nowhere,
        };
        let in_force = match target {
            Target::File(_) => theirs.unwrap_or(ours),
            _ => ours,
        };
        Ok(Self {
            text,
            in_force,
            target,
        })
    }

    /// Puts it where it belongs, and tells of it. `data` is where the data is.
    ///
    /// # Errors
    /// If it has to be put there by hand.
    pub(super) fn restore(&self, data: &Path) -> anyhow::Result<Option<String>> {
        let kept = data.join(ENTRY);
        let kept = kept.display();
        let told = match &self.target {
            Target::Nowhere => None,
            Target::File(path) => {
                write(path, &self.text, None).with_context(|| {
                    format!(
                        "data restored, configuration not: copy {kept} to {} before starting \
                         the daemon",
                        path.display()
                    )
                })?;
                Some(format!("restored the configuration to {}", path.display()))
            }
            Target::Beside(path) => {
                let mut beside = path.clone().into_os_string();
                beside.push(".restored");
                let (beside, path) = (PathBuf::from(beside), path.display());
                write(&beside, &self.text, Some(SECRET_MODE)).with_context(|| {
                    format!(
                        "data restored, configuration not: compare {kept} with {path} before \
                         starting the daemon"
                    )
                })?;
                Some(format!(
                    "kept {path}, which differs from the backup's configuration; compare it \
                     with {}",
                    beside.display()
                ))
            }
            Target::Data => Some(format!(
                "the backup's configuration is {kept}; copy it now if you need it: the daemon \
                 overwrites it at its first start"
            )),
        };
        Ok(told)
    }

    /// Whether the configuration in force names this folder.
    pub(super) fn name(&self, folder: &Path) -> bool {
        let config = &self.in_force;
        let folders = [
            &config.data_dir,
            &config.coredumps.dir,
            &config.firmware.dir,
        ];
        let mut named = folders.into_iter().flatten();
        named.any(|named| named == folder)
    }
}

/// The file that the daemon here reads or would read; `None` if a data
/// directory was named without one.
fn file(global: &Global) -> Option<PathBuf> {
    let usual = || global.data_dir.is_none().then(|| DEFAULT_PATH.into());
    global.config.clone().or_else(usual)
}

fn target(global: &Global, ours: &Config, theirs: &Config) -> Target {
    let Some(path) = file(global) else {
        return match ours == theirs {
            true => Target::Nowhere,
            false => Target::Data,
        };
    };
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Ok(text) => text,
        // Somebody's, whatever it says.
        Err(_) => return Target::Beside(path),
    };
    let is_same = parse(&text).is_ok_and(|loaded| loaded.config == *theirs);
    match text.as_str() {
        _ if is_same => Target::Nowhere,
        // The package puts this one there on every machine.
        "" | DEFAULT_TEXT => Target::File(path),
        _ => Target::Beside(path),
    }
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
