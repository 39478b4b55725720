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
    Decode(cli::decode::DecodeArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Decode(args) => cli::decode::run(&args),
    }
}
