//! The command line: all commands, and the message for wrong usage.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use super::args::{Global, Json};
use super::{
    backup, builds, config, coredumps, crashes, decode, devices, firmware, models, ports, restore,
    rollouts, tls, tokens,
};

/// Collect and decode coredumps of ESP32 devices, and serve them firmware
///
/// Without a command: run the daemon (`serve`), or show its `status` if
/// /etc/espgate/espgate.toml exists.
///
/// Exit status: 0 done, 1 failed, 2 wrong usage, 3 daemon not reachable.
#[derive(Debug, Parser)]
#[command(name = "espgate", version, max_term_width = 80)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground
    Serve,
    /// Show gateway status
    Status(Json),
    /// List, show, export and delete coredumps
    #[command(subcommand)]
    Coredumps(coredumps::Command),
    /// Group crashes by bug: list, show, resolve, ignore, merge
    #[command(subcommand)]
    Crashes(crashes::Command),
    Decode(decode::DecodeArgs),
    #[command(hide = true)]
    DecodeWorker(decode::WorkerArgs),
    /// Upload, activate and delete firmware
    #[command(subcommand)]
    Firmware(firmware::Command),
    /// Show who runs which build, and how it does
    #[command(subcommand)]
    Builds(builds::Command),
    /// Give a build to devices in waves, and take it back by itself
    #[command(subcommand)]
    Rollouts(rollouts::Command),
    /// Manage models (product lines)
    #[command(subcommand)]
    Models(models::Command),
    /// Manage devices (boards) and their tokens
    #[command(subcommand)]
    Devices(devices::Command),
    /// Manage access tokens of CI, people and fleets
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Manage serial ports, and read boards over USB
    #[command(subcommand)]
    Ports(ports::Command),
    /// Print the CA, manage the server certificate
    #[command(subcommand)]
    Tls(tls::Command),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(config::Command),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    /// Find problems and suggest fixes, also without the daemon
    ///
    /// Exit status: 1 if there are errors or warnings.
    Doctor(Json),
}

impl Command {
    /// Whether it shows something that a person reads from top to bottom.
    pub(super) fn is_for_reading(&self) -> bool {
        use {config::Command as Config, coredumps::Command as Coredumps};
        let json = match self {
            Self::Status(json)
            | Self::Doctor(json)
            | Self::Coredumps(Coredumps::Show { json, .. })
            | Self::Firmware(firmware::Command::List { json, .. })
            | Self::Models(models::Command::List(json))
            | Self::Builds(
                builds::Command::List { json, .. } | builds::Command::Show { json, .. },
            )
            | Self::Tokens(tokens::Command::List(json))
            | Self::Ports(ports::Command::List(json))
            | Self::Tls(tls::Command::Show(json))
            | Self::Config(Config::Show(json)) => json.json,
            Self::Crashes(crashes::Command::Show { json, .. }) => json.json,
            Self::Crashes(crashes::Command::List(args)) => args.json.json,
            Self::Devices(devices::Command::List(args)) => args.json.json,
            Self::Coredumps(Coredumps::List(args)) => args.json.json,
            Self::Rollouts(rollouts::Command::List(json)) => json.json,
            Self::Rollouts(rollouts::Command::Show(args)) => args.json.json || args.watch,
            Self::Decode(args) => args.json || args.all,
            Self::Config(Config::Default) => false,
            _ => return false,
        };
        !json
    }
}

/// The command line, without a `--help` that asks for help on `help`: `help` itself
/// takes no flags, and prints the same.
pub(super) fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.into_iter().collect();
    let mut command = Cli::command();
    for (place, argument) in arguments.iter().enumerate().skip(1) {
        let name = argument.to_str().unwrap_or_default();
        if name == "help" && command.has_subcommands() {
            let is_flag = |argument: &OsString| argument == "--help" || argument == "-h";
            let mut rest = arguments.split_off(place);
            rest.retain(|argument| !is_flag(argument));
            arguments.extend(rest);
            break;
        }
        let Some(next) = command.find_subcommand(name) else {
            break;
        };
        command = next.clone();
    }
    arguments
}

/// Prints help, version, or what is wrong with the command line, in one line.
pub(super) fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    use clap::error::ErrorKind;
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(2);
    }
    let text = error.render().to_string();
    let mut words = Vec::new();
    let mut command = String::from("espgate");
    for line in text.lines().map(str::trim) {
        if let Some(usage) = line.strip_prefix("Usage:") {
            command = command_of(usage);
            break;
        }
        if line.starts_with("For more information") {
            break;
        }
        if !line.is_empty() {
            words.push(line.trim_start_matches("error: "));
        }
    }
    let _ = writeln!(
        io::stderr(),
        "espgate: {}; see `{command} --help`",
        words.join(" ").replace(" tip: ", "; ")
    );
    ExitCode::from(2)
}

/// `espgate models add` out of `espgate models add [OPTIONS] <CODE>`.
fn command_of(usage: &str) -> String {
    let is_name = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
    let words: Vec<&str> = usage.split_whitespace().take_while(is_name).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_on_help_is_help_and_nothing_else_changes() {
        for (given, expected) in [
            ("espgate ports help --help", "espgate ports help"),
            ("espgate help -h", "espgate help"),
            ("espgate help ports read --help", "espgate help ports read"),
            (
                "espgate devices add help --help",
                "espgate devices add help --help",
            ),
            (
                "espgate ports run a -- help --help",
                "espgate ports run a -- help --help",
            ),
            ("espgate ports --help", "espgate ports --help"),
        ] {
            let given = arguments(given.split(' ').map(OsString::from));
            let expected: Vec<OsString> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(given, expected);
        }
    }

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
