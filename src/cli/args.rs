//! Flags that several commands have.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::failure::Failure;
use crate::config::DEFAULT_PATH;
use crate::daemon;
use crate::device::ModelCode;

/// Flags of all commands. For each: flag, then environment, then file, then default.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Configuration file [default: /etc/espgate/espgate.toml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ESPGATE_CONFIG",
        hide_env_values = true,
        value_parser = path_or_empty()
    )]
    pub(super) config: Option<PathBuf>,
    /// Data directory of the daemon
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ESPGATE_DATA_DIR",
        hide_env_values = true,
        value_parser = path_or_empty()
    )]
    pub(super) data_dir: Option<PathBuf>,
    /// Control socket of the daemon
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "ESPGATE_SOCKET",
        hide_env_values = true,
        value_parser = path_or_empty()
    )]
    pub(super) socket: Option<PathBuf>,
    /// Do not send long output to a pager
    #[arg(long, global = true)]
    pub(super) no_pager: bool,
}

impl Global {
    /// Forgets what is empty, such as a variable that a script cleared: it is
    /// as good as unset.
    pub(super) fn drop_empty(&mut self) {
        for path in [&mut self.config, &mut self.data_dir, &mut self.socket] {
            path.take_if(|path| path.as_os_str().is_empty());
        }
    }

    /// Whether a configuration is where the package puts it.
    pub(super) fn installed(&self) -> bool {
        Path::new(DEFAULT_PATH).exists()
    }

    /// The same as the daemon takes it.
    pub(super) fn options(&self) -> daemon::Options {
        daemon::Options {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
        }
    }
}

/// The library's own parser of paths refuses empty ones.
fn path_or_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A model's code as it was typed.
pub(super) fn model_code(text: &str) -> Result<ModelCode, Failure> {
    text.parse()
        .map_err(|error| Failure::of(format_args!("invalid model code {text:?}: {error}")))
}

/// How data is printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct Json {
    /// Print JSON, as the HTTP API returns it
    #[arg(long)]
    pub(super) json: bool,
}
