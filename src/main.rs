//! Arguments to commands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use espgate::cli;

/// Collects coredumps of ESP32s at a site, reads them, and serves firmware.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve,
    Decode(cli::decode::DecodeArgs),
    #[command(hide = true)]
    DecodeWorker(cli::decode::WorkerArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve => espgate::daemon::run(
            &espgate::daemon::Options {
                config: std::env::var_os("ESPGATE_CONFIG").map(Into::into),
                data_dir: std::env::var_os("ESPGATE_DATA_DIR").map(Into::into),
            },
            |_| {},
        ),
        Command::Decode(args) => cli::decode::run(&args),
        Command::DecodeWorker(args) => cli::decode::run_worker(&args),
    }
}
