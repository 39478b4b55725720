//! The effective configuration: the file's, or, if that is rejected, the last one
//! that worked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Problem};
use crate::journal::Event;
use crate::store::publish::{SECRET_MODE, replace};

/// The last configuration that ran, in `state/`.
const LAST_GOOD: &str = "espgate.toml.last";

/// Paths from command line and environment.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--config` or `ESPGATE_CONFIG`.
    pub config: Option<PathBuf>,
    /// `--data-dir` or `ESPGATE_DATA_DIR`.
    pub data_dir: Option<PathBuf>,
}

/// A configuration to run with.
#[derive(Debug)]
pub struct EffectiveConfig {
    pub config: Config,
    /// Its text, saved once the daemon runs with it.
    pub text: String,
    /// Why the file was rejected, if the last working configuration is used.
    pub degraded: Option<String>,
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {}", .path.display(), list(.faults))]
    Faulty { path: PathBuf, faults: Vec<Problem> },
}

fn list(faults: &[Problem]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

impl Options {
    /// The configuration file: the given one, or the default one if it exists.
    pub fn config_path(&self) -> Option<PathBuf> {
        match &self.config {
            Some(path) => Some(path.clone()),
            None => Some(PathBuf::from(config::DEFAULT_PATH)).filter(|path| path.exists()),
        }
    }

    /// The data directory: from the options, the configuration, systemd, or the default.
    pub fn data_dir(&self, config: Option<&Config>) -> PathBuf {
        let state_directory = || {
            let all = std::env::var("STATE_DIRECTORY").ok()?;
            let first = all.split(':').next().filter(|path| !path.is_empty())?;
            Some(PathBuf::from(first))
        };
        self.data_dir
            .clone()
            .or_else(|| config?.data_dir.clone())
            .or_else(state_directory)
            .unwrap_or_else(|| PathBuf::from("espgate-data"))
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self) -> Result<Option<(String, config::Loaded)>, ConfigError> {
        let Some(path) = self.config_path() else {
            return Ok(None);
        };
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable {
            path: path.clone(),
            source,
        })?;
        match config::parse(&text) {
            Ok(loaded) => Ok(Some((text, loaded))),
            Err(faults) => Err(ConfigError::Faulty { path, faults }),
        }
    }

    /// The configuration to start with. Unknown keys are journalled.
    ///
    /// # Errors
    /// The error, if neither the file nor the last working configuration is usable.
    pub fn choose(&self) -> Result<EffectiveConfig, ConfigError> {
        let fault = match self.read() {
            Ok(None) => {
                return Ok(EffectiveConfig {
                    config: Config::default(),
                    text: String::new(),
                    degraded: None,
                });
            }
            Ok(Some((text, loaded))) => {
                for unknown in &loaded.unknown {
                    Event::ConfigurationUnknownKey
                        .entry()
                        .say(format_args!("configuration: {unknown}, ignored"));
                }
                return Ok(EffectiveConfig {
                    config: loaded.config,
                    text,
                    degraded: None,
                });
            }
            Err(fault) => fault,
        };
        let last = last_good(&self.data_dir(None));
        let Some((text, config)) = last else {
            return Err(fault);
        };
        let chosen = EffectiveConfig::instead(text, config, &crate::journal::chain(&fault));
        chosen.say_degraded();
        Ok(chosen)
    }

    /// The last configuration that worked, if it is another one than that
    /// which was chosen and could not be started with.
    pub(super) fn last_instead_of(
        &self,
        chosen: &EffectiveConfig,
        error: &anyhow::Error,
    ) -> Option<EffectiveConfig> {
        let folders = [self.data_dir(Some(&chosen.config)), self.data_dir(None)];
        let (text, config) = folders.iter().find_map(|folder| last_good(folder))?;
        let another = chosen.degraded.is_none() && text != chosen.text;
        another.then(|| EffectiveConfig::instead(text, config, &format!("{error:#}")))
    }
}

impl EffectiveConfig {
    fn instead(text: String, config: Config, fault: &str) -> Self {
        Self {
            config,
            text,
            degraded: Some(format!(
                "configuration rejected, using the last working one: {fault}"
            )),
        }
    }

    /// Reports it, if this is not the requested configuration.
    pub(super) fn say_degraded(&self) {
        if let Some(degraded) = &self.degraded {
            Event::ConfigurationFaulty
                .entry()
                .say(format_args!("{degraded}"));
        }
    }
}

fn last_good(data_dir: &Path) -> Option<(String, Config)> {
    let text = fs::read_to_string(data_dir.join("state").join(LAST_GOOD)).ok()?;
    let loaded = config::parse(&text).ok()?;
    Some((text, loaded.config))
}

/// Saves a working configuration as the fallback.
///
/// # Errors
/// As [`replace`].
pub(super) fn keep(state: &Path, text: &str) -> crate::store::Result<()> {
    let known = fs::read_to_string(state.join(LAST_GOOD)).ok();
    if known.as_deref() == Some(text) {
        return Ok(());
    }
    replace(state, LAST_GOOD, text.as_bytes(), SECRET_MODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: &Path, text: &str) -> Options {
        replace(folder, "espgate.toml", text.as_bytes(), 0o644).unwrap();
        Options {
            config: Some(folder.join("espgate.toml")),
            data_dir: Some(folder.to_owned()),
        }
    }

    #[test]
    fn an_impossible_configuration_falls_back_to_the_last_one_that_ran() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let good = options(folder.path(), "[firmware]\nkeep_versions = 3\n")
            .choose()
            .unwrap();
        assert_eq!(good.degraded, None);
        let faulty = "[firmware]\nkeep_versions = 0\n";
        assert!(matches!(
            options(folder.path(), faulty).choose(),
            Err(ConfigError::Faulty { .. })
        ));
        keep(&state, &good.text).unwrap();
        let chosen = options(folder.path(), faulty).choose().unwrap();
        assert_eq!(chosen.config.firmware.keep_versions, 3);
        assert!(
            chosen
                .degraded
                .unwrap()
                .contains("line 2: firmware.keep_versions")
        );
    }

    #[test]
    fn a_named_file_that_is_missing_is_a_fault() {
        let options = Options {
            config: Some(PathBuf::from("/nonexistent/espgate.toml")),
            data_dir: Some(PathBuf::from("/nonexistent")),
        };
        assert!(matches!(
            options.choose(),
            Err(ConfigError::Unreadable { .. })
        ));
    }
}
