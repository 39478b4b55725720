//! `espgate config`: the configuration file.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::answer::{print, say};
use super::args::{Global, Json};
use super::failure::{Failure, Outcome};
use super::places;
use crate::config::{DEFAULT_TEXT, Fault, Tls, line_of_key, parse};

/// Largest configuration file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find mistakes: impossible values and unknown keys
    Check {
        /// Default: the file that the daemon would use
        file: Option<PathBuf>,
        #[command(flatten)]
        json: Json,
    },
    /// What is in force: file, environment and defaults together
    Show(Json),
    /// Print a file with every setting, its meaning and default
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
        say("there is no configuration file; all settings have their defaults")?;
        return Ok(ExitCode::SUCCESS);
    };
    let text = read(&path)?;
    let faults = faults(&text);
    if json {
        let list: Vec<Value> = faults
            .iter()
            .map(|fault| json!({ "line": fault.line, "key": fault.key, "message": fault.message }))
            .collect();
        let shown = json!({ "file": path, "faults": list });
        print(&format!("{shown}\n"))?;
    } else if faults.is_empty() {
        say(&format!("{}: no faults", path.display()))?;
    } else {
        for fault in &faults {
            say(&format!("{}: {fault}", path.display()))?;
        }
    }
    Ok(ExitCode::from(u8::from(!faults.is_empty())))
}

/// Everything that is wrong with a file, unknown keys among it.
fn faults(text: &str) -> Vec<Fault> {
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
fn unreadable(text: &str, tls: &Tls) -> Vec<Fault> {
    let named = [
        ("tls.cert", &tls.cert),
        ("tls.key", &tls.key),
        ("tls.ca_cert", &tls.ca_cert),
        ("tls.ca_key", &tls.ca_key),
    ];
    let fault = |(key, path): (&str, &Option<PathBuf>)| {
        let path = path.as_ref().filter(|path| path.is_absolute())?;
        let error = fs::File::open(path).err()?;
        (error.kind() != ErrorKind::PermissionDenied).then(|| Fault {
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
            "cannot check {}: it is larger than 1 MiB, which no configuration is",
            path.display()
        )));
    }
    Ok(fs::read_to_string(path).with_context(cannot)?)
}

fn show(global: &Global, json: bool) -> Outcome {
    let text = match global.options().config_path() {
        Some(path) => {
            let text = read(&path)?;
            if let Some(fault) = parse(&text)
                .err()
                .and_then(|faults| faults.into_iter().next())
            {
                return Err(Failure::of(format_args!(
                    "cannot show {}: {fault}; correct it first",
                    path.display()
                )));
            }
            text
        }
        None => String::new(),
    };
    let mut shown = in_force(&text)?;
    let data_dir = places::data_dir(global);
    let folder = |variable: &str, name: &str| {
        let told = std::env::var_os(variable).filter(|value| !value.is_empty());
        told.map_or_else(|| data_dir.join(name), PathBuf::from)
    };
    let coredumps = folder("COREDUMPS_DIR", "coredumps");
    let assets = folder("ASSETS_DIR", "assets");
    set(
        &mut shown,
        "coredumps",
        "dir",
        &coredumps,
        std::env::var_os("COREDUMPS_DIR").is_some(),
    );
    set(
        &mut shown,
        "firmware",
        "dir",
        &assets,
        std::env::var_os("ASSETS_DIR").is_some(),
    );
    shown.insert(
        String::from("data_dir"),
        data_dir.display().to_string().into(),
    );
    let printed = match json {
        true => format!("{}\n", serde_json::to_string_pretty(&shown)?),
        false => toml::to_string(&shown)?,
    };
    print(&printed)?;
    Ok(ExitCode::SUCCESS)
}

/// The defaults with the file's settings over them; keys that mean nothing are
/// left out.
fn in_force(text: &str) -> Result<toml::Table, Failure> {
    let mut all: toml::Table = DEFAULT_TEXT.parse()?;
    let file: toml::Table = text.parse()?;
    let unknown: Vec<String> = faults(text).into_iter().map(|fault| fault.key).collect();
    for (section, value) in file {
        if unknown.contains(&section) {
            continue;
        }
        match (all.get_mut(&section), value) {
            (Some(toml::Value::Table(known)), toml::Value::Table(given)) => {
                let given = given
                    .into_iter()
                    .filter(|(key, _)| !unknown.contains(&format!("{section}.{key}")));
                known.extend(given);
            }
            (_, value) => {
                all.insert(section, value);
            }
        }
    }
    Ok(all)
}

fn set(shown: &mut toml::Table, section: &str, key: &str, folder: &Path, wins: bool) {
    let Some(toml::Value::Table(section)) = shown.get_mut(section) else {
        return;
    };
    let is_given = section
        .get(key)
        .and_then(toml::Value::as_str)
        .is_some_and(|dir| !dir.is_empty());
    if wins || !is_given {
        section.insert(key.to_owned(), folder.display().to_string().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_the_defaults_with_the_file_over_them() {
        let shown =
            in_force("[http]\nmax_connections = 3\nmax_upload = 4\n[typo]\nx = 1\n").unwrap();
        assert_eq!(shown["http"]["max_connections"].as_integer(), Some(3));
        assert_eq!(
            shown["http"]["max_connections_per_address"].as_integer(),
            Some(256)
        );
        assert!(shown["http"].get("max_upload").is_none());
        assert!(!shown.contains_key("typo"));
        let again = parse(&toml::to_string(&shown).unwrap()).unwrap();
        assert_eq!(again.config.http.max_connections, 3);
        assert_eq!(again.unknown, []);
    }
}
