//! `espgate config`: the configuration file.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::args::{Global, Json};
use super::failure::{Failure, Outcome};
use super::output::{print, print_line};
use super::paths;
use crate::config::{Config, DEFAULT_TEXT, Problem, Tls, line_of_key, parse};

/// Largest configuration file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a configuration file for invalid values and unknown keys
    Check {
        /// File to check [default: the daemon's configuration file]
        file: Option<PathBuf>,
        #[command(flatten)]
        json: Json,
    },
    /// Print the configuration in use: file, environment and defaults
    Show(Json),
    /// Print a configuration file with every setting explained
    Default,
}

/// Does one of them.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    match command {
        Command::Check { file, json } => check(global, file, json.json),
        Command::Show(json) => show(global, json.json),
        Command::Default => {
            print(DEFAULT_TEXT)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(global: &Global, file: Option<PathBuf>, json: bool) -> Outcome {
    let Some(path) = file.or_else(|| global.options().config_path()) else {
        print_line("no configuration file; all settings have their defaults")?;
        return Ok(ExitCode::SUCCESS);
    };
    let text = read(&path)?;
    let faults = faults(&text);
    if json {
        let list: Vec<Value> = faults
            .iter()
            .map(|fault| json!({ "line": fault.line, "key": fault.key, "message": fault.message }))
            .collect();
        let shown = json!({ "file": path.display().to_string(), "faults": list });
        print(&format!("{shown}\n"))?;
    } else if faults.is_empty() {
        print_line(&format!("{}: no errors", path.display()))?;
    } else {
        for fault in &faults {
            print_line(&format!("{}: {fault}", path.display()))?;
        }
    }
    Ok(ExitCode::from(u8::from(!faults.is_empty())))
}

/// Everything that is wrong with a file, unknown keys among it.
fn faults(text: &str) -> Vec<Problem> {
    match parse(text) {
        Ok(loaded) => {
            let mut faults = loaded.unknown;
            faults.extend(unreadable(text, &loaded.config.tls));
            faults
        }
        Err(faults) => faults,
    }
}

/// Files that the configuration names and the daemon could not read. What only
/// this caller may not read is nothing wrong.
fn unreadable(text: &str, tls: &Tls) -> Vec<Problem> {
    let named = [
        ("tls.cert", &tls.cert),
        ("tls.key", &tls.key),
        ("tls.ca_cert", &tls.ca_cert),
        ("tls.ca_key", &tls.ca_key),
    ];
    let fault = |(key, path): (&str, &Option<PathBuf>)| {
        let path = path.as_ref().filter(|path| path.is_absolute())?;
        let error = fs::File::open(path).err()?;
        (error.kind() != ErrorKind::PermissionDenied).then(|| Problem {
            line: line_of_key(text, key),
            key: key.to_owned(),
            message: format!("cannot read {}: {error}", path.display()),
        })
    };
    named.into_iter().filter_map(fault).collect()
}

fn read(path: &Path) -> Result<String, Failure> {
    let cannot = || format!("cannot read {}", path.display());
    let length = fs::metadata(path).with_context(cannot)?.len();
    if length > MAX_BYTES {
        return Err(Failure::of(format_args!(
            "cannot check {}: larger than 1 MiB",
            path.display()
        )));
    }
    Ok(fs::read_to_string(path).with_context(cannot)?)
}

fn show(global: &Global, json: bool) -> Outcome {
    let mut config = match global.options().config_path() {
        Some(path) => {
            parse(&read(&path)?)
                .map_err(|faults| {
                    let fault = faults.first().map(ToString::to_string);
                    Failure::of(format_args!(
                        "cannot show {}: {}; fix it first",
                        path.display(),
                        fault.unwrap_or_default()
                    ))
                })?
                .config
        }
        None => Config::default(),
    };
    config.coredumps.dir = Some(paths::coredumps(global, &config));
    config.firmware.dir = Some(paths::assets(global, &config));
    config.data_dir = Some(paths::data_dir(global));
    let printed = match json {
        true => format!("{}\n", serde_json::to_string_pretty(&config)?),
        false => toml::to_string(&config)?,
    };
    print(&printed)?;
    Ok(ExitCode::SUCCESS)
}
