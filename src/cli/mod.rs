//! The commands of the binary.

mod args;
mod backup;
mod builds;
mod client;
mod commands;
mod config;
mod confirm;
mod coredumps;
mod crashes;
pub mod decode;
mod devices;
mod doctor;
mod failure;
mod files;
mod firmware;
mod models;
mod output;
mod pager;
mod paths;
mod port_users;
mod ports;
mod progress;
mod restore;
mod rollouts;
mod serve;
mod status;
mod style;
mod table;
mod tls;
mod tokens;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use commands::{Cli, Command};

/// All commands and flags, for the manual page and shell completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what the command line says. The exit status is 0 for done, 1 for
/// failed, 2 for wrong usage, 3 if the daemon is not reachable.
pub fn run() -> ExitCode {
    let mut cli = match Cli::try_parse_from(commands::arguments(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return commands::explain(&error),
    };
    cli.global.drop_empty();
    let global = &cli.global;
    let for_reading = cli.command.as_ref().is_none_or(Command::is_for_reading);
    if for_reading {
        pager::begin(global.no_pager);
    }
    let outcome = match cli.command {
        None if global.installed() => status::run(global, false),
        None | Some(Command::Serve) => return serve::run(global),
        Some(Command::Decode(args)) => Ok(decode::run(&args)),
        Some(Command::DecodeWorker(args)) => return decode::run_worker(&args),
        Some(Command::Status(args)) => status::run(global, args.json),
        Some(Command::Coredumps(command)) => coredumps::run(global, command),
        Some(Command::Crashes(command)) => crashes::run(global, command),
        Some(Command::Firmware(command)) => firmware::run(global, command),
        Some(Command::Builds(command)) => builds::run(global, command),
        Some(Command::Rollouts(command)) => rollouts::run(global, command),
        Some(Command::Models(command)) => models::run(global, command),
        Some(Command::Devices(command)) => devices::run(global, command),
        Some(Command::Tokens(command)) => tokens::run(global, command),
        Some(Command::Ports(command)) => ports::run(global, command),
        Some(Command::Tls(command)) => tls::run(global, command),
        Some(Command::Config(command)) => config::run(global, command),
        Some(Command::Backup(args)) => backup::run(global, &args),
        Some(Command::Restore(args)) => restore::run(global, &args),
        Some(Command::Doctor(json)) => doctor::run(global, json),
    };
    let shown = pager::end();
    match outcome.and_then(|code| shown.map(|()| code)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
