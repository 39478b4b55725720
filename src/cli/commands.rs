//! The command line: all commands, and what is wrong with one.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::args::{Global, Json};
use super::{
    backup, config, coredumps, decode, devices, firmware, models, ports, restore, tls, tokens,
};

/// Collects coredumps of ESP32s at a site, reads them, and serves firmware
///
/// Without a command: the daemon is run (`serve`), unless
/// /etc/espgate/espgate.toml exists; then its `status` is shown.
///
/// Exit status: 0 done, 1 failed, 2 wrong usage, 3 the daemon is not reachable.
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
    /// Run the daemon
    Serve,
    /// One screen: how the gateway is
    Status(Json),
    /// Stored coredumps
    #[command(subcommand)]
    Coredumps(coredumps::Command),
    Decode(decode::DecodeArgs),
    #[command(hide = true)]
    DecodeWorker(decode::WorkerArgs),
    /// Firmware: bundles in, out, active, away
    #[command(subcommand)]
    Firmware(firmware::Command),
    /// Models: product lines, and what their devices are served
    #[command(subcommand)]
    Models(models::Command),
    /// Devices: boards, their names, tokens and pins
    #[command(subcommand)]
    Devices(devices::Command),
    /// Tokens for CI, people and whole fleets
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Serial ports and the boards on them
    #[command(subcommand)]
    Ports(ports::Command),
    /// The CA for firmware, and the server's certificate
    #[command(subcommand)]
    Tls(tls::Command),
    /// The configuration file: check it, show what is in force
    #[command(subcommand)]
    Config(config::Command),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    /// What is wrong and what to do; also without a daemon
    ///
    /// Exit status 1 if something needs a person.
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
            | Self::Devices(devices::Command::List(json))
            | Self::Tokens(tokens::Command::List(json))
            | Self::Ports(ports::Command::List(json))
            | Self::Tls(tls::Command::Show(json))
            | Self::Config(Config::Show(json)) => json.json,
            Self::Coredumps(Coredumps::List(args)) => args.json.json,
            Self::Decode(args) => args.json || args.all,
            Self::Config(Config::Default) => false,
            _ => return false,
        };
        !json
    }
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
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        if !line.is_empty() {
            words.push(line.trim_start_matches("error: "));
        }
    }
    let _ = writeln!(
        io::stderr(),
        "espgate: {}; see `espgate --help`",
        words.join(" ")
    );
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
